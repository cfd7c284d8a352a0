//! Estimators of delay, jitter, loss and bandwidth. Each takes samples with their time and keeps bounded state.

use core::time::Duration;
use std::collections::VecDeque;

use damc_wire::Timestamp;

/// Number of samples in the delay estimate.
const DELAY_WINDOW: usize = 16;
/// A step of the delay is accepted if two consecutive samples deviate by more than this share of the estimate …
const STEP_SHARE: u64 = 50;
/// … and by more than this, ns …
const STEP_FLOOR_NS: u64 = 100_000;
/// … and by more than this many times the jitter.
const STEP_JITTERS: u64 = 3;
/// Number of probes over which the loss rate is taken.
const LOSS_WINDOW: usize = 50;
/// Number of trains whose median is the bandwidth.
const TRAINS: usize = 3;
/// The first quarter of a train is not fitted: it may pass in the burst that a token bucket has saved up.
const TRAIN_SKIP_DIVISOR: u16 = 4;
/// Fewest packets through which a line is fitted.
const TRAIN_MIN_POINTS: usize = 5;
/// Bytes of an Ethernet II header: shapers count them, PDUs do not.
const ETHERNET_HEADER: u64 = 14;

/// The four stamps of one reflected probe, ns: sender's clock (`t1`, `t4`) and reflector's clock (`t2`, `t3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// Probe sent.
    pub t1: u64,
    /// Probe received.
    pub t2: u64,
    /// Reflection sent.
    pub t3: u64,
    /// Reflection received.
    pub t4: u64,
}

impl Stamps {
    /// Half the round trip without the time at the reflector, ns: ((t4 − t1) − (t3 − t2)) / 2 (RFC 8762, section 4).
    /// `None` for impossible stamps.
    #[must_use]
    pub fn two_way_delay(&self) -> Option<u64> {
        let round_trip = self.t4.checked_sub(self.t1)?;
        let held = self.t3.checked_sub(self.t2)?;
        Some(round_trip.checked_sub(held)? / 2)
    }

    /// Forward transit time on two unrelated clocks: only its differences have a meaning.
    fn forward_transit(&self) -> i128 {
        i128::from(self.t2) - i128::from(self.t1)
    }

    /// Backward transit time, likewise.
    fn backward_transit(&self) -> i128 {
        i128::from(self.t4) - i128::from(self.t3)
    }
}

/// Delay as the mean of the middle half of the last 16 samples; restarted when two consecutive samples show a step.
///
/// The middle half makes one late probe harmless. The restart lets the value follow a step within two probe periods
/// (QOS-08) instead of half a window.
#[derive(Clone, Debug, Default)]
pub struct DelayEstimator {
    samples: VecDeque<u64>,
}

impl DelayEstimator {
    /// Adds a sample; `jitter_ns` is the present jitter.
    pub fn push(&mut self, delay_ns: u64, jitter_ns: u64) {
        if self.is_step(delay_ns, jitter_ns) {
            let last = self.samples.pop_back();
            self.samples.clear();
            self.samples.extend(last);
        }
        if self.samples.len() == DELAY_WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(delay_ns);
    }

    /// Whether `new` and its predecessor both lie clearly on the same side of the samples before them.
    fn is_step(&self, new: u64, jitter_ns: u64) -> bool {
        let Some(&last) = self.samples.back() else { return false };
        let earlier = self.samples.iter().take(self.samples.len() - 1).copied().collect();
        let Some(base) = middle_mean(earlier) else { return false };
        let margin = (base / STEP_SHARE).max(STEP_FLOOR_NS).max(jitter_ns.saturating_mul(STEP_JITTERS));
        (new > base + margin && last > base + margin) || (new + margin < base && last + margin < base)
    }

    /// The delay, ns; `None` without a sample.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        middle_mean(self.samples.iter().copied().collect())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.samples.clear();
    }
}

/// Mean of the samples without the lowest and the highest quarter.
fn middle_mean(mut samples: Vec<u64>) -> Option<u64> {
    samples.sort_unstable();
    let cut = samples.len() / 4;
    let middle = &samples[cut..samples.len() - cut];
    let count = u128::try_from(middle.len()).ok().filter(|n| *n > 0)?;
    u64::try_from(middle.iter().map(|s| u128::from(*s)).sum::<u128>() / count).ok()
}

/// Interarrival jitter of one direction, RFC 3550 section 6.4.1: J += (|D| − J) / 16.
///
/// D is the change of the transit time between two consecutive probes, so the clocks at both ends need not agree.
#[derive(Clone, Debug, Default)]
pub struct Jitter {
    last_transit: Option<i128>,
    /// J × 16, as in the RFC's appendix A.8, so that integers lose no precision.
    scaled: u128,
    samples: u32,
}

impl Jitter {
    /// Adds a transit time, ns, on any pair of clocks.
    pub fn push(&mut self, transit_ns: i128) {
        if let Some(last) = self.last_transit.replace(transit_ns) {
            let d = (transit_ns - last).unsigned_abs();
            self.scaled = (self.scaled + d).saturating_sub((self.scaled + 8) >> 4);
            self.samples += 1;
        }
    }

    /// The jitter, ns; `None` before two samples.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        (self.samples > 0).then(|| u64::try_from(self.scaled >> 4).unwrap_or(u64::MAX))
    }

    /// Starts anew with the next sample and keeps the present value: D across a gap would measure the gap.
    pub fn interrupt(&mut self) {
        self.last_transit = None;
    }
}

/// Jitter in both directions of a path.
#[derive(Clone, Debug, Default)]
pub struct PathJitter {
    forward: Jitter,
    backward: Jitter,
}

impl PathJitter {
    /// Adds the stamps of a reflected probe.
    pub fn push(&mut self, stamps: &Stamps) {
        self.forward.push(stamps.forward_transit());
        self.backward.push(stamps.backward_transit());
    }

    /// Jitter towards the target, ns.
    #[must_use]
    pub fn forward(&self) -> Option<u64> {
        self.forward.value()
    }

    /// The larger jitter of both directions, ns.
    #[must_use]
    pub fn worse(&self) -> Option<u64> {
        self.forward.value().max(self.backward.value())
    }

    /// See [`Jitter::interrupt`].
    pub fn interrupt(&mut self) {
        self.forward.interrupt();
        self.backward.interrupt();
    }
}

/// Outcomes of the last 50 probes.
#[derive(Clone, Debug, Default)]
pub struct LossWindow {
    answered: VecDeque<bool>,
}

impl LossWindow {
    /// Adds an outcome.
    pub fn push(&mut self, answered: bool) {
        if self.answered.len() == LOSS_WINDOW {
            self.answered.pop_front();
        }
        self.answered.push_back(answered);
    }

    /// Lost probes in parts per million.
    #[must_use]
    pub fn ppm(&self) -> u32 {
        let lost = self.answered.iter().filter(|a| !**a).count();
        u32::try_from(lost * 1_000_000 / self.answered.len().max(1)).unwrap_or(1_000_000)
    }
}

/// A packet train in progress: packets of equal size sent back to back.
#[derive(Clone, Debug)]
pub struct Train {
    /// Time at which it was sent.
    pub sent_at: Timestamp,
    length: u16,
    /// (index, reflector's receive stamp), in order of index, each index once.
    arrivals: Vec<(u16, u64)>,
}

impl Train {
    /// A train of `length` packets sent at `sent_at`.
    #[must_use]
    pub fn new(sent_at: Timestamp, length: u16) -> Self {
        Self { sent_at, length, arrivals: Vec::with_capacity(usize::from(length)) }
    }

    /// Adds the receive stamp of one packet; a second one of the same index is ignored.
    pub fn push(&mut self, index: u16, t2: u64) {
        if index < self.length
            && let Err(at) = self.arrivals.binary_search_by_key(&index, |(i, _)| *i)
        {
            self.arrivals.insert(at, (index, t2));
        }
    }

    /// Whether every packet came back.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.arrivals.len() == usize::from(self.length)
    }

    /// Bandwidth in bit/s for packets of `pdu_bytes`: packet size over the slope of the least-squares line through
    /// (index, receive time). Reordered packets lie off the line, but at their index. Lost packets leave gaps that do
    /// not bend it. `None` if too few arrived, or if jitter outweighs the dispersion so that the line does not rise.
    #[must_use]
    pub fn bandwidth(&self, pdu_bytes: u16) -> Option<u64> {
        let skip = self.length / TRAIN_SKIP_DIVISOR;
        let points: Vec<(u16, u64)> = self.arrivals.iter().copied().filter(|(i, _)| *i >= skip).collect();
        if points.len() < TRAIN_MIN_POINTS.max(usize::from(self.length) / 4) {
            return None;
        }
        let (rise, run) = slope(&points)?;
        let bits = (u64::from(pdu_bytes) + ETHERNET_HEADER) * 8;
        u64::try_from(u128::from(bits) * 1_000_000_000 * run / rise).ok()
    }
}

/// Least-squares slope as a fraction (ns, packets), in exact integer arithmetic; `None` unless it rises.
fn slope(points: &[(u16, u64)]) -> Option<(u128, u128)> {
    let n = i128::try_from(points.len()).ok()?;
    let origin = points.iter().map(|(_, t)| *t).min()?;
    let (mut sx, mut sy, mut sxx, mut sxy) = (0_i128, 0_i128, 0_i128, 0_i128);
    for &(index, t) in points {
        let (x, y) = (i128::from(index), i128::from(t - origin));
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
    }
    let rise = u128::try_from(n * sxy - sx * sy).ok().filter(|r| *r > 0)?;
    let run = u128::try_from(n * sxx - sx * sx).ok().filter(|r| *r > 0)?;
    Some((rise, run))
}

/// Bandwidth as the median of the last three trains.
#[derive(Clone, Debug, Default)]
pub struct Bandwidth {
    trains: VecDeque<u64>,
}

impl Bandwidth {
    /// Adds the result of a train, bit/s.
    pub fn push(&mut self, bps: u64) {
        if self.trains.len() == TRAINS {
            self.trains.pop_front();
        }
        self.trains.push_back(bps);
    }

    /// The bandwidth, bit/s; of two trains the lower one.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        let mut sorted: Vec<u64> = self.trains.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len().checked_sub(1)? / 2).copied()
    }
}

/// Least interval between trains of this kind, so that they use at most a twentieth of the path's capacity.
#[must_use]
pub fn train_budget(length: u16, pdu_bytes: u16, bandwidth_bps: Option<u64>) -> Duration {
    const SHARE: u64 = 20;
    let bits = (u64::from(pdu_bytes) + ETHERNET_HEADER) * 8 * u64::from(length);
    let ns = u128::from(bits * SHARE) * 1_000_000_000 / u128::from(bandwidth_bps.unwrap_or(u64::MAX).max(1));
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Deterministic noise in 0..bound.
    struct Noise(u64);
    impl Noise {
        fn next(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    #[test]
    fn qos_05_delay_is_half_the_round_trip_without_the_holding_time() {
        let s = Stamps { t1: 1000, t2: 900_000, t3: 905_000, t4: 47_000 };
        assert_eq!(s.two_way_delay(), Some((46_000 - 5_000) / 2));
        assert_eq!(Stamps { t4: 999, ..s }.two_way_delay(), None, "came back before it left");
        assert_eq!(Stamps { t3: 899_999, ..s }.two_way_delay(), None, "left the reflector before it came");
        assert_eq!(Stamps { t3: 1_000_000, ..s }.two_way_delay(), None, "held longer than it was away");
    }

    #[test]
    fn qos_08_a_step_shows_after_two_samples_and_one_late_probe_does_not() {
        let mut d = DelayEstimator::default();
        for _ in 0..16 {
            d.push(5 * MS, 0);
        }
        d.push(300 * MS, 0);
        assert_eq!(d.value(), Some(5 * MS), "one outlier is no step");
        d.push(5 * MS, 0);
        assert_eq!(d.value(), Some(5 * MS));
        d.push(50 * MS, 0);
        d.push(50 * MS, 3 * MS);
        assert_eq!(d.value(), Some(50 * MS));
        d.push(5 * MS, 3 * MS);
        d.push(5 * MS, 3 * MS);
        assert_eq!(d.value(), Some(5 * MS), "and back");
    }

    #[test]
    fn qos_05_delay_under_jitter_is_within_two_percent() {
        let (mut d, mut j, mut noise) = (DelayEstimator::default(), Jitter::default(), Noise(7));
        let mut within = 0;
        for i in 0..1032 {
            let sample = 20 * MS + noise.next(2 * MS);
            j.push(i128::from(sample));
            d.push(sample, j.value().unwrap_or(0));
            within += u32::from(i >= 32 && d.value().unwrap().abs_diff(21 * MS) < 21 * MS / 50);
        }
        assert!(within > 950, "{within} of 1000");
    }

    #[test]
    fn qos_05_jitter_follows_rfc_3550() {
        let mut j = Jitter::default();
        assert_eq!(j.value(), None);
        j.push(0);
        assert_eq!(j.value(), None, "one transit time has no jitter");
        j.push(1600);
        assert_eq!(j.value(), Some(100), "J = 0 + (1600 - 0) / 16");
        j.push(1600);
        assert_eq!(j.value(), Some(93), "J = 100 + (0 - 100) / 16, rounded down");
        j.interrupt();
        j.push(1_000_000);
        assert_eq!(j.value(), Some(93), "no difference across a gap");
    }

    #[test]
    fn qos_05_jitter_of_uniform_noise_is_a_third_of_its_width() {
        let (mut j, mut noise, mut sum) = (Jitter::default(), Noise(1), 0);
        for i in 0..2064 {
            j.push(i128::from(noise.next(9 * MS)));
            if i >= 64 {
                sum += j.value().unwrap();
            }
        }
        assert!((sum / 2000).abs_diff(3 * MS) < 150_000, "mean J {}", sum / 2000);
    }

    #[test]
    fn jitter_tells_the_directions_apart() {
        let mut j = PathJitter::default();
        for i in 0..200_u64 {
            let back = if i % 2 == 0 { 0 } else { 4 * MS };
            j.push(&Stamps { t1: 0, t2: 10 * MS, t3: 10 * MS, t4: 20 * MS + back });
        }
        assert_eq!(j.forward(), Some(0));
        assert!(j.worse().unwrap() > 3 * MS);
    }

    #[test]
    fn loss_is_counted_over_the_window_only() {
        let mut w = LossWindow::default();
        assert_eq!(w.ppm(), 0);
        for i in 0..50 {
            w.push(i % 5 != 0);
        }
        assert_eq!(w.ppm(), 200_000);
        for _ in 0..50 {
            w.push(true);
        }
        assert_eq!(w.ppm(), 0);
    }

    fn train(rate_bps: u64, burst: u16, jitter: u64, seed: u64, lost: &[u16]) -> Train {
        let mut t = Train::new(Timestamp::ZERO, 32);
        let mut noise = Noise(seed);
        let gap = 1214 * 8 * 1_000_000_000 / rate_bps;
        for i in (0..32_u16).filter(|i| !lost.contains(i)) {
            let queued = u64::from(i.saturating_sub(burst)) * gap;
            t.push(i, 77 * MS + queued + if jitter > 0 { noise.next(jitter) } else { 0 });
        }
        t
    }

    #[test]
    fn qos_05_a_train_measures_the_bottleneck() {
        for rate in [1_000_000, 10_000_000, 50_000_000, 1_000_000_000] {
            let got = train(rate, 0, 0, 0, &[]).bandwidth(1200).unwrap();
            assert!(got.abs_diff(rate) <= rate / 100, "{got} for {rate}");
        }
    }

    #[test]
    fn qos_05_a_train_survives_token_bucket_bursts_loss_reordering_and_jitter() {
        let rate = 50_000_000;
        let within = |got: Option<u64>, percent: u64| got.unwrap().abs_diff(rate) <= rate * percent / 100;
        assert!(within(train(rate, 8, 0, 0, &[]).bandwidth(1200), 1), "a saved-up burst of 8 packets");
        assert!(within(train(rate, 0, 0, 0, &[3, 9, 10, 11, 17, 31]).bandwidth(1200), 1), "loss");
        // Jitter of five packet times reorders most of the train; the median of three trains is still near.
        let mut b = Bandwidth::default();
        for seed in 1..4 {
            b.push(train(rate, 0, 1_000_000, seed, &[5, 20]).bandwidth(1200).unwrap());
        }
        assert!(within(b.value(), 10), "{:?}", b.value());
    }

    #[test]
    fn a_train_without_a_rising_line_measures_nothing() {
        let mut t = Train::new(Timestamp::ZERO, 32);
        for i in 0..32 {
            t.push(i, 5);
        }
        assert_eq!(t.bandwidth(1200), None, "all at one instant");
        let mut few = Train::new(Timestamp::ZERO, 32);
        for i in 24..31 {
            few.push(i, u64::from(i));
        }
        assert_eq!(few.bandwidth(1200), None, "less than a quarter arrived");
        few.push(24, 900);
        few.push(40, 1);
        assert!(!few.is_complete(), "duplicates and impossible indices count for nothing");
    }

    #[test]
    fn bandwidth_is_the_median_of_three_trains() {
        let mut b = Bandwidth::default();
        assert_eq!(b.value(), None);
        b.push(100);
        b.push(10);
        assert_eq!(b.value(), Some(10));
        b.push(50);
        assert_eq!(b.value(), Some(50));
        b.push(60);
        assert_eq!(b.value(), Some(50), "10, 50, 60");
    }

    #[test]
    fn gap_17_trains_take_at_most_a_twentieth() {
        assert_eq!(train_budget(32, 1236, Some(6_400_000)), Duration::from_secs(1));
        assert!(train_budget(32, 1200, None) < Duration::from_millis(1));
    }
}
