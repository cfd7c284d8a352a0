//! Whether a path can satisfy its thresholds at all, by what the topology file configures. Cases that have traffic move
//! to another path ask this first: where no detour is good enough, a sound SCSC leaves the traffic where it is.

use damc_impair::DirectionSpec;
use damc_mgmt::config::Thresholds;
use damc_topology::{Link, Topology};
use damc_wire::NodeId;

use crate::oracle::{Failures, Oracle};

/// Share of a limit, in percent, that the configured delay may take. The rest is for nodes, queues and the room that a
/// return needs below the limit.
const SHARE_OF_DELAY: u64 = 75;

/// A path to judge: from an SG to a pod behind another.
pub(super) struct Ends<'a> {
    pub(super) sg: &'a str,
    pub(super) home: &'a str,
    pub(super) pod: &'a str,
}

/// Whether some path between these ends that avoids these links is within the limits.
pub(super) fn exists(topology: &Topology, ends: &Ends<'_>, avoided: &[(&str, &str)], limits: &Thresholds) -> bool {
    let mut failures = avoided.iter().fold(Failures::default(), |f, (a, b)| f.link(a, b));
    for link in topology.links() {
        let (a, b, cost) = (link.a.as_str(), link.b.as_str(), micros(link));
        failures = failures.cost(a, b, cost).cost(b, a, cost);
        if !is_fit(link, limits) {
            failures = failures.link(a, b);
        }
    }
    let last = between(topology, ends.home, ends.pod).filter(|link| is_fit(link, limits));
    let distance = Oracle::new(topology, &failures).distance(ends.sg, ends.home);
    last.zip(distance).is_some_and(|(last, distance)| leaves_time(distance + u64::from(micros(last)), limits))
}

/// Whether this chain of nodes is within the limits.
pub(super) fn is_good<'a>(topology: &Topology, chain: impl Iterator<Item = &'a str>, limits: &Thresholds) -> bool {
    let nodes: Vec<&str> = chain.collect();
    let links: Option<Vec<&Link>> = nodes.windows(2).map(|pair| between(topology, pair[0], pair[1])).collect();
    links.is_some_and(|links| {
        let delay_us = links.iter().map(|link| u64::from(micros(link))).sum();
        links.iter().all(|link| is_fit(link, limits)) && leaves_time(delay_us, limits)
    })
}

fn leaves_time(delay_us: u64, limits: &Thresholds) -> bool {
    delay_us.saturating_mul(100_000) <= limits.delay_ns.saturating_mul(SHARE_OF_DELAY)
}

fn between<'a>(topology: &'a Topology, a: &str, b: &str) -> Option<&'a Link> {
    topology.link(&NodeId::new(a).ok()?, &NodeId::new(b).ok()?)
}

/// Half of the round trip as configured, ns: what probes measure.
pub(super) const fn half_round_ns(link: &Link) -> u64 {
    link.forward.spec.delay_ns.midpoint(link.backward.spec.delay_ns)
}

fn micros(link: &Link) -> u32 {
    u32::try_from(half_round_ns(link) / 1000).unwrap_or(u32::MAX)
}

fn is_fit(link: &Link, limits: &Thresholds) -> bool {
    [&link.forward.spec, &link.backward.spec].iter().all(|spec| leaves_room(spec, limits))
}

/// Rate at least twice the lower bound; jitter, as RFC 3550 counts a uniform deviation, at most half of the upper one.
fn leaves_room(spec: &DirectionSpec, limits: &Thresholds) -> bool {
    let fast = spec.rate_bps.is_none_or(|rate| rate / 2 >= limits.bandwidth_bps);
    fast && spec.jitter_ns / 3 * 2 <= limits.jitter_ns / 2
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use damc_topology::parse;

    use super::*;

    /// Two ways of unlike length from sg-1 to pod-2; the links of the longer one are as told.
    fn topology(longer: &str) -> Topology {
        let text = format!(
            "name: t
domain: example
nodes:
  sg-1: {{ kind: sg }}
  sg-2: {{ kind: sg }}
  sr-1: {{ kind: sr }}
  sr-2: {{ kind: sr }}
  spa-2: {{ kind: spa }}
  pod-2: {{ kind: pod, services: [{{ prefix: /A }}] }}
defaults: {{ link: {{ delay: 5ms, rate: 1gbit }} }}
links:
  - [sg-1, sr-1]
  - [sr-1, sg-2]
  - {{ between: [sg-1, sr-2], {longer} }}
  - [sr-2, sg-2]
  - [sg-2, pod-2]
  - [sg-2, spa-2]
"
        );
        parse("t.yaml", &text, Path::new(".")).expect("a sound topology")
    }

    const ENDS: Ends<'static> = Ends { sg: "sg-1", home: "sg-2", pod: "pod-2" };

    fn limits(delay_ms: u64) -> Thresholds {
        Thresholds { delay_ns: delay_ms * 1_000_000, jitter_ns: 10_000_000, bandwidth_bps: 10_000_000 }
    }

    #[test]
    fn a_detour_must_leave_a_quarter_of_the_delay() {
        let topology = topology("delay: 10ms");
        let avoided = [("sg-1", "sr-1")];
        assert!(exists(&topology, &ENDS, &avoided, &limits(27)), "20 ms are three quarters of 27 ms");
        assert!(!exists(&topology, &ENDS, &avoided, &limits(26)), "20 ms are more than three quarters of 26 ms");
        assert!(exists(&topology, &ENDS, &[], &limits(20)), "the short path takes 15 ms");
        assert!(is_good(&topology, ["sg-1", "sr-1", "sg-2", "pod-2"].into_iter(), &limits(20)));
        assert!(!is_good(&topology, ["sg-1", "sr-2", "sg-2", "pod-2"].into_iter(), &limits(20)));
    }

    #[test]
    fn a_detour_must_be_fast_and_even() {
        let avoided = [("sg-1", "sr-1")];
        for (longer, good) in
            [("rate: 20mbit", true), ("rate: 19mbit", false), ("jitter: 5ms", true), ("jitter: 8ms", false)]
        {
            let topology = topology(&format!("delay: 10ms, {longer}"));
            assert_eq!(exists(&topology, &ENDS, &avoided, &limits(50)), good, "{longer}");
        }
    }
}
