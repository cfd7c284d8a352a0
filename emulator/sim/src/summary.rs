//! What a simulated network did as a whole: when it converged, and what that took.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::view::{ProtocolCounters, View, ViewKind};
use damc_mgmt::words::ProtocolCounter;
use damc_wire::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sim::{Late, Sim};

/// What all nodes of a simulation did together since it began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Nodes of all roles.
    pub nodes: usize,
    /// SGs and SRs among them.
    pub routers: usize,
    /// Links.
    pub links: usize,
    /// Virtual time, ms.
    pub now_ms: f64,
    /// When a forwarding table last changed, ms of virtual time since the start.
    pub converged_ms: f64,
    /// All databases hold the same.
    pub databases_equal: bool,
    /// LSAs in the largest database.
    pub lsas: u64,
    /// Entries of all forwarding tables.
    pub fib_entries: u64,
    /// Frames put on links.
    pub messages: u64,
    /// Bytes of them, without Ethernet headers.
    pub bytes: u64,
    /// Frames by type of message.
    pub messages_by_type: BTreeMap<String, u64>,
    /// LSAs originated, every instance.
    pub lsas_originated: u64,
    /// LSAs taken into databases, own ones excepted.
    pub lsas_accepted: u64,
    /// LSAs that came again.
    pub lsas_duplicate: u64,
    /// LSAs sent again because no acknowledgement came.
    pub lsas_retransmitted: u64,
    /// Shortest-path computations.
    pub spf: Spf,
}

/// Shortest-path computations of all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spf {
    /// All runs.
    pub runs: u64,
    /// Those that followed changes instead of computing anew.
    pub incremental: u64,
    /// Changes that needed none.
    pub spared: u64,
    /// Recomputations of prefixes alone.
    pub prefixes_only: u64,
}

impl Sim {
    /// Runs until no forwarding table changed for `quiet`; gives the time of the last change.
    ///
    /// # Errors
    /// [`Late`] where that is not within `deadline`.
    pub fn converge(&mut self, quiet: Duration, deadline: Duration) -> Result<Timestamp, Late> {
        let begin = self.now();
        let end = begin + deadline;
        loop {
            let until = self.fib_changed_at.max(begin) + quiet;
            if until > end {
                return Err(Late { at: self.now() });
            }
            if self.now() >= until {
                return Ok(self.fib_changed_at);
            }
            self.run_to(until);
        }
    }

    /// Counters of all nodes, added up. Takes time in proportion to all databases together.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let ms = |at: Timestamp| at.since(Self::BEGIN).as_secs_f64() * 1e3;
        let mut summary = Summary {
            nodes: self.nodes.len(),
            links: self.links.len(),
            now_ms: ms(self.now()),
            converged_ms: ms(self.fib_changed_at),
            ..Summary::default()
        };
        let mut digests = BTreeSet::new();
        for node in &self.nodes {
            summary.add_sent(&node.seen);
            if !node.has_forwarding_plane() {
                continue;
            }
            summary.routers += 1;
            summary.fib_entries += node.plane.prefixes() as u64;
            if let Some(View::Digest(digest)) = self.view(node.id.as_str(), ViewKind::Digest) {
                digests.insert(digest);
            }
            let counters: ProtocolCounters = self.show(node.id.as_str());
            let count = |counter| counters.get(counter);
            summary.lsas = summary.lsas.max(count(ProtocolCounter::Lsas));
            summary.lsas_originated += count(ProtocolCounter::LsaOriginated);
            summary.lsas_accepted += count(ProtocolCounter::LsaAccepted);
            summary.lsas_duplicate += count(ProtocolCounter::LsaDuplicate);
            summary.lsas_retransmitted += count(ProtocolCounter::LsaRetransmitted);
            summary.spf.runs += count(ProtocolCounter::SpfRuns);
            summary.spf.incremental += count(ProtocolCounter::SpfIncremental);
            summary.spf.spared += count(ProtocolCounter::SpfSpared);
            summary.spf.prefixes_only += count(ProtocolCounter::PartialRuns);
        }
        summary.databases_equal = digests.len() == 1;
        summary
    }
}

impl Summary {
    fn add_sent(&mut self, seen: &crate::Seen) {
        self.bytes += seen.sent_bytes;
        for (message_type, count) in &seen.sent {
            self.messages += count;
            *self.messages_by_type.entry(message_type.label().to_owned()).or_default() += count;
        }
    }
}
