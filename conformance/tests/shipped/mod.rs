//! One expectation for two witnesses: the FIBs of each shipped topology, met by the emulation and by the in-memory
//! network. Both assert the same file in `tests/snapshots`.
#![allow(dead_code, reason = "every test program takes what it needs")]

use std::collections::BTreeMap;
use std::path::Path;

use damc_conformance::artefacts::fib_text;
use damc_conformance::oracle::{Failures, Oracle};
use damc_lab::topology_file;
use damc_mgmt::view::FibView;
use damc_mgmt::words::RouteSource;
use damc_topology::{Node, Topology};
use damc_wire::Role;

/// The shipped topologies whose services are the built-in one.
pub const BUILT_IN: [&str; 5] = ["fig2", "grid", "line", "ring", "tiered"];

/// A shipped topology.
pub fn load(name: &str) -> Topology {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies").join(format!("{name}.yaml"));
    topology_file::load(&path).unwrap_or_else(|mistakes| panic!("{name}: {mistakes}"))
}

/// SGs and SRs, in the order of the snapshot.
pub fn routers(topology: &Topology) -> Vec<String> {
    let routes = |n: &&Node| matches!(n.kind, Role::Sg | Role::Sr);
    topology.nodes().values().filter(routes).map(|n| n.id.to_string()).collect()
}

/// What keeps these FIBs from being final. Convergence says that every name is everywhere; SPF pacing may still have a
/// better way in store, and a policy of a loaded host would overlay the plain routes.
pub fn unsettled(topology: &Topology, fibs: &BTreeMap<String, FibView>) -> Option<String> {
    let policy =
        fibs.iter().find(|(_, fib)| fib.entries.iter().any(|e| e.source == RouteSource::Policy || e.label.is_some()));
    match policy {
        Some((node, _)) => Some(format!("{node} has a policy")),
        None => Oracle::new(topology, &Failures::default()).first_difference(fibs),
    }
}

/// Asserts the one snapshot of a topology.
pub fn assert_fibs(name: &str, fibs: &BTreeMap<String, FibView>) {
    let text: Vec<String> = fibs.values().map(fib_text).collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(format!("fibs_{name}"), text.join("\n")));
}
