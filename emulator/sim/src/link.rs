//! A wire between two nodes: delay, jitter, loss, duplication, cuts.

use core::time::Duration;

use damc_wire::Timestamp;
use rand::{Rng, RngExt as _};

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET_HEADER: u64 = 14;

/// What one direction of a link does to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkModel {
    /// One-way delay.
    pub delay: Duration,
    /// Added to it, evenly spread from 0; frames overtake each other within it.
    pub jitter: Duration,
    /// Lost frames, parts per million.
    pub loss_ppm: u32,
    /// Frames that come twice, parts per million.
    pub duplicate_ppm: u32,
    /// Bits of Ethernet frames it carries each way in a second, one frame after the other; 0 for no limit.
    pub rate_bps: u64,
}

impl Default for LinkModel {
    fn default() -> Self {
        Self { delay: Duration::from_micros(100), jitter: Duration::ZERO, loss_ppm: 0, duplicate_ppm: 0, rate_bps: 0 }
    }
}

impl LinkModel {
    /// A link that loses, reorders and duplicates.
    #[must_use]
    pub const fn lossy(loss_ppm: u32) -> Self {
        Self {
            delay: Duration::from_micros(300),
            jitter: Duration::from_micros(2000),
            loss_ppm,
            duplicate_ppm: loss_ppm / 3,
            rate_bps: 0,
        }
    }

    /// How long a PDU of this length occupies the link.
    pub(crate) fn occupied(&self, pdu_len: usize) -> Duration {
        let bits = (pdu_len as u64 + ETHERNET_HEADER) * 8;
        Duration::from_nanos((bits * 1_000_000_000).checked_div(self.rate_bps).unwrap_or(0))
    }

    /// After which times a frame that is sent now arrives.
    pub(crate) fn arrivals(&self, rng: &mut impl Rng) -> Vec<Duration> {
        let mut arrivals = Vec::with_capacity(1);
        let copies = if chance(rng, self.duplicate_ppm) { 2 } else { 1 };
        for _ in 0..copies {
            if !chance(rng, self.loss_ppm) {
                let jitter = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
                let extra = if jitter == 0 { 0 } else { rng.random_range(0..=jitter) };
                arrivals.push(self.delay + Duration::from_nanos(extra));
            }
        }
        arrivals
    }
}

fn chance(rng: &mut impl Rng, ppm: u32) -> bool {
    ppm > 0 && rng.random_range(0..1_000_000) < ppm
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Index of the node.
    pub(crate) node: usize,
    /// Its port.
    pub(crate) port: damc_proto::io::PortId,
}

/// A link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    /// By sending end.
    pub(crate) models: [LinkModel; 2],
    /// Both ends see carrier.
    pub(crate) up: bool,
    /// Frames from this end vanish, without anybody being told.
    pub(crate) silent: [bool; 2],
    /// When the frame sent last from this end has left.
    pub(crate) free_at: [Timestamp; 2],
    /// Rises when the link goes down: what was under way is lost.
    pub(crate) epoch: u64,
}
