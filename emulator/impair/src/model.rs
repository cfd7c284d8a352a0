//! What happens to frames in one direction of a link, in whatever time the caller lives in.
//!
//! The model follows netem's order: duplicate, lose, corrupt, then either delay or overtake. A rate serialises frames
//! one after the other over their length with Ethernet header; the delay starts when the last bit is out. Frames leave
//! in the order of their delivery times, so jitter reorders. Every property draws from its own random stream: which
//! frames are lost depends on the seed and on the frames offered, not on which other properties are on.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use damc_wire::Timestamp;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::pool::{FramePool, Slot};
use crate::spec::{DirectionChange, DirectionSpec, Loss};

/// What one direction has done so far, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectionCounters {
    /// Frames offered.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames delivered.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Copies with a flipped bit.
    pub corrupted: u64,
    /// Copies that overtook.
    pub reordered: u64,
    /// Lost by the loss model.
    pub lost: u64,
    /// Lost because the direction is silent.
    pub lost_silent: u64,
    /// Dropped at the tail of a full queue.
    pub lost_limit: u64,
    /// Refused by the interface (down, or its queue full).
    pub lost_interface: u64,
    /// Sum of the delays of delivered frames, from arrival to delivery, in nanoseconds.
    pub delay_ns: u64,
    /// Shortest of these delays, in nanoseconds; 0 where nothing was delivered.
    pub delay_min_ns: u64,
    /// Longest of them, in nanoseconds.
    pub delay_max_ns: u64,
    /// Sum of the delivery times' lateness against the model, in nanoseconds.
    pub late_ns: u64,
    /// Largest lateness, in nanoseconds.
    pub late_max_ns: u64,
    /// Frames delivered more than 0.2 ms late.
    pub late_frames: u64,
}

/// Lateness above which a frame counts in [`DirectionCounters::late_frames`].
const LATE: Duration = Duration::from_micros(200);

/// A frame whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its buffer, to be given back to the pool.
    pub slot: Slot,
    /// When it arrived.
    pub entered: Timestamp,
    /// When it had to be delivered.
    pub at: Timestamp,
}

/// One direction of a link.
#[derive(Debug)]
pub struct DirectionModel {
    spec: DirectionSpec,
    random: Streams,
    in_bad_state: bool,
    since_reordered: u32,
    /// When the last bit of the last frame accepted is serialised.
    busy_until: Timestamp,
    queue: BinaryHeap<Reverse<Pending>>,
    next_order: u64,
    counters: DirectionCounters,
}

/// A frame on its way. Ordered by delivery time, then by acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    at: Timestamp,
    order: u64,
    entered: Timestamp,
    serialised: Timestamp,
    bits: u64,
    slot: Slot,
}

/// One random stream per property.
#[derive(Debug)]
struct Streams {
    loss: ChaCha8Rng,
    duplicate: ChaCha8Rng,
    corrupt: ChaCha8Rng,
    reorder: ChaCha8Rng,
    jitter: ChaCha8Rng,
}

impl Streams {
    fn new(seed: u64) -> Self {
        let stream = |number| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(number);
            rng
        };
        Self { loss: stream(1), duplicate: stream(2), corrupt: stream(3), reorder: stream(4), jitter: stream(5) }
    }
}

/// One trial; draws nothing where the outcome is certain.
fn happens(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    probability > 0.0 && (probability >= 1.0 || rng.random::<f64>() < probability)
}

impl DirectionModel {
    /// A direction with nothing on its way. Equal seeds treat equal frame sequences equally.
    #[must_use]
    pub fn new(spec: DirectionSpec, seed: u64) -> Self {
        Self {
            spec,
            random: Streams::new(seed),
            in_bad_state: false,
            since_reordered: 0,
            busy_until: Timestamp::ZERO,
            queue: BinaryHeap::new(),
            next_order: 0,
            counters: DirectionCounters::default(),
        }
    }

    /// What it does now.
    #[must_use]
    pub fn spec(&self) -> &DirectionSpec {
        &self.spec
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> &DirectionCounters {
        &self.counters
    }

    /// Frames on their way.
    #[must_use]
    pub fn held(&self) -> usize {
        self.queue.len()
    }

    /// Takes a frame that arrived at `now` (which may lie a little in the past: a kernel receive stamp).
    pub fn enqueue(&mut self, now: Timestamp, frame: &[u8], pool: &mut FramePool) {
        self.counters.received += 1;
        self.counters.received_bytes += frame.len() as u64;
        if self.spec.silent {
            self.counters.lost_silent += 1;
            return;
        }
        self.enqueue_copy(now, frame, pool);
        if happens(&mut self.random.duplicate, self.spec.duplicate) {
            self.counters.duplicated += 1;
            self.enqueue_copy(now, frame, pool);
        }
    }

    fn enqueue_copy(&mut self, now: Timestamp, frame: &[u8], pool: &mut FramePool) {
        if self.loses() {
            self.counters.lost += 1;
            return;
        }
        if self.queue.len() >= self.spec.limit_frames() {
            self.counters.lost_limit += 1;
            return;
        }
        let slot = pool.store(frame);
        if !frame.is_empty() && happens(&mut self.random.corrupt, self.spec.corrupt) {
            let bit = self.random.corrupt.random_range(0..frame.len() * 8);
            pool.frame_mut(slot)[bit / 8] ^= 1 << (bit % 8);
            self.counters.corrupted += 1;
        }
        let bits = frame.len() as u64 * 8;
        let serialised = now.max(self.busy_until) + self.serialisation(bits);
        self.busy_until = serialised;
        let hold = if self.overtakes() { Duration::ZERO } else { self.delay() };
        self.next_order += 1;
        let (at, order) = (serialised + hold, self.next_order);
        self.queue.push(Reverse(Pending { at, order, entered: now, serialised, bits, slot }));
    }

    /// Whether the loss model takes this frame.
    fn loses(&mut self) -> bool {
        let rng = &mut self.random.loss;
        match self.spec.loss {
            Loss::None => false,
            Loss::Random { probability } => happens(rng, probability),
            Loss::GilbertElliott { to_bad, to_good, bad_loss, good_loss } => {
                let change = if self.in_bad_state { to_good } else { to_bad };
                let loss = if self.in_bad_state { bad_loss } else { good_loss };
                let lost = happens(rng, loss);
                self.in_bad_state ^= happens(rng, change);
                lost
            }
        }
    }

    /// Whether this frame skips the delay: its turn has come (gap) and chance wills it, as netem decides.
    fn overtakes(&mut self) -> bool {
        let Some(reorder) = self.spec.reorder else { return false };
        let its_turn = self.since_reordered + 1 >= reorder.gap;
        if its_turn && happens(&mut self.random.reorder, reorder.probability) {
            self.since_reordered = 0;
            self.counters.reordered += 1;
            true
        } else {
            self.since_reordered = self.since_reordered.saturating_add(1);
            false
        }
    }

    fn delay(&mut self) -> Duration {
        if self.spec.jitter_ns == 0 {
            return Duration::from_nanos(self.spec.delay_ns);
        }
        let deviation = self.spec.distribution.deviation(self.random.jitter.next_u64(), self.spec.jitter_ns);
        Duration::from_nanos(self.spec.delay_ns.saturating_add_signed(deviation))
    }

    fn serialisation(&self, bits: u64) -> Duration {
        let Some(rate) = self.spec.rate_bps.filter(|&rate| rate > 0) else { return Duration::ZERO };
        let nanos = u128::from(bits) * 1_000_000_000 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When the next frame is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.peek().map(|Reverse(pending)| pending.at)
    }

    /// Takes the next frame that is due at `now`. The caller delivers it, says so with [`Self::delivered`] or
    /// [`Self::refused`], and gives the buffer back.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<Due> {
        if self.next_due()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(Pending { slot, entered, at, .. })| Due { slot, entered, at })
    }

    /// Counts the delivery of a frame of `bytes` at `now`.
    pub fn delivered(&mut self, due: Due, bytes: usize, now: Timestamp) {
        let counters = &mut self.counters;
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (delay_ns, late) = (nanos(now.since(due.entered)), now.since(due.at));
        let least = if counters.delivered == 0 { u64::MAX } else { counters.delay_min_ns };
        counters.delivered += 1;
        counters.delivered_bytes += bytes as u64;
        counters.delay_ns = counters.delay_ns.saturating_add(delay_ns);
        counters.delay_min_ns = least.min(delay_ns);
        counters.delay_max_ns = counters.delay_max_ns.max(delay_ns);
        counters.late_ns = counters.late_ns.saturating_add(nanos(late));
        counters.late_max_ns = counters.late_max_ns.max(nanos(late));
        counters.late_frames += u64::from(late > LATE);
    }

    /// Counts a frame that the far interface refused.
    pub fn refused(&mut self) {
        self.counters.lost_interface += 1;
    }

    /// Changes what is named. Frames on their way stay: those not yet serialised go on at the new rate, those already
    /// in flight keep their delivery time. A smaller limit only refuses new frames.
    pub fn change(&mut self, now: Timestamp, change: &DirectionChange) {
        let before = self.spec;
        self.spec = before.with(change);
        if self.spec.loss != before.loss {
            self.in_bad_state = false;
        }
        if self.spec.rate_bps != before.rate_bps {
            self.reserialise(now, before.rate_bps);
        }
    }

    /// Puts the waiting frames on the new rate, each keeping its own delay.
    fn reserialise(&mut self, now: Timestamp, old_rate: Option<u64>) {
        self.busy_until = now;
        let (mut waiting, in_flight): (Vec<_>, Vec<_>) =
            self.queue.drain().map(|Reverse(pending)| pending).partition(|pending| pending.serialised > now);
        waiting.sort_unstable_by_key(|pending| pending.order);
        for pending in &mut waiting {
            // The first of them is partly out: only the bits that are left meet the new rate.
            let left = pending.serialised.since(now).as_nanos() * u128::from(old_rate.unwrap_or(0)) / 1_000_000_000;
            let bits = u64::try_from(left).unwrap_or(u64::MAX).min(pending.bits);
            let hold = pending.at.since(pending.serialised);
            pending.serialised = self.busy_until + self.serialisation(bits);
            pending.at = pending.serialised + hold;
            self.busy_until = pending.serialised;
        }
        self.queue = in_flight.into_iter().chain(waiting).map(Reverse).collect();
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
