//! Quality of service on the drafts' Figure 2 in virtual time: real frames, signatures, probes, reports and policies.

mod steering;
mod views;

use core::time::Duration;

use damc_impair::DirectionSpec;
use damc_mgmt::config::Thresholds;
use damc_mgmt::view::{PathView, PoliciesView, PolicyView};
use damc_mgmt::words::PolicyActionKind;
use damc_sim::{Call, Network, Sim, delayed};
use damc_wire::Role;
use damc_wire::registry::MessageType;

/// Time the tests give anything to happen; all of it is virtual.
const DEADLINE: Duration = Duration::from_secs(20);
/// SGs and SRs.
const NODES: [&str; 7] = ["sg-1", "sg-2", "sg-3", "sg-4", "sr-bottom", "sr-left", "sr-right"];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn fig2() -> Network {
    let mut n = Network::new().node("scsc", Role::Scsc);
    for sr in ["sr-left", "sr-right", "sr-bottom"] {
        n = n.sr(sr);
    }
    for i in 1..=4 {
        let (sg, spa, pod) = (format!("sg-{i}"), format!("spa-{i}"), format!("pod-{i}"));
        let services: &[(&str, Option<&str>)] = match i {
            1 => &[("/A/1", Some("/A")), ("/B/1", Some("/B"))],
            2 => &[("/C/2", None)],
            3 => &[("/D/3", None)],
            _ => &[("/A/4", Some("/A")), ("/B/4", Some("/B"))],
        };
        n = n.sg(&sg).node(&spa, Role::Spa).pod(&pod, services).link(&spa, &sg, 1).link(&pod, &sg, 1);
    }
    let links = [
        ("sg-1", "sr-left"),
        ("sg-1", "sr-right"),
        ("sg-2", "sr-left"),
        ("sg-2", "sr-right"),
        ("sg-3", "sr-left"),
        ("sg-3", "sr-bottom"),
        ("sg-4", "sr-bottom"),
        ("sg-4", "sr-right"),
        ("sr-left", "sr-right"),
        ("sr-left", "sr-bottom"),
        ("sr-right", "sr-bottom"),
        ("scsc", "sr-left"),
        ("scsc", "sr-right"),
    ];
    let thresholds = Thresholds { bandwidth_bps: 10_000_000, delay_ns: 20_000_000, jitter_ns: 5_000_000 };
    links.iter().fold(n, |n, (a, b)| n.link(a, b, 1)).threshold("default", thresholds)
}

/// Figure 2, converged and measured: every SG has a delay for each of the six instances.
fn started(network: &Network) -> Sim {
    let mut sim = Sim::new(&network.configs(7), 7).unwrap();
    sim.set_all_specs(model(1));
    sim.start();
    sim.run_until(|s| paths(s).iter().filter(|p| p.delay_ns.is_some()).count() == 24, DEADLINE)
        .unwrap_or_else(|late| panic!("{late:?}: {:#?}", paths(&sim)));
    sim
}

fn model(delay_ms: u64) -> DirectionSpec {
    delayed(ms(delay_ms))
}

fn policies_at(sim: &Sim, node: &str) -> PoliciesView {
    sim.show(node)
}

/// The SCSC's picture of all paths.
fn paths(sim: &Sim) -> Vec<PathView> {
    policies_at(sim, "scsc").paths
}

fn path(sim: &Sim, source: &str, target: &str) -> PathView {
    paths(sim).into_iter().find(|p| p.source == source && p.target == target && p.label == 0).unwrap()
}

/// The ingress policy of a source for a prefix, as the source SG holds it.
fn ingress(sim: &Sim, source: &str, prefix: &str) -> Option<PolicyView> {
    let held = policies_at(sim, source).policies;
    held.into_iter().find(|p| p.action == PolicyActionKind::Ingress && p.prefix == prefix && p.active)
}

/// Who holds something of this label, and what.
fn holders(sim: &Sim, label: u32) -> Vec<(String, PolicyActionKind)> {
    let of = |node: &&str| {
        let held = policies_at(sim, node).policies.into_iter().find(|p| p.label == label)?;
        Some(((*node).to_owned(), held.action))
    };
    NODES.iter().filter_map(of).collect()
}

/// Policy frames the SCSC has sent.
fn policy_frames(sim: &Sim) -> u64 {
    sim.seen("scsc").sent.get(&MessageType::Policy).copied().unwrap_or(0)
}

/// The way a call takes there, `sg-1 sr-right sg-4`; or why it failed.
fn way(sim: &mut Sim, pod: &str, name: &str) -> String {
    let handle = sim.call(pod, Call::echo(name));
    sim.run_until(|s| s.seen(pod).calls.contains_key(&handle), DEADLINE).unwrap();
    let outcome = &sim.seen(pod).calls[&handle];
    match &outcome.result {
        Ok(_) => outcome.path.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(why) => format!("{why:?}"),
    }
}
