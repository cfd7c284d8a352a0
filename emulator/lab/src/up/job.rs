//! From a plan to what the lab's first process is told to build.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::UpOptions;
use crate::job::{EndJob, Job, LinkJob, NodeJob};
use crate::recorder::NAP;
use crate::rundir::RunDir;
use damc_topology::plan::{LinkEnd, Plan};

/// What is to be built.
pub(super) fn job(
    plan: &Plan,
    options: &UpOptions,
    program: PathBuf,
    folder: &Path,
    directory: &RunDir,
    began_at_ns: u64,
) -> Job {
    let end = |end: &LinkEnd| EndJob { node: end.node.clone(), interface: end.interface.clone(), address: end.address };
    let node = |process: &damc_topology::plan::Process| {
        let services = &process.config.services;
        let pools = services.iter().filter_map(|service| service.pool.clone());
        NodeJob {
            name: process.node.clone(),
            kind: process.config.role.clone(),
            argv: process.program.argv(folder, &directory.node_config(&process.node)),
            names: services.iter().map(|service| service.prefix.clone()).chain(pools).collect(),
        }
    };
    let link = |link: &damc_topology::plan::PlannedLink| LinkJob {
        a: end(&link.a),
        b: end(&link.b),
        forward: link.forward,
        backward: link.backward,
    };
    Job {
        lab: plan.lab.clone(),
        topology: plan.topology.clone(),
        domain: plan.domain.clone(),
        seed: plan.seed,
        links_by: options.links_by,
        all_relayed: options.all_relayed,
        program,
        began_at_ns,
        record_bytes: options.record_bytes,
        record_every_ms: millis(options.calibration.stretched(NAP)),
        ready_within_ms: millis(options.ready_within),
        nodes: plan.processes.iter().map(node).collect(),
        links: plan.links.iter().map(link).collect(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
