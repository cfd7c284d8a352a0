//! Registration, authentication and calls on whole networks of the real machines and the real forwarding plane, in
//! virtual time. Test names carry the requirement they pin.

mod authentication;
mod blip;
mod calls;
mod class1;
mod clocks;
mod partition;
mod registration;

use core::time::Duration;

use damc_mgmt::event::EventKind;
use damc_mgmt::view::{AnnouncementView, AnnouncementsView};
use damc_mgmt::words::AnnouncementState;
use damc_proto::io::{CallOutcome, Order};
use damc_sim::{Call, Network, Sim};
use damc_wire::{Name, NodeId, RefusalReason, Role, Timestamp};

const SECOND: Duration = Duration::from_secs(1);

fn name(s: &str) -> Name {
    s.parse().expect("a name")
}

fn node(s: &str) -> NodeId {
    NodeId::new(s).expect("a node identity")
}

/// Two SGs on two SRs, each with its SPA and pods: `pod-1` and `pod-3` at `sg-1`, `pod-2` at `sg-2`.
fn small() -> Network {
    Network::new()
        .sr("sr-1")
        .sr("sr-2")
        .sg("sg-1")
        .sg("sg-2")
        .node("spa-1", Role::Spa)
        .node("spa-2", Role::Spa)
        .pod("pod-1", &[("/A/1", Some("/A")), ("/B/1", None)])
        .pod("pod-2", &[("/A/2", Some("/A")), ("/shop", None)])
        .pod("pod-3", &[("/C/3", None)])
        .link("sg-1", "sr-1", 1)
        .link("sr-1", "sr-2", 1)
        .link("sr-2", "sg-2", 1)
        .link("sg-1", "spa-1", 1)
        .link("sg-2", "spa-2", 1)
        .link("pod-1", "sg-1", 1)
        .link("pod-2", "sg-2", 1)
        .link("pod-3", "sg-1", 1)
}

/// A network that has come up and registered everything its pods list.
fn up(network: &Network, seed: u64) -> Sim {
    let mut sim = Sim::new(&network.configs(seed), seed).expect("valid configurations");
    sim.start();
    sim.settle(Duration::from_millis(500), 10 * SECOND).expect("comes to rest");
    sim
}

/// Whether a node has a route for exactly this prefix.
fn routed(sim: &Sim, at: &str, prefix: &str) -> bool {
    sim.fib(at).entries.iter().any(|e| e.prefix == prefix)
}

/// SGs and SRs.
fn routers(sim: &Sim) -> Vec<String> {
    sim.node_names().into_iter().filter(|n| n.starts_with("sr-") || n.starts_with("sg-")).collect()
}

fn everywhere(sim: &Sim, prefix: &str) -> bool {
    routers(sim).iter().all(|n| routed(sim, n, prefix))
}

fn nowhere(sim: &Sim, prefix: &str) -> bool {
    routers(sim).iter().all(|n| !routed(sim, n, prefix))
}

fn announcements(sim: &Sim, at: &str) -> Vec<AnnouncementView> {
    sim.show::<AnnouncementsView>(at).announcements
}

/// State and reason of a name at a node.
fn standing(sim: &Sim, at: &str, prefix: &str) -> (AnnouncementState, Option<RefusalReason>) {
    let rows = announcements(sim, at);
    let row = rows.iter().find(|r| r.prefix == prefix).unwrap_or_else(|| panic!("{prefix} is not at {at}: {rows:?}"));
    (row.state, row.reason)
}

fn service(sim: &mut Sim, pod: &str, prefix: &str, running: bool) {
    sim.order(pod, Order::Service { prefix: name(prefix), pool: None, weight: 1, running });
}

/// Makes a call and waits for its end; says how long it took.
fn call(sim: &mut Sim, pod: &str, to: &str, method: &str, argument: &str) -> (CallOutcome, Duration) {
    let call = Call { method: method.to_owned(), payload: argument.as_bytes().to_vec(), ..Call::echo(to) };
    let begin = sim.now();
    let handle = sim.call(pod, call);
    let end = sim.run_until(|s| s.seen(pod).calls.contains_key(&handle), 3 * SECOND).expect("every call ends");
    (sim.seen(pod).calls[&handle].clone(), end.since(begin))
}

fn text(outcome: &CallOutcome) -> Result<String, (Option<RefusalReason>, String)> {
    outcome.result.clone().map(|bytes| String::from_utf8(bytes).expect("text"))
}

/// When an event was first seen at a node.
fn when(sim: &Sim, at: &str, what: impl Fn(&EventKind) -> bool) -> Option<Timestamp> {
    sim.seen(at).events.iter().find(|(_, e)| what(e)).map(|(t, _)| *t)
}
