//! Writing.

use std::fmt::Write as _;

use damc_impair::{DirectionSpec, Loss};
use damc_mgmt::config::NodeConfig;
use serde_json::{Map, Value, json};

use super::{VARS, WHOLE};
use crate::plan::{KeySeed, NoPlan, Plan, PlanOptions, plan};
use crate::{Topology, written};

/// Where a node's folder lies in its container.
pub const FOLDER: &str = "/damc";
/// How long a node waits for its interfaces: containerlab starts containers before it links them.
const INTERFACES_WITHIN_MS: u64 = 120_000;
/// The interface that containerlab gives every container.
const MANAGEMENT: &str = "eth0";

/// A topology for containerlab.
#[derive(Clone, Debug)]
pub struct Export {
    /// The `.clab.yml`.
    pub topology: String,
    /// A shell script that gives the links their properties once the lab is up.
    pub netem: String,
    /// The configuration of each node, with its keys: what `nodes/NODE/config.json` beside the topology holds, for the eyes of
    /// its owner.
    pub configs: Vec<NodeConfig>,
    /// What of the topology containerlab cannot do, for people.
    pub notes: Vec<String>,
}

/// Why a topology cannot be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExported {
    /// Something runs a program of its own, which the image of the nodes has not.
    #[error("{0} runs a program of its own, and the image has only the nodes of this testbed")]
    Programs(String),
    /// A neighbour has the name of an interface that containerlab makes.
    #[error(
        "{0} would have an interface {MANAGEMENT}, which containerlab makes itself: give its neighbour another name"
    )]
    TakenInterface(String),
    /// The plan cannot be made. Never for a topology that was read.
    #[error(transparent)]
    NoPlan(#[from] NoPlan),
}

/// A topology as a file of containerlab, with all that its nodes need. Programs of services and foreign nodes stand in the
/// file, and nodes and services of our own take their places; where `built_in` is not set they are refused.
///
/// # Errors
/// The topology runs programs, or one of its names is taken.
pub fn export(topology: &Topology, image: &str, keys: &KeySeed, built_in: bool) -> Result<Export, NotExported> {
    let mut notes = Vec::new();
    let programs = programs(topology);
    match programs.first() {
        Some(first) if !built_in => return Err(NotExported::Programs(first.clone())),
        Some(_) => notes.push(format!("In the place of programs, ours: {}.", programs.join(", "))),
        None => {}
    }
    let plan = plan(topology, &PlanOptions { run_dir: FOLDER.into(), ..PlanOptions::default() });
    let mut ends = plan.links.iter().flat_map(|link| [&link.a, &link.b]);
    if let Some(taken) = ends.find(|end| end.interface == MANAGEMENT) {
        return Err(NotExported::TakenInterface(taken.node.clone()));
    }
    let overloaded: Vec<&str> = plan.processes.iter().filter(|p| p.overload).map(|p| p.node.as_str()).collect();
    if !overloaded.is_empty() {
        notes.push(format!("The overload bit is not set: {}.", overloaded.join(", ")));
    }
    if !topology.events().is_empty() {
        notes.push("The events are kept for `damc import`; containerlab does nothing with them.".to_owned());
    }
    let configs = plan.configs(keys)?.into_iter().map(in_container).collect();
    let netem = netem(&plan, &mut notes);
    let topology = text(topology, &plan, image, &notes);
    Ok(Export { topology, netem, configs, notes })
}

/// What runs programs: foreign nodes, and services.
fn programs(topology: &Topology) -> Vec<String> {
    let nodes = topology.nodes().values();
    let foreign = nodes.clone().filter(|node| node.exec.is_some()).map(|node| node.id.to_string());
    let served = |node: &crate::Node| {
        let services = node.services.iter().filter(|service| service.run.is_some());
        services.map(|service| format!("{} of {}", service.prefix, node.id)).collect::<Vec<_>>()
    };
    foreign.chain(nodes.flat_map(served)).collect()
}

/// Without what the lab's namespaces have and containers have not: the pair of interfaces of an SG's gateway, and programs.
fn in_container(mut config: NodeConfig) -> NodeConfig {
    config.admin_socket = format!("{FOLDER}/node.sock").into();
    config.interfaces_within_ms = INTERFACES_WITHIN_MS;
    (config.gateway, config.confine) = (None, None);
    for service in &mut config.services {
        service.run = None;
    }
    config
}

/// A JSON value as YAML on one line. Containerlab puts variables of its environment in the place of `$NAME`, in texts too.
fn flow(value: &Value) -> String {
    value.to_string().replace('$', "\\u0024")
}

fn text(topology: &Topology, plan: &Plan, image: &str, notes: &[String]) -> String {
    // Our own file is JSON as well, so that what it says of nodes and links can be moved as it is.
    let own: Value = serde_yaml::from_str(&written(topology, &[])).unwrap_or_default();
    let whole: Map<String, Value> =
        WHOLE.iter().filter_map(|key| Some(((*key).to_owned(), own.get(key)?.clone()))).collect();
    let mut text = String::from("# Written by `damc export containerlab`. `damc import` reads it back.\n");
    for note in notes {
        let _ = writeln!(text, "# {}", note.replace('$', "").replace(|c: char| c.is_control(), " "));
    }
    let _ = write!(
        text,
        "name: {}\ntopology:\n  defaults:\n    kind: linux\n    image: {}\n    config: {}\n  nodes:\n",
        flow(&plan.topology.clone().into()),
        flow(&image.into()),
        flow(&json!({ "vars": { VARS: whole } })),
    );
    for process in &plan.processes {
        let (node, role) = (&process.node, &process.config.role);
        let _ = write!(
            text,
            "    {}:\n      cmd: damc-{role} {FOLDER}/config.json\n      binds: [{}]\n",
            flow(&node.as_str().into()),
            flow(&format!("nodes/{node}:{FOLDER}").into()),
        );
        let position = topology.nodes().get(node.as_str()).and_then(|node| node.position);
        if let Some((x, y)) = position {
            // Containerlab's drawings count pixels.
            let pixels = |at: f64| format!("{:.0}", at * 100.0);
            let labels = json!({ "graph-posX": pixels(x), "graph-posY": pixels(y) });
            let _ = writeln!(text, "      labels: {}", flow(&labels));
        }
        let _ = writeln!(text, "      config: {}", flow(&json!({ "vars": { VARS: own["nodes"][node.as_str()] } })));
    }
    write_links(&mut text, plan, &own);
    text
}

fn write_links(text: &mut String, plan: &Plan, own: &Value) {
    if !plan.links.is_empty() {
        text.push_str("  links:\n");
    }
    for (number, link) in plan.links.iter().enumerate() {
        let ends = [&link.a, &link.b].map(|end| format!("{}:{}", end.node, end.interface));
        let _ = writeln!(text, "    - endpoints: {}", flow(&ends.to_vec().into()));
        // A link of which a file says nothing but its ends is a list of them.
        let mut says = own["links"][number].as_object().cloned().unwrap_or_default();
        says.remove("between");
        if !says.is_empty() {
            let _ = writeln!(text, "      vars: {}", flow(&json!({ VARS: says })));
        }
    }
}

/// One command for each end of a link that does something.
fn netem(plan: &Plan, notes: &mut Vec<String>) -> String {
    let mut text = format!(
        "#!/bin/sh\n# Gives the links of the lab {} their properties; containerlab has them not in its file.\nset -e\n",
        plan.topology
    );
    let mut left_out = Vec::new();
    for link in &plan.links {
        for (end, spec) in [(&link.a, &link.forward), (&link.b, &link.backward)] {
            let (options, missing) = options(spec);
            if !options.is_empty() {
                let container = format!("clab-{}-{}", plan.topology, end.node);
                let _ = writeln!(
                    text,
                    "containerlab tools netem set --node {container} --interface {}{options}",
                    end.interface
                );
            }
            if !missing.is_empty() {
                left_out.push(format!("{} of {} at {}", missing.join(", "), end.interface, end.node));
            }
        }
    }
    if !left_out.is_empty() {
        notes.push(format!("Containerlab's netem cannot do: {}.", left_out.join("; ")));
    }
    text
}

/// The options of `containerlab tools netem set` for a direction, and what they cannot say.
fn options(spec: &DirectionSpec) -> (String, Vec<&'static str>) {
    let mut text = String::new();
    let ms = |ns: u64| format!("{}us", ns.div_ceil(1_000));
    if spec.delay_ns > 0 {
        let _ = write!(text, " --delay {}", ms(spec.delay_ns));
    }
    if spec.jitter_ns > 0 {
        let _ = write!(text, " --jitter {}", ms(spec.jitter_ns));
    }
    if let Loss::Random { probability } = spec.loss {
        let _ = write!(text, " --loss {:.3}", probability * 100.0);
    }
    if spec.corrupt > 0.0 {
        let _ = write!(text, " --corruption {:.3}", spec.corrupt * 100.0);
    }
    if let Some(rate) = spec.rate_bps {
        let _ = write!(text, " --rate {}", rate.div_ceil(1_000));
    }
    let bursts = matches!(spec.loss, Loss::GilbertElliott { .. });
    let shaped = spec.jitter_ns > 0 && spec.distribution != DirectionSpec::default().distribution;
    let missing = [
        (bursts, "losses in bursts"),
        (shaped, "the distribution of jitter"),
        (spec.duplicate > 0.0, "duplicates"),
        (spec.reorder.is_some(), "reordering"),
        (spec.limit.is_some(), "the limit of the queue"),
    ];
    (text, missing.into_iter().filter_map(|(there, what)| there.then_some(what)).collect())
}
