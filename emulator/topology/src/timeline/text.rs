//! What a timeline says, for reports.

use std::fmt;

use damc_impair::{DirectionChange, DirectionSpec};
use damc_wire::NodeId;

use super::{Act, Expected, FibState, Hold, LinkEvent, ServiceStep};
use crate::Time;

fn listed<'a>(nodes: impl IntoIterator<Item = &'a NodeId>, between: &str) -> String {
    nodes.into_iter().map(NodeId::as_str).collect::<Vec<_>>().join(between)
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { a, b, change } => write!(f, "link {a} – {b} {change}"),
            Self::Node { node, step } => write!(f, "{} {node}", step.label()),
            Self::Service { pod, prefix, step } => match step {
                ServiceStep::Stop => write!(f, "stop {prefix} of {pod}"),
                ServiceStep::Start => write!(f, "start {prefix} of {pod}"),
                ServiceStep::Restart => write!(f, "restart {prefix} of {pod}"),
                ServiceStep::Announce => write!(f, "announce {prefix} on {pod}"),
                ServiceStep::Withdraw => write!(f, "withdraw {prefix} on {pod}"),
            },
            Self::Licence { pod, prefix, grant: true } => write!(f, "grant {prefix} to {pod}"),
            Self::Licence { pod, prefix, grant: false } => write!(f, "revoke {prefix} of {pod}"),
            Self::Partition { groups, .. } => {
                let groups: Vec<_> = groups.iter().map(|group| listed(group, " ")).collect();
                write!(f, "partition {}", groups.join(" | "))
            }
            Self::Load(load) => {
                let (kind, size) = (load.kind.label(), load.size);
                write!(f, "{} {kind} requests/s of {size} B from {} to {}", load.per_second, load.from, load.to)
            }
            Self::Run { pod, command } => write!(f, "run in {pod}: {}", command.join(" ")),
            Self::Expect { what, hold } => match hold {
                Hold::Now => write!(f, "{what}"),
                Hold::Within(ns) => write!(f, "{what} within {}", Time(*ns)),
                Hold::Throughout => write!(f, "{what} throughout"),
            },
        }
    }
}

impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::Up => f.write_str("up"),
            Self::Silent => f.write_str("silent"),
            Self::Clear => f.write_str("as in the file"),
            Self::Follow(trace) => write!(f, "follows {}", trace.file.display()),
            Self::Set { forward, backward } => {
                let words = |change: &DirectionChange| {
                    let words = crate::describe(&DirectionSpec::default().with(change));
                    if words.is_empty() { "perfect".to_owned() } else { words.join(" ") }
                };
                let nothing = DirectionChange::default();
                match (words(forward), words(backward)) {
                    (there, back) if there == back => write!(f, "set to {there}"),
                    (there, _) if *backward == nothing => write!(f, "set to {there} there"),
                    (_, back) if *forward == nothing => write!(f, "set to {back} back"),
                    (there, back) => write!(f, "set to {there} there and {back} back"),
                }
            }
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reachable { from, name } => write!(f, "{name} is reachable from {from}"),
            Self::Unreachable { from, name } => write!(f, "{name} is unreachable from {from}"),
            Self::Path { from, name, nodes, exact: true } => {
                write!(f, "calls from {from} to {name} go {}", listed(nodes, " → "))
            }
            Self::Path { from, name, nodes, exact: false } => {
                write!(f, "calls from {from} to {name} go by way of {}", listed(nodes, ", "))
            }
            Self::Fib { node, prefix, entry } => match entry {
                FibState::Present => write!(f, "{node} has a way to {prefix}"),
                FibState::Absent => write!(f, "{node} has no way to {prefix}"),
                FibState::Through(next) => write!(f, "{node} reaches {prefix} by {}", listed(next, " and ")),
            },
            Self::Policy { node, prefix, present: true } => write!(f, "{node} has a policy for {prefix}"),
            Self::Policy { node, prefix, present: false } => write!(f, "{node} has no policy for {prefix}"),
            Self::Lost { at_most, .. } => write!(f, "at most {at_most} requests lost"),
            Self::Latency { percentile, at_most_ns, .. } => {
                write!(f, "{} at most {}", percentile.label(), Time(*at_most_ns))
            }
            Self::SilentLink { a, b } => write!(f, "no user's frame crosses {a} – {b}"),
            Self::SilentNode { node } => write!(f, "{node} sends nothing"),
            Self::Invariants => f.write_str("the invariants hold"),
        }
    }
}
