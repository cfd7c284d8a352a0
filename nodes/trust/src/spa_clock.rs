//! What time it is at an SPA, as far as its own statements tell.

use std::collections::HashMap;

use damc_wire::security::Grant;
use damc_wire::{Millis, NodeId, Timestamp};

/// Lower bound of each SPA's clock: the latest `issued_at` seen, moved on by the own monotonic clock since.
///
/// Grants are judged by it and never by a wall clock, so skewed clocks change nothing (check-list 11), and a grant that
/// was issued before another one's expiry cannot be kept alive by a holder who stops its own clock.
#[derive(Clone, Debug, Default)]
pub struct SpaClock {
    latest: HashMap<NodeId, (Millis, Timestamp)>,
}

impl SpaClock {
    /// Learns from a grant whose signature has verified.
    pub fn observe(&mut self, now: Timestamp, grant: &Grant) {
        let spa = &grant.certificate.node;
        if self.at(now, spa).is_none_or(|known| grant.issued_at > known) {
            self.latest.insert(spa.clone(), (grant.issued_at, now));
        }
    }

    /// The SPA's clock is at least here; none where it never spoke.
    #[must_use]
    pub fn at(&self, now: Timestamp, spa: &NodeId) -> Option<Millis> {
        let (issued, seen) = self.latest.get(spa)?;
        Some(Millis(issued.0.saturating_add(now.since(*seen).as_millis().try_into().unwrap_or(u64::MAX))))
    }

    /// When, on the own clock, the SPA's clock is at least at `time`; none where it never spoke. In the past where it is.
    #[must_use]
    pub fn when(&self, spa: &NodeId, time: Millis) -> Option<Timestamp> {
        let (issued, seen) = self.latest.get(spa)?;
        Some(*seen + Millis(time.0.saturating_sub(issued.0)).duration())
    }

    /// Time left of a grant; zero once it is over.
    #[must_use]
    pub fn remaining(&self, now: Timestamp, grant: &Grant) -> Millis {
        let at = self.at(now, &grant.certificate.node).unwrap_or(grant.issued_at);
        Millis(grant.expires_at.0.saturating_sub(at.0))
    }
}
