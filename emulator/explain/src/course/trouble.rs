//! Loops and black holes: from when until when, why, and which frames met them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::replay::Replayed;
use super::{Change, Clock, Crossing};

/// What tables together did to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// They sent them round in a circle. (Nodes drop such frames: nodes/WIRE.md, section 16.)
    Loop,
    /// They sent them where they are lost, while somebody served the name.
    BlackHole,
}

impl TroubleKind {
    /// Its name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::BlackHole => "black hole",
        }
    }
}

/// One thing that is wrong with one name at one moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) prefix: String,
    pub(super) kind: TroubleKind,
    pub(super) nodes: Vec<String>,
    pub(super) what: String,
}

impl Finding {
    pub(super) fn hole(prefix: &str, nodes: &[&str], what: String) -> Self {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        Self { prefix: prefix.to_owned(), kind: TroubleKind::BlackHole, nodes, what }
    }

    pub(super) fn cycle(prefix: &str, nodes: &[&str]) -> Self {
        let round = [nodes, &nodes[..1]].concat().join(" → ");
        let nodes = nodes.iter().map(ToString::to_string).collect();
        Self { prefix: prefix.to_owned(), kind: TroubleKind::Loop, nodes, what: round }
    }
}

/// A loop or a black hole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Which.
    pub kind: TroubleKind,
    /// The names it was for.
    pub prefixes: Vec<String>,
    /// The nodes of the loop in order; or the node that sends wrongly and, where there is one, the node it sends to.
    pub nodes: Vec<String>,
    /// What happened, for people.
    pub what: String,
    /// When it began, ns since the lab was ready.
    pub at_ns: u64,
    /// How long it lasted, ns; what was not over at the end lasted until there.
    pub lasted_ns: u64,
    /// It was over before the evidence ended.
    pub over: bool,
    /// The change just before it, at which it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Frames that met it, as far as they were recorded and kept.
    pub met: Met,
}

/// Frames that met a trouble.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// How many.
    pub frames: u64,
    /// When the first did, ns since the lab was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ns: Option<u64>,
}

/// When something was wrong, on the world's clock, and what, whatever the name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Episode<'r> {
    began_ns: u64,
    until_ns: u64,
    over: bool,
    kind: TroubleKind,
    nodes: &'r [String],
    what: &'r str,
}

/// Troubles by time; the same one for several names is one.
pub(super) fn told(replayed: &Replayed, changes: &[Change], crossings: &[Crossing], clock: Clock) -> Vec<Trouble> {
    let mut same: BTreeMap<Episode<'_>, Vec<String>> = BTreeMap::new();
    for (Finding { prefix, kind, nodes, what }, began_ns, ended_ns) in &replayed.episodes {
        let (over, until_ns) = (ended_ns.is_some(), ended_ns.unwrap_or(replayed.ended_ns));
        let episode = Episode { began_ns: *began_ns, until_ns, over, kind: *kind, nodes, what };
        same.entry(episode).or_default().push(prefix.clone());
    }
    let mut crossings: Vec<&Crossing> = crossings.iter().collect();
    crossings.sort_by_key(|crossing| crossing.at_ns);
    let trouble = |(episode, prefixes): (Episode<'_>, Vec<String>)| {
        let at_ns = clock.of(episode.began_ns);
        let after = changes.iter().rev().find(|change| change.at_ns <= at_ns).map(|change| change.what.clone());
        Trouble {
            kind: episode.kind,
            nodes: episode.nodes.to_vec(),
            what: episode.what.to_owned(),
            at_ns,
            lasted_ns: episode.until_ns.saturating_sub(episode.began_ns),
            over: episode.over,
            after,
            met: met(&crossings, &episode, &prefixes, clock),
            prefixes,
        }
    };
    same.into_iter().map(trouble).collect()
}

/// The frames under these names that went the wrong way at the time.
fn met(crossings: &[&Crossing], episode: &Episode<'_>, prefixes: &[String], clock: Clock) -> Met {
    let nodes = episode.nodes;
    let begin = crossings.partition_point(|crossing| crossing.at_ns < episode.began_ns);
    let during = crossings[begin..].iter().take_while(|crossing| crossing.at_ns < episode.until_ns);
    let under = |name: &str| {
        prefixes
            .iter()
            .any(|p| name.strip_prefix(p.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let next = |index: usize| nodes.get((index + 1) % nodes.len());
    let wrong = |crossing: &Crossing| match (episode.kind, nodes) {
        (TroubleKind::Loop, _) => {
            let at = nodes.iter().position(|node| node.as_str() == &*crossing.node);
            crossing.sent && at.and_then(next).is_some_and(|to| to.as_str() == &*crossing.port)
        }
        (TroubleKind::BlackHole, [from, to]) => crossing.sent && *crossing.node == **from && *crossing.port == **to,
        (TroubleKind::BlackHole, _) => !crossing.sent && nodes.first().is_some_and(|node| **node == *crossing.node),
    };
    let mut met = during.filter(|crossing| wrong(crossing) && under(&crossing.name));
    let first = met.next();
    Met {
        frames: first.map_or(0, |_| 1 + met.count() as u64),
        first_ns: first.map(|crossing| clock.of(crossing.at_ns)),
    }
}
