//! The plan of a lab: everything that will be made, as a pure function of a topology and a few choices.
//!
//! Namespaces, links with their interfaces, a configuration for each node, and the processes in start order. The same
//! topology, seed and choices give the same plan, byte for byte. It holds no secrets: keys are made of a seed of their own
//! when configurations are written ([`Plan::configs`]).

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use damc_impair::DirectionSpec;
use damc_mgmt::config::{
    ConfineConfig, GatewayConfig, NodeConfig, PortConfig, RunConfig, ServiceConfig, Thresholds, Timers,
};
use damc_trust::narrowest;
use damc_wire::registry::Role;
use damc_wire::security::CertifiedName;
use damc_wire::{Name, NodeId};
use serde::{Deserialize, Serialize};

use crate::timeline::Act;
use crate::timers::{self, Calibration};
use crate::{Direction, Link, Node, Topology, describe};

mod keys;
mod program;

pub use keys::{Authority, KeySeed, KeylessConfig, NoPlan};
pub use program::{ForeignProgram, Place, Program};

/// Longest interface name, in bytes (IFNAMSIZ less the terminating zero).
const MAX_INTERFACE: usize = 15;
/// The pair of interfaces inside an SG between its raw socket and the kernel's TCP. No node is called like that.
pub const GATEWAY_RAW: &str = "GW-raw";
/// The kernel's end of that pair.
pub const GATEWAY_TCP: &str = "GW-tcp";
/// Interface names that mean something else to the kernel or its sysctl tree.
const TAKEN_INTERFACES: [&str; 4] = ["lo", "all", "default", "bonding_masters"];

/// What a plan depends on beside the topology.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanOptions {
    /// Name of the lab; the topology's where none is given.
    pub lab: Option<String>,
    /// Seed of link randomness.
    pub seed: u64,
    /// Run directory of the lab, where management sockets will be.
    pub run_dir: PathBuf,
    /// What calibration found.
    pub calibration: Calibration,
    /// Period of the echo, ms, where somebody asks for one.
    pub echo_ms: Option<u64>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self { lab: None, seed: 0, run_dir: PathBuf::from("."), calibration: Calibration::default(), echo_ms: None }
    }
}

/// The plan of a lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the lab.
    pub lab: String,
    /// Name of the topology.
    pub topology: String,
    /// Trust domain.
    pub domain: String,
    /// Seed of link randomness.
    pub seed: u64,
    /// Periods and deadlines of the run; each node's configuration repeats it.
    #[serde(rename = "pace")]
    pub timers: Timers,
    /// Network namespaces, one for each node.
    pub namespaces: Vec<String>,
    /// Links, in the order of the topology file.
    pub links: Vec<PlannedLink>,
    /// Node processes, in start order.
    pub processes: Vec<Process>,
}

/// A link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedLink {
    /// First end.
    pub a: LinkEnd,
    /// Second end.
    pub b: LinkEnd,
    /// What happens to frames from the first to the second end.
    pub forward: DirectionSpec,
    /// What happens to frames from the second to the first end.
    pub backward: DirectionSpec,
    /// Whether a direction needs more than a veth pair and a token bucket: netem or the relay serves it.
    pub impaired: bool,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEnd {
    /// Node, and its namespace.
    pub node: String,
    /// Interface in that namespace.
    pub interface: String,
    /// Hardware address.
    pub address: [u8; 6],
    /// Metric of sending here.
    pub cost: u32,
}

/// The process of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The node, and the namespace it runs in.
    pub node: String,
    /// What starts it.
    pub program: Program,
    /// What its configuration file says, but for its keys.
    pub config: KeylessConfig,
    /// Starts with the overload bit set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overload: bool,
    /// SPA: names that the timeline grants while the network runs. Its certificate has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub granted_later: Vec<String>,
}

impl Process {
    /// Names a pod announces: its instances, then their pools.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let services = &self.config.services;
        let pools = services.iter().filter_map(|service| service.pool.as_deref());
        services.iter().map(|service| service.prefix.as_str()).chain(pools)
    }
}

impl Plan {
    /// All nodes: those with a process in start order, then namespaces without one.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        let bare = self.namespaces.iter().filter(|name| self.process(name).is_none());
        self.processes.iter().map(|process| process.node.as_str()).chain(bare.map(String::as_str))
    }

    /// The process of a node.
    #[must_use]
    pub fn process(&self, node: &str) -> Option<&Process> {
        self.processes.iter().find(|process| process.node == node)
    }

    /// The port of `node` towards `neighbour`: the interface there.
    #[must_use]
    pub fn interface(&self, node: &str, neighbour: &str) -> Option<&str> {
        self.ends_of(node).find(|(far, _)| *far == neighbour).map(|(_, end)| end.interface.as_str())
    }

    /// Ends at `node`, in order, each with the neighbour's name.
    pub fn ends_of<'a>(&'a self, node: &str) -> impl Iterator<Item = (&'a str, &'a LinkEnd)> {
        self.links.iter().filter_map(move |link| {
            if link.a.node == node {
                Some((link.b.node.as_str(), &link.a))
            } else if link.b.node == node {
                Some((link.a.node.as_str(), &link.b))
            } else {
                None
            }
        })
    }
}

/// Makes the plan of a topology.
#[must_use]
pub fn plan(topology: &Topology, options: &PlanOptions) -> Plan {
    let timers = timers::derive(topology, options.calibration, options.echo_ms);
    let interfaces = Interfaces::assign(topology);
    let mut nodes: Vec<&Node> = topology.nodes().values().collect();
    nodes.sort_by_key(|node| (start_rank(node.kind), &node.id));
    let process = |node: &Node| Process {
        node: node.id.to_string(),
        program: Program::of(topology, node),
        config: config(topology, node, options, &timers, &interfaces).into(),
        overload: node.overload,
        granted_later: if node.kind == Role::Spa { granted_later(topology, node) } else { Vec::new() },
    };
    Plan {
        lab: options.lab.clone().unwrap_or_else(|| topology.name().to_string()),
        topology: topology.name().to_string(),
        domain: topology.domain().to_string(),
        seed: options.seed,
        namespaces: topology.nodes().keys().map(ToString::to_string).collect(),
        links: topology.links().iter().enumerate().map(|(i, link)| planned_link(i, link, &interfaces)).collect(),
        processes: nodes.into_iter().map(process).collect(),
        timers,
    }
}

/// Those who are waited for start first: SRs, then who hangs on them, pods last.
const fn start_rank(kind: Role) -> u8 {
    match kind {
        Role::Sr => 0,
        Role::Scsc => 1,
        Role::Spa => 2,
        Role::Sg => 3,
        Role::Pod => 4,
    }
}

fn planned_link(index: usize, link: &Link, interfaces: &Interfaces) -> PlannedLink {
    let end = |node: &NodeId, far: &NodeId, side: u8, direction: &Direction| LinkEnd {
        node: node.to_string(),
        interface: interfaces.of(node, far),
        address: address(index, side),
        cost: direction.cost,
    };
    PlannedLink {
        a: end(&link.a, &link.b, 0, &link.forward),
        b: end(&link.b, &link.a, 1, &link.backward),
        forward: link.forward.spec,
        backward: link.backward.spec,
        impaired: ![&link.forward.spec, &link.backward.spec].into_iter().all(DirectionSpec::is_plain),
    }
}

/// A locally administered unicast address that tells link and side.
fn address(link: usize, side: u8) -> [u8; 6] {
    let [.., b2, b1, b0] = (link as u64).to_be_bytes();
    [0x02, 0xda, b2, b1, b0, side]
}

/// Interface names: named after the neighbour where that fits.
struct Interfaces(BTreeMap<(NodeId, NodeId), String>);

impl Interfaces {
    fn assign(topology: &Topology) -> Self {
        let mut names = BTreeMap::new();
        let mut far_ends: BTreeMap<&NodeId, Vec<&NodeId>> = BTreeMap::new();
        for link in topology.links() {
            far_ends.entry(&link.a).or_default().push(&link.b);
            far_ends.entry(&link.b).or_default().push(&link.a);
        }
        for (node, fars) in far_ends {
            let fits = |id: &str| id.len() <= MAX_INTERFACE && !TAKEN_INTERFACES.contains(&id);
            let mut taken: BTreeSet<String> =
                fars.iter().filter(|far| fits(far.as_str())).map(ToString::to_string).collect();
            for far in fars {
                let name = if fits(far.as_str()) {
                    far.to_string()
                } else {
                    let free = (0..).map(|n| format!("port{n}")).find(|name| !taken.contains(name));
                    free.unwrap_or_default()
                };
                taken.insert(name.clone());
                names.insert((node.clone(), far.clone()), name);
            }
        }
        Self(names)
    }

    fn of(&self, node: &NodeId, far: &NodeId) -> String {
        self.0.get(&(node.clone(), far.clone())).cloned().unwrap_or_default()
    }
}

/// Whether a node is an SG with pods.
fn serves_programs(topology: &Topology, node: &Node) -> bool {
    let is_pod = |far: &NodeId| topology.nodes().get(far).is_some_and(|far| far.kind == Role::Pod);
    node.kind == Role::Sg && topology.links_of(&node.id).any(|(_, far)| is_pod(far))
}

fn config(
    topology: &Topology,
    node: &Node,
    options: &PlanOptions,
    timers: &Timers,
    interfaces: &Interfaces,
) -> NodeConfig {
    let kind_of = |id: &NodeId| topology.nodes().get(id).map_or("", |node| node.kind.label());
    let port = |(link, far): (&Link, &NodeId)| PortConfig {
        name: far.to_string(),
        interface: interfaces.of(&node.id, far),
        cost: link.from(&node.id).map_or(1, |direction| direction.cost),
        peer_role: kind_of(far).to_owned(),
    };
    let service = |service: &crate::Service| ServiceConfig {
        prefix: service.prefix.to_string(),
        pool: service.pool.as_ref().map(ToString::to_string),
        weight: service.weight,
        run: service.run.as_ref().map(|run| RunConfig {
            argv: run.argv.clone(),
            env: run.env.clone(),
            cwd: topology.directory_of(run),
            ready: run.ready.clone(),
            ready_within_ms: run.within_ns / 1_000_000,
            restart: run.restart,
        }),
    };
    let licences = if node.kind == Role::Spa { licences(topology, node) } else { BTreeMap::new() };
    NodeConfig {
        node: node.id.to_string(),
        role: node.kind.label().to_owned(),
        domain: topology.domain().to_string(),
        admin_socket: options.run_dir.join(format!("{}.sock", node.id)),
        ports: topology.links_of(&node.id).map(port).collect(),
        identity: keys::no_keys(),
        timers: timers.clone(),
        services: node.services.iter().map(service).collect(),
        pools: pools(topology, &licences),
        licences,
        thresholds: if matches!(node.kind, Role::Scsc | Role::Sg) { thresholds(topology) } else { BTreeMap::new() },
        transit: node.transit,
        link_macs: true,
        gateway: serves_programs(topology, node)
            .then(|| GatewayConfig { interface: GATEWAY_RAW.to_owned(), served_by: GATEWAY_TCP.to_owned() }),
        interfaces_within_ms: 0,
        confine: node.services.iter().any(|service| service.run.is_some()).then(|| confinement(options, &node.id)),
    }
}

/// Programs of services see no run directory, with the keys and sockets of this lab and of others, but a folder of their
/// pod's in it.
fn confinement(options: &PlanOptions, pod: &NodeId) -> ConfineConfig {
    let all_labs = options.run_dir.parent().filter(|folder| !folder.as_os_str().is_empty());
    ConfineConfig {
        hidden: vec![all_labs.unwrap_or(&options.run_dir).to_owned()],
        folder: options.run_dir.join("pods").join(pod.as_str()),
    }
}

/// An SPA knows the licences of the pods of its SG and of no others.
fn licences(topology: &Topology, spa: &Node) -> BTreeMap<String, Vec<String>> {
    let pods = topology.links_of(&spa.id).flat_map(|(_, sg)| topology.links_of(sg)).map(|(_, pod)| pod);
    let licence = |pod: &NodeId| {
        let names = topology.licences().get(pod)?;
        Some((pod.to_string(), names.iter().map(ToString::to_string).collect()))
    };
    pods.filter_map(licence).collect()
}

/// First component of names that are licensed while a lab runs; no topology uses it.
pub const GUEST: &str = "guest";

/// What the root lets an SPA grant: what the pods of its SG are licensed for, and what guests may be called.
#[must_use]
pub fn names_of_spa(topology: &Topology, spa: &NodeId) -> Vec<CertifiedName> {
    let Some(spa) = topology.nodes().get(spa).filter(|node| node.kind == Role::Spa) else { return Vec::new() };
    let licences = licences(topology, spa);
    certified_names(&licences, &pools(topology, &licences), &granted_later(topology, spa))
}

/// Names that the timeline grants to pods of an SPA's SG.
fn granted_later(topology: &Topology, spa: &Node) -> Vec<String> {
    let pods: BTreeSet<&NodeId> =
        topology.links_of(&spa.id).flat_map(|(_, sg)| topology.links_of(sg)).map(|(_, pod)| pod).collect();
    let granted = topology.events().iter().filter_map(|event| match &event.act {
        Act::Licence { pod, prefix, grant: true } if pods.contains(pod) => Some(prefix.to_string()),
        _ => None,
    });
    granted.collect()
}

/// The names of an SPA's certificate from its licences and from which of them are pools. Too many names for a certificate
/// become their common parents; a topology has no more than fit so.
fn certified_names(licences: &BTreeMap<String, Vec<String>>, pools: &[String], later: &[String]) -> Vec<CertifiedName> {
    let licensed = licences.values().flatten().chain(later).filter_map(|text| {
        let name = text.parse().ok()?;
        Some(CertifiedName { name, exact: pools.contains(text) })
    });
    let guests = Name::from_components([GUEST]).ok().map(|name| CertifiedName { name, exact: false });
    narrowest(licensed.chain(guests)).unwrap_or_default()
}

/// Which of the licensed names are pools: those some service of the topology is an instance of.
fn pools(topology: &Topology, licences: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let services = topology.nodes().values().flat_map(|node| &node.services);
    let pools: BTreeSet<String> =
        services.filter_map(|service| service.pool.as_ref()).map(ToString::to_string).collect();
    let licensed: BTreeSet<&String> = licences.values().flatten().collect();
    licensed.into_iter().filter(|name| pools.contains(*name)).cloned().collect()
}

fn thresholds(topology: &Topology) -> BTreeMap<String, Thresholds> {
    let qos = topology.qos();
    let default = qos.default.map(|thresholds| ("default".to_owned(), thresholds));
    let others = qos.by_prefix.iter().map(|(prefix, thresholds)| (prefix.to_string(), *thresholds));
    default.into_iter().chain(others).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nodes, links) = (self.namespaces.len(), self.links.len());
        let impaired = self.links.iter().filter(|link| link.impaired).count();
        writeln!(f, "lab {} (topology {}, domain {}, seed {})", self.lab, self.topology, self.domain, self.seed)?;
        writeln!(f, "{nodes} namespaces, {links} links of which {impaired} are impaired, {nodes} processes")?;
        writeln!(f, "\nnamespaces\n  {}", self.namespaces.join(" "))?;
        writeln!(f, "\nlinks (node/interface, then what each direction does)")?;
        for link in &self.links {
            write_link(f, link)?;
        }
        writeln!(f, "\nprocesses, in start order")?;
        for process in &self.processes {
            write_process(f, process)?;
        }
        let timers = &self.timers;
        writeln!(
            f,
            "\npace\n  echo {} ms x {}, hello {} ms, probe {} ms, a train every {} probes, telemetry {} ms",
            timers.echo_interval_ms,
            timers.echo_multiplier,
            timers.hello_interval_ms,
            timers.probe_interval_ms,
            timers.train_every,
            timers.telemetry_interval_ms
        )
    }
}

fn write_link(f: &mut fmt::Formatter<'_>, link: &PlannedLink) -> fmt::Result {
    let service = if link.impaired { "netem or relay" } else { "plain veth" };
    writeln!(f, "  {}/{} - {}/{}  {service}", link.a.node, link.a.interface, link.b.node, link.b.interface)?;
    let says = |spec: &DirectionSpec, cost: u32| {
        describe(spec).into_iter().chain([format!("cost {cost}")]).collect::<Vec<_>>().join(" ")
    };
    let (forward, backward) = (says(&link.forward, link.a.cost), says(&link.backward, link.b.cost));
    if forward == backward {
        return writeln!(f, "      both ways: {forward}");
    }
    writeln!(f, "      to {}: {forward}\n      to {}: {backward}", link.b.node, link.a.node)
}

fn write_process(f: &mut fmt::Formatter<'_>, process: &Process) -> fmt::Result {
    let config = &process.config;
    let program = &process.program;
    let ports: Vec<_> = config.ports.iter().map(|port| port.name.as_str()).collect();
    write!(f, "  {} {program}, ports {}", process.node, ports.join(" "))?;
    for service in &config.services {
        write!(f, ", serves {}", service.prefix)?;
        if let Some(pool) = &service.pool {
            write!(f, " (pool {pool})")?;
        }
        if let Some(run) = &service.run {
            write!(f, " by `{}`", run.argv.join(" "))?;
        }
    }
    for (pod, names) in &config.licences {
        write!(f, ", licences {pod} {}", names.join(" "))?;
    }
    let flags = [(config.transit, "transit"), (process.overload, "overload")];
    for (_, flag) in flags.into_iter().filter(|(set, _)| *set) {
        write!(f, ", {flag}")?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests;
