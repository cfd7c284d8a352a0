//! What is asked of the link, step by step, and how a train becomes a measurement.

use std::collections::HashSet;
use std::time::Duration;

use damc_impair::{DirectionSpec, Distribution, Loss, Reorder};

use super::statistics::{Sample, binomial_interval, correlated_interval, slope};
use super::train::{Train, TrainSpec};
use super::{Depth, Interval, Measurement, Property, Tolerance};

/// One step: a spec, a train, and what to read from it.
pub(super) struct Step {
    pub spec: DirectionSpec,
    pub train: TrainSpec,
    read: Read,
}

/// What to read from a train.
#[derive(Clone, Copy)]
enum Read {
    Base,
    Delay,
    Jitter { sigma_ms: f64 },
    Loss,
    Bursts,
    Rate,
    Duplicate,
    Corrupt,
    Reorder,
}

const MS: u64 = 1_000_000;
/// Length of frames where length does not matter.
const SHORT_FRAME: usize = 100;
/// Length of frames where it does.
const LONG_FRAME: usize = 1_000;

/// The steps of a depth.
pub(super) fn steps(depth: Depth) -> Vec<Step> {
    if depth == Depth::Grid {
        return grid();
    }
    let long = depth == Depth::Long;
    let n = |short, long_count| if long { long_count } else { short };
    let uniform_sigma = |jitter_ms: f64| jitter_ms / 3.0_f64.sqrt();
    let mut steps = vec![
        step(DirectionSpec::default(), Read::Base, paced(n(100, 1_000), 700)),
        step(delay(10, 0), Read::Delay, paced(n(150, 1_000), 1_000)),
        step(delay(10, 2), Read::Jitter { sigma_ms: uniform_sigma(2.0) }, paced(n(300, 2_000), 500)),
        step(loss(Loss::Random { probability: 0.1 }), Read::Loss, flood(n(5_000, 20_000), long)),
        rated(20_000_000, n(200, 400)),
    ];
    if long {
        let normal = DirectionSpec { distribution: Distribution::Normal, ..delay(20, 2) };
        let reorder = Some(Reorder { probability: 0.25, gap: 1 });
        let bursts = Loss::GilbertElliott { to_bad: 0.02, to_good: 0.25, bad_loss: 1.0, good_loss: 0.0 };
        steps.extend([
            step(delay(1, 0), Read::Delay, paced(1_000, 1_000)),
            step(delay(50, 0), Read::Delay, paced(500, 1_000)),
            step(normal, Read::Jitter { sigma_ms: 2.0 }, paced(2_000, 500)),
            step(loss(Loss::Random { probability: 0.01 }), Read::Loss, flood(20_000, long)),
            step(loss(bursts), Read::Bursts, flood(20_000, long)),
            rated(5_000_000, 150),
            rated(50_000_000, 750),
            step(DirectionSpec { duplicate: 0.1, ..DirectionSpec::default() }, Read::Duplicate, flood(5_000, long)),
            step(DirectionSpec { corrupt: 0.1, ..DirectionSpec::default() }, Read::Corrupt, flood(5_000, long)),
            step(DirectionSpec { reorder, ..delay(5, 0) }, Read::Reorder, paced(2_000, 200)),
        ]);
    }
    steps
}

/// Thirty specs over every property a link has.
fn grid() -> Vec<Step> {
    let slow = |ms: u64| step(delay(ms, 0), Read::Delay, paced(400, 1_000));
    let jittery = |ms, jitter_ms, distribution, sigma: f64| {
        let spec = DirectionSpec { distribution, ..delay(ms, jitter_ms) };
        step(spec, Read::Jitter { sigma_ms: sigma * jitter_ms as f64 }, paced(1_500, 500))
    };
    let lossy = |probability| step(loss(Loss::Random { probability }), Read::Loss, flood(4_000, true));
    let bursty = |to_bad, to_good, bad_loss, good_loss| {
        step(loss(Loss::GilbertElliott { to_bad, to_good, bad_loss, good_loss }), Read::Bursts, flood(6_000, true))
    };
    let doubling =
        |duplicate| step(DirectionSpec { duplicate, ..DirectionSpec::default() }, Read::Duplicate, flood(3_000, true));
    let damaging =
        |corrupt| step(DirectionSpec { corrupt, ..DirectionSpec::default() }, Read::Corrupt, flood(3_000, true));
    let overtaking = |ms, probability, gap| {
        let reorder = Some(Reorder { probability, gap });
        step(DirectionSpec { reorder, ..delay(ms, 0) }, Read::Reorder, paced(1_500, 300))
    };
    let uniform = 1.0 / 3.0_f64.sqrt();
    let lossy_and_slow = DirectionSpec { loss: Loss::Random { probability: 0.05 }, ..delay(10, 0) };
    let doubling_and_slow = DirectionSpec { duplicate: 0.05, ..delay(5, 0) };
    let rated_and_slow = DirectionSpec { rate_bps: Some(10_000_000), ..delay(20, 0) };
    vec![
        step(DirectionSpec::default(), Read::Base, paced(400, 1_000)),
        slow(1),
        slow(5),
        slow(10),
        slow(50),
        slow(100),
        jittery(10, 1, Distribution::Uniform, uniform),
        jittery(10, 2, Distribution::Uniform, uniform),
        jittery(10, 2, Distribution::Normal, 1.0),
        jittery(20, 4, Distribution::Normal, 1.0),
        jittery(10, 2, Distribution::Pareto, Distribution::Pareto.deviation_of_table()),
        jittery(10, 2, Distribution::ParetoNormal, Distribution::ParetoNormal.deviation_of_table()),
        jittery(10, 2, Distribution::Uniform, uniform),
        lossy(0.005),
        lossy(0.01),
        lossy(0.1),
        lossy(0.3),
        bursty(0.02, 0.25, 1.0, 0.0),
        bursty(0.05, 0.5, 1.0, 0.0),
        doubling(0.01),
        doubling(0.1),
        damaging(0.02),
        damaging(0.2),
        overtaking(5, 0.25, 1),
        overtaking(10, 0.5, 5),
        // No more than a guest on a busy host can carry in frames of this length.
        rated(1_000_000, 60),
        rated(2_000_000, 100),
        rated(10_000_000, 200),
        step(lossy_and_slow, Read::Loss, flood(4_000, true)),
        step(doubling_and_slow, Read::Duplicate, flood(3_000, true)),
        Step { spec: rated_and_slow, ..rated(10_000_000, 200) },
    ]
}

fn step(spec: DirectionSpec, read: Read, mut train: TrainSpec) -> Step {
    train.settle += Duration::from_nanos(spec.delay_ns + 4 * spec.jitter_ns);
    Step { spec, train, read }
}

fn delay(ms: u64, jitter_ms: u64) -> DirectionSpec {
    DirectionSpec { delay_ns: ms * MS, jitter_ns: jitter_ms * MS, ..DirectionSpec::default() }
}

fn loss(loss: Loss) -> DirectionSpec {
    DirectionSpec { loss, ..DirectionSpec::default() }
}

/// Long frames, eight times as fast as the rate carries them.
fn rated(rate: u64, count: u64) -> Step {
    let gap = Duration::from_nanos(LONG_FRAME as u64 * 8 * 1_000_000_000 / rate / 8);
    let spec = DirectionSpec { rate_bps: Some(rate), ..DirectionSpec::default() };
    step(spec, Read::Rate, TrainSpec { gap, length: LONG_FRAME, ..paced(count, 0) })
}

/// Frames at a steady pace.
fn paced(count: u64, gap_us: u64) -> TrainSpec {
    let (gap, settle) = (Duration::from_micros(gap_us), Duration::from_millis(15));
    TrainSpec { count, gap, length: SHORT_FRAME, at_most: Duration::from_secs(3), settle }
}

/// Many frames, with a breath between them so that no buffer on the way overflows.
fn flood(count: u64, long: bool) -> TrainSpec {
    let at_most = Duration::from_millis(if long { 2_000 } else { 300 });
    TrainSpec { gap: Duration::from_micros(20), at_most, ..paced(count, 0) }
}

impl Step {
    /// What the train says.
    pub(super) fn measure(&self, train: &Train, tolerance: &Tolerance) -> Vec<Measurement> {
        let measured = self.read_from(train, tolerance);
        measured.into_iter().map(|measurement| Measurement { spec: self.spec, ..measurement }).collect()
    }

    fn read_from(&self, train: &Train, tolerance: &Tolerance) -> Vec<Measurement> {
        match self.read {
            Read::Base => vec![self.delays(Property::Base, train, tolerance)],
            Read::Delay => vec![self.delays(Property::Delay, train, tolerance)],
            Read::Jitter { sigma_ms } => vec![jitter(sigma_ms, train, tolerance)],
            Read::Loss => {
                let lost = train.sent.saturating_sub(train.arrivals.len() as u64);
                vec![share(Property::Loss, self.spec.loss.expected(), lost, train.sent)]
            }
            Read::Bursts => self.bursts(train),
            Read::Rate => vec![self.rate(train, tolerance)],
            Read::Duplicate => {
                let distinct = train.arrivals.iter().map(|a| a.number).collect::<HashSet<_>>().len();
                let doubled = train.arrivals.len() - distinct;
                vec![share(Property::Duplicate, self.spec.duplicate, doubled as u64, train.sent)]
            }
            Read::Corrupt => {
                let damaged = train.arrivals.iter().filter(|a| !a.intact).count();
                vec![share(Property::Corrupt, self.spec.corrupt, damaged as u64, train.arrivals.len() as u64)]
            }
            Read::Reorder => {
                let half = self.spec.delay_ns as f64 / MS as f64 / 2.0;
                let early = train.arrivals.iter().filter(|a| a.delay_ms < half).count();
                // Frames until one overtakes: the rest of the gap, then as many as it takes until chance wills it.
                let asked =
                    self.spec.reorder.map_or(0.0, |r| 1.0 / (f64::from(r.gap.max(1)) - 1.0 + 1.0 / r.probability));
                vec![share(Property::Reorder, asked, early as u64, train.arrivals.len() as u64)]
            }
        }
    }

    fn delays(&self, property: Property, train: &Train, tolerance: &Tolerance) -> Measurement {
        let sample = Sample::new(train.prompt().map(|a| a.delay_ms));
        let asked = self.spec.delay_ns as f64 / MS as f64;
        let (measured, p99) = (sample.mean(), sample.quantile(0.99));
        let within = (measured - asked).abs() <= tolerance.delay_ms
            && p99.is_some_and(|p99| (p99 - asked).abs() <= tolerance.delay_p99_ms)
            && train.arrivals.len() as u64 == train.sent;
        let (interval, samples, p50) = (sample.interval(), sample.len(), sample.quantile(0.5));
        let rfc3550_ms = interarrival_jitter(train);
        Measurement { interval, samples, p50, p99, within, rfc3550_ms, ..blank(property, asked, measured) }
    }

    /// Share and mean length of bursts. The share's interval is widened by the correlation of the two-state chain.
    fn bursts(&self, train: &Train) -> Vec<Measurement> {
        let Loss::GilbertElliott { to_bad, to_good, .. } = self.spec.loss else { return Vec::new() };
        let lost = train.sent.saturating_sub(train.arrivals.len() as u64);
        let memory = 1.0 - to_bad - to_good;
        let inflation = (1.0 + memory) / (1.0 - memory);
        let mut shares = share(Property::BurstLoss, self.spec.loss.expected(), lost, train.sent);
        shares.interval = correlated_interval(lost, train.sent, inflation);
        shares.within = shares.interval.contains(shares.asked);
        let gaps =
            train.arrivals.windows(2).map(|w| w[1].number.saturating_sub(w[0].number + 1)).filter(|&gap| gap > 0);
        let lengths = Sample::new(gaps.map(|gap| gap as f64));
        let (asked, measured) = (1.0 / to_good, lengths.mean());
        // Lengths are geometric: their deviation is about their mean.
        let interval = Interval::around(measured, 2.576 * measured / (lengths.len() as f64).sqrt());
        let within = interval.contains(asked);
        let samples = lengths.len();
        let (p50, p99) = (lengths.quantile(0.5), lengths.quantile(0.99));
        let length = blank(Property::BurstLength, asked, measured);
        vec![shares, Measurement { interval, samples, p50, p99, within, ..length }]
    }

    /// The slope of arrival times over frames. The first quarter is left out: it arrives while the train is still being
    /// sent, and a sender held up would leave the link idle there.
    fn rate(&self, train: &Train, tolerance: &Tolerance) -> Measurement {
        let asked = self.spec.rate_bps.unwrap_or(0) as f64;
        let bits = (self.train.length * 8) as f64;
        let steady = &train.arrivals[train.arrivals.len() / 4..];
        let first = steady.first().map_or(0, |a| a.at);
        let (seconds, error) = slope(steady.iter().map(|a| a.at.saturating_sub(first) as f64 / 1e9));
        let measured = bits / seconds;
        let interval = Interval::around(measured, 1.96 * measured * error / seconds);
        let within = (measured / asked - 1.0).abs() <= tolerance.rate && train.arrivals.len() as u64 == train.sent;
        let samples = train.arrivals.len() as u64;
        Measurement { interval, samples, within, ..blank(Property::Rate, asked, measured) }
    }
}

/// The standard deviation of the delays. Its own interval is that of a normal sample, which is wide enough for all.
fn jitter(asked: f64, train: &Train, tolerance: &Tolerance) -> Measurement {
    let sample = Sample::new(train.prompt().map(|a| a.delay_ms));
    let measured = sample.deviation();
    let interval = Interval::around(measured, 1.96 * measured / (2.0 * sample.len() as f64).sqrt());
    let within = (measured / asked - 1.0).abs() <= tolerance.jitter;
    let (samples, p50, p99) = (sample.len(), sample.quantile(0.5), sample.quantile(0.99));
    let rfc3550_ms = interarrival_jitter(train);
    Measurement { interval, samples, p50, p99, within, rfc3550_ms, ..blank(Property::Jitter, asked, measured) }
}

fn share(property: Property, asked: f64, hits: u64, trials: u64) -> Measurement {
    let interval = binomial_interval(hits, trials);
    let measured = hits as f64 / trials.max(1) as f64;
    let within = trials > 0 && interval.contains(asked);
    Measurement { interval, samples: trials, within, ..blank(property, asked, measured) }
}

/// Mean of |D(i−1, i)|, RFC 3550 section 6.4.1, in the order of arrival.
fn interarrival_jitter(train: &Train) -> Option<f64> {
    let transits: Vec<f64> = train.prompt().map(|arrival| arrival.delay_ms).collect();
    let pairs = transits.len().checked_sub(1).filter(|&pairs| pairs > 0)?;
    Some(transits.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum::<f64>() / pairs as f64)
}

fn blank(property: Property, asked: f64, measured: f64) -> Measurement {
    Measurement {
        spec: DirectionSpec::default(),
        property,
        asked,
        measured,
        interval: Interval { low: measured, high: measured },
        samples: 0,
        p50: None,
        p99: None,
        rfc3550_ms: None,
        within: false,
    }
}
