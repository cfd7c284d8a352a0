//! What a run leaves in addition to its report: tables and a drawing of the converged lab, its environment, logs and
//! captures.

use std::fmt::Write as _;
use std::path::Path;

use damc_mgmt::view::FibView;
use damc_testbed::calibration::Calibration;
use damc_testbed::{WorldKind, WorldStatus};
use damc_topology::graph::{Drawing, Labels, Path as DrawnPath, svg};
use damc_wire::{NodeId, Role};
use serde_json::json;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::capture::{BOUND, Subject};
use crate::report::RunFolder;
use crate::runner::RunOptions;
use crate::testbed::Testbed;
use crate::verdict::CaseResult;

/// Span of the recording before a case that its capture includes, ns.
const BEFORE_NS: u64 = 200_000_000;

/// Environment variable that tells a run in a guest what kernel its host has.
pub const HOST_KERNEL: &str = "DAMC_HOST_KERNEL";

/// Writes FIBs as text, LSDBs as JSON, and the drawing with the converged paths.
pub async fn tables(testbed: &Testbed, folder: &mut RunFolder) {
    for node in testbed.routers() {
        if let Ok(fib) = testbed.lab.fib(&node).await {
            folder.write(&format!("fib/{node}.txt"), fib_text(&fib));
        }
        if let Ok(lsdb) = testbed.lab.lsdb(&node).await {
            let json = serde_json::to_string_pretty(&lsdb).unwrap_or_default();
            folder.write(&format!("lsdb/{node}.json"), json);
        }
    }
    folder.write("topology.svg", picture(testbed).await);
}

/// A FIB as a table for people. It omits what changes from run to run, so that two runs can be compared.
#[must_use]
pub fn fib_text(fib: &FibView) -> String {
    let mut table = Builder::new();
    table.push_record(["prefix", "source", "cost", "origin", "next hops"]);
    for e in &fib.entries {
        let prefix = if e.exact { format!("{} (exact)", e.prefix) } else { e.prefix.clone() };
        let hops: Vec<_> = e.next_hops.iter().map(|h| h.node.as_str()).collect();
        table.push_record([&prefix, &e.source.to_string(), &e.cost.to_string(), &e.origin.join(" "), &hops.join(" ")]);
    }
    let mut text = format!("FIB of {}\n", fib.node);
    let _ = writeln!(text, "{}", table.build().with(Style::psql()));
    // Trailing blanks would disturb comparisons.
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

async fn picture(testbed: &Testbed) -> String {
    let mut paths = Vec::new();
    let pods: Vec<_> = testbed.topology.of_kind(Role::Pod).filter(|p| !p.services.is_empty()).collect();
    if let (Some(first), Some(last)) = (pods.first(), pods.last()) {
        for (caller, target) in [(first, last), (last, first)] {
            let name = target.services[0].prefix.to_string();
            let Ok(reply) = testbed.call(caller.id.as_str(), &name, "whoami", &[]).await else { continue };
            let mut nodes = vec![caller.id.clone()];
            nodes.extend(reply.path.iter().filter_map(|n| NodeId::new(n).ok()));
            nodes.push(target.id.clone());
            paths.push(DrawnPath { label: format!("{} calls {name}", caller.id), nodes });
        }
    }
    let title = Some(format!("{} as it converged", testbed.topology.name()));
    svg(&testbed.topology, &Drawing { title, paths, labels: Labels::default() })
}

/// Writes `env.json`: the environment of the run.
pub async fn environment(
    testbed: &Testbed,
    status: &WorldStatus,
    calibration: Option<&Calibration>,
    options: &RunOptions,
    folder: &mut RunFolder,
) {
    let kind = testbed.lab.kind();
    let mut env = json!({
        "world": kind.label(),
        "kernel": ground(kind),
        "backend": status.backend,
        "seed": options.seed,
        "version": env!("CARGO_PKG_VERSION"),
        "topology": options.source.display().to_string(),
        "pace": testbed.timers,
        "reaction": testbed.host,
        "ready_ms": status.ready_ms,
        "nodes": status.nodes.iter().map(|n| (n.name.clone(), json!({ "program": n.program, "version": n.version }))).collect::<std::collections::BTreeMap<_, _>>(),
        "calibration": calibration,
    });
    if kind == WorldKind::Live {
        env["host_kernel"] = json!(std::env::var(HOST_KERNEL).ok());
        env["cpus"] = json!(std::thread::available_parallelism().map_or(0, usize::from));
    }
    if let (Some(env), serde_json::Value::Object(own)) = (env.as_object_mut(), testbed.lab.environment().await) {
        env.extend(own);
    }
    folder.write("env.json", serde_json::to_string_pretty(&env).unwrap_or_default());
}

/// What a world runs on: the kernel, or nothing.
#[must_use]
pub fn ground(kind: WorldKind) -> String {
    match kind {
        WorldKind::Live => kernel(),
        WorldKind::Virtual => "none: virtual time".to_owned(),
    }
}

/// The running kernel, as `uname -sr` prints it.
#[must_use]
pub fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

/// Copies the logs that a world leaves.
pub fn logs(testbed: &Testbed, folder: &mut RunFolder) {
    for (name, path) in testbed.lab.logs() {
        folder.copy_text(&path, &format!("logs/{name}"));
    }
}

/// Writes the capture of a case: its frames, those that checks rest on marked, and between them what happened.
pub async fn capture(testbed: &Testbed, from_ns: u64, folder: &mut RunFolder, result: &mut CaseResult) {
    let marks = testbed.take_marks();
    let Ok((header, records)) = testbed.records(from_ns.saturating_sub(BEFORE_NS)).await else { return };
    let nodes = || testbed.topology.nodes().keys().map(NodeId::as_str);
    let subject = Subject {
        title: format!("{}: {}\n{}", result.id, result.title, result.verdict.reason()),
        began_ns: from_ns,
        cited: marks.cited,
        injected: marks.injected,
        notes: notes(testbed, from_ns).await,
        nodes: Subject::nodes_in(result.verdict.reason(), nodes()),
    };
    let selection = subject.select(records, BOUND);
    let name = format!("captures/{}.pcapng", result.id);
    if let Ok(bytes) = selection.write(&header, &subject.title) {
        folder.write(&name, bytes);
    }
    if folder.path().is_some_and(|path| Path::new(path).join(&name).exists()) {
        result.frames = selection.cited(&subject);
        result.attachments.push(name);
    }
}

/// What happened since `from_ns`, by time: events of all nodes, and stalls of the host.
async fn notes(testbed: &Testbed, from_ns: u64) -> Vec<(u64, String)> {
    let mut notes = Vec::new();
    for node in testbed.topology.nodes().keys() {
        // A node that does not answer has no events to tell; the case says that it does not.
        let events = testbed.events(node.as_str()).await.unwrap_or_default();
        let since = events.into_iter().filter(|event| event.at_ns >= from_ns);
        notes
            .extend(since.filter_map(|e| Some((e.at_ns, format!("{node}: {}", serde_json::to_string(&e.kind).ok()?)))));
    }
    for stall in testbed.lab.stalls().into_iter().filter(|stall| stall.until_ns >= from_ns) {
        let ms = stall.until_ns.saturating_sub(stall.due_ns) as f64 / 1e6;
        notes.push((stall.due_ns, format!("the host stalled: a wake-up came {ms:.1} ms late")));
    }
    notes.sort();
    notes.truncate(NOTES);
    notes
}

/// Most notes in a capture.
const NOTES: usize = 5000;
