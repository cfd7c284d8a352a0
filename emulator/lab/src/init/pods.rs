//! Programs in pods: IPv6 towards the SG, and the SG as the lab's DNS server.

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;

use damc_wire::{Name, address};
use nix::mount::{MsFlags, mount};

use super::links::Links;
use crate::error::{LabError, Result};
use crate::exec::ipv6::{self, PodIpv6};
use crate::exec::netns::Namespace;
use crate::job::{Job, NodeJob};
use crate::rundir::RunDir;

/// Where programs look for the DNS.
const RESOLVER: &str = "/etc/resolv.conf";
/// Kind of a node that has programs.
const POD: &str = "pod";

/// Gives every pod its addresses and routes.
pub(super) async fn configure(job: &Job, links: &Links, namespaces: &[Namespace]) -> Result<()> {
    let prefix = address::prefix_of(&job.domain);
    let mtu = ipv6::mtu(job.nodes.iter().flat_map(|node| names(node).map(|name| name.wire().len())).max().unwrap_or(0));
    for node in job.nodes.iter().filter(|node| node.kind == POD) {
        let Some((_, end)) = job.ends_of(&node.name).next() else { continue };
        let namespace = namespaces.iter().find(|namespace| namespace.name == node.name);
        let namespace = namespace.ok_or_else(|| LabError::Lab(format!("no namespace of {}", node.name)))?;
        let doing = || format!("give {} its addresses", node.name);
        let on = namespace.run(|| ipv6::switch_on(&end.interface))?.map_err(LabError::io(doing()))?;
        if !on {
            eprintln!("lab-init: this kernel has no IPv6: programs in {} reach nobody", node.name);
            continue;
        }
        let addresses: Vec<Ipv6Addr> = names(node).filter_map(|name| address::below(prefix, &name)).collect();
        let (route, index) = links.way_into(&node.name, &end.interface)?;
        let pod = PodIpv6 { interface: &end.interface, index, prefix, addresses: &addresses, mtu };
        ipv6::configure(route, &pod).await.map_err(LabError::netlink(doing()))?;
    }
    Ok(())
}

/// The names of a pod, each once, in the order of its services.
fn names(node: &NodeJob) -> impl Iterator<Item = Name> {
    let mut seen = Vec::new();
    node.names.iter().filter_map(|text| text.parse::<Name>().ok()).filter(move |name| {
        let first = !seen.contains(name);
        seen.push(name.clone());
        first
    })
}

/// Has every program of the lab ask the SG for names. Every SG answers at the same address, so one file serves all pods.
pub(super) fn point_to_dns(job: &Job, directory: &RunDir) -> Result<()> {
    let ours = directory.path().join("resolv.conf");
    let text = format!(
        "# programs of this lab ask their service gateway\nnameserver {}\nsearch {}.{}\noptions timeout:1 attempts:2\n",
        address::of_dns(&job.domain),
        job.domain,
        address::DNS_TOP
    );
    fs::write(&ours, text).map_err(LabError::io(format!("write {}", ours.display())))?;
    // A link that leads nowhere (its service does not run in here) cannot be mounted over: what it names is made first.
    let target = fs::read_link(RESOLVER).map_or_else(|_| RESOLVER.into(), |to| Path::new("/etc").join(to));
    if !target.exists() {
        eprintln!("lab-init: {RESOLVER} leads nowhere: programs in pods resolve no names, only addresses");
        return Ok(());
    }
    mount(Some(&ours), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(LabError::sys(format!("mount the lab's {RESOLVER}")))
}
