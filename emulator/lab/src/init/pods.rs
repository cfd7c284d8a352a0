//! Programs in pods: IPv6 towards the SG, and the SG as the lab's DNS server.

use std::fs;
use std::net::Ipv6Addr;
use std::path::Path;

use damc_wire::{Name, address};
use nix::mount::{MsFlags, mount};

use super::links::Links;
use crate::error::{LabError, Result};
use crate::exec::MTU;
use crate::exec::ipv6::{self, PodIpv6};
use crate::exec::netns::Namespace;
use crate::exec::offload;
use crate::exec::rtnl::VethEnd;
use crate::rundir::RunDir;
use damc_topology::plan::{GATEWAY_RAW, GATEWAY_TCP, Plan, Process};

/// Where programs look for the DNS.
const RESOLVER: &str = "/etc/resolv.conf";
/// Kind of a node that has programs.
const POD: &str = "pod";
/// Kind of a node that has pods.
const SG: &str = "sg";
/// Interface index of a gateway's pair: above that of any port.
const GATEWAY_INDEX: u32 = 1 << 20;

/// Gives every pod its addresses and routes.
pub(super) async fn configure(plan: &Plan, links: &Links, namespaces: &[Namespace]) -> Result<()> {
    let prefix = address::prefix_of(&plan.domain);
    let mtu =
        ipv6::mtu(plan.processes.iter().flat_map(|node| names(node).map(|name| name.wire().len())).max().unwrap_or(0));
    for pod in plan.processes.iter().filter(|process| process.config.role == POD) {
        let name = &pod.node;
        let Some((_, end)) = plan.ends_of(name).next() else { continue };
        let namespace = namespaces.iter().find(|namespace| namespace.name == *name);
        let namespace = namespace.ok_or_else(|| LabError::Lab(format!("no namespace of {name}")))?;
        let doing = || format!("give {name} its addresses");
        let on = namespace.run(|| ipv6::switch_on(&end.interface))?.map_err(LabError::io(doing()))?;
        if !on {
            eprintln!("lab-init: this kernel has no IPv6: programs in {name} reach nobody");
            continue;
        }
        namespace.run(|| open_ports(name))?;
        let addresses: Vec<Ipv6Addr> = names(pod).filter_map(|name| address::below(prefix, &name)).collect();
        let (route, index) = links.way_into(name, &end.interface)?;
        let pod = PodIpv6 { interface: &end.interface, index, prefix, addresses: &addresses, mtu };
        ipv6::configure(route, &pod).await.map_err(LabError::netlink(doing()))?;
    }
    Ok(())
}

/// Lets programs without any permission serve at every port, and ping.
fn open_ports(pod: &str) {
    let group = nix::unistd::getegid();
    let settings = [("ip_unprivileged_port_start", "0".to_owned()), ("ping_group_range", format!("{group} {group}"))];
    for (setting, value) in settings {
        if let Err(error) = fs::write(format!("/proc/sys/net/ipv4/{setting}"), value) {
            eprintln!("lab-init: programs in {pod} do without {setting}: {error}");
        }
    }
}

/// Gives every SG with pods the pair of interfaces behind which it serves class 1, and DNS over TCP.
pub(super) async fn make_gateways(plan: &Plan, links: &Links, namespaces: &[Namespace]) -> Result<()> {
    let has = |name: &str, role| plan.process(name).is_some_and(|process| process.config.role == role);
    let serves = |node: &&str| has(node, SG) && plan.ends_of(node).any(|(far, _)| has(far, POD));
    for node in plan.nodes().filter(serves) {
        let namespace = namespaces.iter().find(|namespace| namespace.name == node);
        let namespace = namespace.ok_or_else(|| LabError::Lab(format!("no namespace of {node}")))?;
        let route = links.route(node)?;
        let doing = || format!("make the gateway of {node}");
        let end = |name, index, side| VethEnd {
            name,
            index,
            address: [2, 0xda, 0xff, 0, 0, side],
            namespace: namespace.fd(),
        };
        let (raw, tcp) = (end(GATEWAY_RAW, GATEWAY_INDEX, 1), end(GATEWAY_TCP, GATEWAY_INDEX + 1, 2));
        route.add_veth(&raw, &tcp, MTU).await.map_err(LabError::netlink(doing()))?;
        for interface in [GATEWAY_RAW, GATEWAY_TCP] {
            offload::disable(namespace.ioctl_socket(), interface).map_err(LabError::io(doing()))?;
        }
        if !namespace.run(|| ipv6::switch_on(GATEWAY_TCP))?.map_err(LabError::io(doing()))? {
            continue;
        }
        for index in [raw.index, tcp.index] {
            route.set_up(index, true).await.map_err(LabError::netlink(doing()))?;
        }
        let addresses = [address::of_gateway(&plan.domain), address::of_dns(&plan.domain)];
        ipv6::serve(route, tcp.index, &addresses).await.map_err(LabError::netlink(doing()))?;
    }
    Ok(())
}

/// The names of a pod, each once, in the order of its services.
fn names(pod: &Process) -> impl Iterator<Item = Name> {
    let mut seen = Vec::new();
    pod.names().filter_map(|text| text.parse::<Name>().ok()).filter(move |name| {
        let first = !seen.contains(name);
        seen.push(name.clone());
        first
    })
}

/// Has every program of the lab ask the SG for names. Every SG answers at the same address, so one file serves all pods.
pub(super) fn point_to_dns(plan: &Plan, directory: &RunDir) -> Result<()> {
    let ours = directory.path().join("resolv.conf");
    let text = format!(
        "# programs of this lab ask their service gateway\nnameserver {}\nsearch {}.{}\noptions timeout:1 attempts:2\n",
        address::of_dns(&plan.domain),
        plan.domain,
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
