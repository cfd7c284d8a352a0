//! What time it is at the SPAs and the SCSC, as far as their own statements tell.

use std::collections::HashMap;

use damc_wire::{Millis, NodeId, Timestamp};

/// Lower bound of the clock of each node that issues grants or attachments: the latest `issued_at` seen, moved on by the
/// own monotonic clock since.
///
/// What they issue is judged by it and never by a wall clock, so skewed clocks change nothing (check-list 11), and a grant
/// that was issued before another one's expiry cannot be kept alive by a holder who stops its own clock.
#[derive(Clone, Debug, Default)]
pub struct IssuerClock {
    latest: HashMap<NodeId, (Millis, Timestamp)>,
}

impl IssuerClock {
    /// Learns from a grant or attachment whose signature has verified.
    pub fn observe(&mut self, now: Timestamp, issuer: &NodeId, issued_at: Millis) {
        if self.at(now, issuer).is_none_or(|known| issued_at > known) {
            self.latest.insert(issuer.clone(), (issued_at, now));
        }
    }

    /// The issuer's clock is at least here; none where it never spoke.
    #[must_use]
    pub fn at(&self, now: Timestamp, issuer: &NodeId) -> Option<Millis> {
        let (issued, seen) = self.latest.get(issuer)?;
        Some(Millis(issued.0.saturating_add(now.since(*seen).as_millis().try_into().unwrap_or(u64::MAX))))
    }

    /// When, on the own clock, the issuer's clock is at least at `time`; none where it never spoke. In the past where it is.
    #[must_use]
    pub fn when(&self, issuer: &NodeId, time: Millis) -> Option<Timestamp> {
        let (issued, seen) = self.latest.get(issuer)?;
        Some(*seen + Millis(time.0.saturating_sub(issued.0)).duration())
    }

    /// Whether the issuer's clock has reached `time`; false where it never spoke.
    #[must_use]
    pub fn has_reached(&self, now: Timestamp, issuer: &NodeId, time: Millis) -> bool {
        self.at(now, issuer).is_some_and(|at| at >= time)
    }
}
