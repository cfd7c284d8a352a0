//! The link model in virtual time: every property against its definition, within intervals that a right model leaves
//! once in ten thousand seeds, under fixed seeds.

use proptest::prelude::*;

use super::*;
use crate::{Distribution, Reorder};

const MS: u64 = 1_000_000;

/// What came out of a model: (arrival, delivery, first bytes as number).
struct Run {
    model: DirectionModel,
    out: Vec<(u64, u64, u64)>,
}

/// Offers `count` frames of `len` bytes, one every `gap_ns`, and lets all of them out.
fn run(spec: DirectionSpec, seed: u64, count: u64, len: usize, gap_ns: u64) -> Run {
    let mut model = DirectionModel::new(spec, seed);
    let mut pool = FramePool::default();
    let mut out = Vec::new();
    let mut frame = vec![0_u8; len.max(8)];
    for number in 0..count {
        let now = Timestamp(number * gap_ns);
        drain(&mut model, &mut pool, now, gap_ns, &mut out);
        frame[..8].copy_from_slice(&number.to_be_bytes());
        model.enqueue(now, &frame, &mut pool);
    }
    drain(&mut model, &mut pool, Timestamp::FAR_FUTURE, gap_ns, &mut out);
    assert_eq!(pool.in_use(), 0, "every buffer came back");
    Run { model, out }
}

fn drain(model: &mut DirectionModel, pool: &mut FramePool, now: Timestamp, gap: u64, out: &mut Vec<(u64, u64, u64)>) {
    while let Some(due) = model.pop_due(now) {
        let frame = pool.frame(due.slot);
        let number = u64::from_be_bytes(frame[..8].try_into().expect("eight bytes"));
        model.delivered(due, frame.len(), due.at);
        out.push((number.saturating_mul(gap), due.at.nanos(), number));
        pool.release(due.slot);
    }
}

/// Whether `hits` of `n` lie within four sigma of probability `p`.
fn plausible(hits: u64, n: u64, p: f64) -> bool {
    let (hits, n) = (hits as f64, n as f64);
    (hits - n * p).abs() <= 4.0 * (n * p * (1.0 - p)).sqrt()
}

#[test]
fn a_perfect_wire_delivers_everything_at_once_and_in_order() {
    let run = run(DirectionSpec::default(), 1, 1_000, 100, 1_000);
    assert_eq!(run.out.len(), 1_000);
    assert!(run.out.iter().enumerate().all(|(i, &(sent, got, n))| sent == got && n == i as u64));
    assert_eq!(run.model.counters().delivered_bytes, 100_000);
}

#[test]
fn delays_and_lateness_are_counted_at_delivery() {
    let mut pool = FramePool::default();
    let mut model = DirectionModel::new(DirectionSpec { delay_ns: 5 * MS, ..DirectionSpec::default() }, 1);
    for (sent, delivered) in [(0, 5 * MS), (MS, 7 * MS), (9 * MS, 15 * MS)] {
        model.enqueue(Timestamp(sent), &[0; 60], &mut pool);
        let due = model.pop_due(Timestamp(delivered)).expect("it is due");
        model.delivered(due, 60, Timestamp(delivered));
    }
    let counters = model.counters();
    assert_eq!((counters.delay_min_ns, counters.delay_max_ns, counters.delay_ns), (5 * MS, 6 * MS, 17 * MS));
    assert_eq!((counters.late_ns, counters.late_max_ns, counters.late_frames), (2 * MS, MS, 2));
}

#[test]
fn a_plain_delay_is_exact() {
    let run = run(DirectionSpec { delay_ns: 5 * MS, ..DirectionSpec::default() }, 1, 1_000, 100, MS / 10);
    assert!(run.out.iter().all(|&(sent, got, _)| got - sent == 5 * MS));
}

#[test]
fn jitter_keeps_the_mean_and_has_the_deviation_of_its_distribution() {
    for (distribution, sigma_of_jitter) in [(Distribution::Uniform, 1.0 / 3.0_f64.sqrt()), (Distribution::Normal, 1.0)]
    {
        let spec = DirectionSpec { delay_ns: 20 * MS, jitter_ns: 2 * MS, distribution, ..DirectionSpec::default() };
        let run = run(spec, 7, 20_000, 60, MS);
        let n = run.out.len() as f64;
        let delays: Vec<f64> = run.out.iter().map(|&(sent, got, _)| (got - sent) as f64 / MS as f64).collect();
        let mean = delays.iter().sum::<f64>() / n;
        let sigma = (delays.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!((mean - 20.0).abs() < 0.06, "{distribution:?} mean {mean}");
        assert!((sigma - 2.0 * sigma_of_jitter).abs() < 0.05, "{distribution:?} sigma {sigma}");
    }
}

#[test]
fn jitter_reorders_and_delivers_in_the_order_of_delivery_times() {
    let spec = DirectionSpec { delay_ns: 10 * MS, jitter_ns: 5 * MS, ..DirectionSpec::default() };
    let run = run(spec, 3, 1_000, 60, MS / 10);
    assert!(run.out.windows(2).all(|w| w[0].1 <= w[1].1), "delivery times ascend");
    assert!(run.out.windows(2).any(|w| w[0].2 > w[1].2), "numbers do not");
}

#[test]
fn random_loss_lies_in_its_binomial_interval() {
    for probability in [0.001, 0.01, 0.1, 0.5] {
        let spec = DirectionSpec { loss: Loss::Random { probability }, ..DirectionSpec::default() };
        let run = run(spec, 11, 50_000, 60, 1_000);
        let lost = run.model.counters().lost;
        assert!(plausible(lost, 50_000, probability), "lost {lost} at {probability}");
        assert_eq!(run.out.len() as u64 + lost, 50_000);
    }
}

#[test]
fn loss_of_zero_and_one_are_certain() {
    for (probability, delivered) in [(0.0, 1_000), (1.0, 0)] {
        let spec = DirectionSpec { loss: Loss::Random { probability }, ..DirectionSpec::default() };
        assert_eq!(run(spec, 1, 1_000, 60, 1_000).out.len(), delivered);
    }
}

#[test]
fn gilbert_elliott_loses_in_bursts_of_the_right_length_and_share() {
    let loss = Loss::GilbertElliott { to_bad: 0.02, to_good: 0.25, bad_loss: 1.0, good_loss: 0.0 };
    let run = run(DirectionSpec { loss, ..DirectionSpec::default() }, 5, 100_000, 60, 1_000);
    let lost = run.model.counters().lost as f64;
    assert!((lost / 100_000.0 - loss.expected()).abs() < 0.006, "share {}", lost / 100_000.0);
    let bursts = run.out.windows(2).filter(|w| w[1].2 - w[0].2 > 1).count() as f64;
    let mean_burst = lost / bursts;
    assert!((mean_burst - 4.0).abs() < 0.3, "mean burst {mean_burst}, 1/to_good is 4");
}

#[test]
fn duplicates_and_flipped_bits_come_at_their_rates() {
    let spec = DirectionSpec { duplicate: 0.1, corrupt: 0.05, ..DirectionSpec::default() };
    let run = run(spec, 9, 20_000, 200, 1_000);
    let counters = run.model.counters();
    assert!(plausible(counters.duplicated, 20_000, 0.1), "duplicated {}", counters.duplicated);
    assert!(plausible(counters.corrupted, 20_000 + counters.duplicated, 0.05), "corrupted {}", counters.corrupted);
    assert_eq!(counters.delivered, 20_000 + counters.duplicated);
}

#[test]
fn corruption_flips_exactly_one_bit() {
    let mut pool = FramePool::default();
    let mut model = DirectionModel::new(DirectionSpec { corrupt: 1.0, ..DirectionSpec::default() }, 4);
    let frame = [0x5a_u8; 64];
    for _ in 0..200 {
        model.enqueue(Timestamp(1), &frame, &mut pool);
        let due = model.pop_due(Timestamp(1)).expect("due at once");
        let flipped: u32 = pool.frame(due.slot).iter().zip(&frame).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(flipped, 1);
        pool.release(due.slot);
    }
}

#[test]
fn reordered_frames_skip_the_delay_every_gap() {
    let reorder = Some(Reorder { probability: 1.0, gap: 5 });
    let spec = DirectionSpec { delay_ns: 10 * MS, reorder, ..DirectionSpec::default() };
    let run = run(spec, 2, 100, 60, MS);
    assert_eq!(run.model.counters().reordered, 20, "every fifth");
    for &(sent, got, number) in &run.out {
        let expected = if number % 5 == 4 { 0 } else { 10 * MS };
        assert_eq!(got - sent, expected, "frame {number}");
    }
    let spec = DirectionSpec { reorder: Some(Reorder { probability: 0.25, gap: 1 }), ..spec };
    let reordered = self::run(spec, 2, 20_000, 60, MS).model.counters().reordered;
    assert!(plausible(reordered, 20_000, 0.25), "reordered {reordered}");
}

#[test]
fn the_rate_counts_whole_frames_and_the_limit_drops_the_tail() {
    // 10 Mbit/s, frames of 1000 bytes every 0.4 ms: 0.8 ms each, half of them too many.
    let spec = DirectionSpec { rate_bps: Some(10_000_000), limit: Some(50), ..DirectionSpec::default() };
    let run = run(spec, 2, 10_000, 1_000, 4 * MS / 10);
    let (first, last) = (run.out[0], run.out[run.out.len() - 1]);
    assert_eq!(first.1, 8 * MS / 10, "the first frame is out after its serialisation");
    let rate = (run.out.len() - 1) as f64 * 8_000.0 / ((last.1 - first.1) as f64 / 1e9);
    assert!((rate - 1e7).abs() < 1e4, "rate {rate}");
    assert!(run.model.counters().lost_limit > 4_000);
    assert!(run.out.iter().all(|&(sent, got, _)| got - sent <= 50 * 8 * MS / 10), "50 frames wait at most");
}

#[test]
fn a_silent_direction_loses_everything_and_returns_unchanged() {
    let mut pool = FramePool::default();
    let mut model = DirectionModel::new(DirectionSpec { delay_ns: MS, ..DirectionSpec::default() }, 4);
    model.enqueue(Timestamp(0), &[0; 60], &mut pool);
    model.change(Timestamp(1), &DirectionChange { silent: Some(true), ..DirectionChange::default() });
    model.enqueue(Timestamp(2), &[0; 60], &mut pool);
    assert_eq!(model.held(), 1, "what was on its way stays on its way");
    assert_eq!(model.counters().lost_silent, 1);
    model.change(Timestamp(3), &DirectionChange { silent: Some(false), ..DirectionChange::default() });
    model.enqueue(Timestamp(4), &[0; 60], &mut pool);
    assert_eq!((model.held(), model.spec().delay_ns), (2, MS));
}

#[test]
fn a_new_rate_carries_the_waiting_frames_on() {
    let mut pool = FramePool::default();
    let spec = DirectionSpec { rate_bps: Some(1_000_000), delay_ns: 3 * MS, ..DirectionSpec::default() };
    let mut model = DirectionModel::new(spec, 1);
    for _ in 0..3 {
        model.enqueue(Timestamp(0), &[0; 125], &mut pool); // 1 ms each
    }
    // After 1.5 ms one is in flight, one half out, one waits: at ten times the rate 0.05 and 0.1 ms are left.
    model.change(Timestamp(15 * MS / 10), &DirectionChange { rate_bps: Some(10_000_000), ..Default::default() });
    let times: Vec<u64> =
        std::iter::from_fn(|| model.pop_due(Timestamp::FAR_FUTURE)).map(|due| due.at.nanos()).collect();
    assert_eq!(times, [4 * MS, 455 * MS / 100, 465 * MS / 100]);
}

#[test]
fn the_schedule_of_losses_depends_on_seed_and_frames_only() {
    let loss = Loss::Random { probability: 0.2 };
    let plain = DirectionSpec { loss, ..DirectionSpec::default() };
    let busy = DirectionSpec { jitter_ns: MS, delay_ns: 9 * MS, corrupt: 0.0, ..plain };
    let survivors = |spec, seed| {
        let mut numbers: Vec<u64> = run(spec, seed, 2_000, 60, MS).out.iter().map(|&(_, _, n)| n).collect();
        numbers.sort_unstable();
        numbers
    };
    assert_eq!(survivors(plain, 1), survivors(busy, 1));
    assert_ne!(survivors(plain, 1), survivors(plain, 2));
}

fn any_spec() -> impl Strategy<Value = DirectionSpec> {
    let loss = prop_oneof![
        Just(Loss::None),
        (0.0..=1.0).prop_map(|probability| Loss::Random { probability }),
        (0.0..=1.0, 0.0..=1.0, 0.0..=1.0, 0.0..=1.0).prop_map(|(to_bad, to_good, bad_loss, good_loss)| {
            Loss::GilbertElliott { to_bad, to_good, bad_loss, good_loss }
        }),
    ];
    let distribution = prop_oneof![
        Just(Distribution::Uniform),
        Just(Distribution::Normal),
        Just(Distribution::Pareto),
        Just(Distribution::ParetoNormal)
    ];
    let reorder =
        proptest::option::of((0.0..=1.0, 0..10_u32).prop_map(|(probability, gap)| Reorder { probability, gap }));
    let times = (0..100 * MS, 0..50 * MS, proptest::option::of(0..2_000_000_000_u64));
    (times, loss, distribution, 0.0..=1.0, 0.0..=1.0, reorder, proptest::option::of(0..200_u32)).prop_map(
        |((delay_ns, jitter_ns, rate_bps), loss, distribution, duplicate, corrupt, reorder, limit)| DirectionSpec {
            delay_ns,
            jitter_ns,
            distribution,
            loss,
            duplicate,
            corrupt,
            reorder,
            rate_bps,
            limit,
            silent: false,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the spec and whatever changes: every copy is accounted for once, nothing comes out before it went in,
    /// deliveries ascend, and the same seed gives the same run.
    #[test]
    fn every_frame_is_accounted_for(first in any_spec(), second in any_spec(), seed: u64, lens in prop::collection::vec(0..2_000_usize, 1..200)) {
        let play = || {
            let mut model = DirectionModel::new(first, seed);
            let mut pool = FramePool::default();
            let mut deliveries = Vec::new();
            for (i, &len) in lens.iter().enumerate() {
                let now = Timestamp(i as u64 * MS / 4);
                if i == lens.len() / 2 {
                    model.change(now, &DirectionChange::from(&second));
                }
                model.enqueue(now, &vec![0; len], &mut pool);
                while let Some(due) = model.pop_due(now) {
                    deliveries.push(due.at);
                    model.delivered(due, len, due.at);
                    pool.release(due.slot);
                }
            }
            while let Some(due) = model.pop_due(Timestamp::FAR_FUTURE) {
                deliveries.push(due.at);
                model.delivered(due, 0, due.at);
                pool.release(due.slot);
            }
            (deliveries, *model.counters(), pool.in_use())
        };
        let (deliveries, counters, leaked) = play();
        prop_assert_eq!(leaked, 0);
        prop_assert_eq!(counters.received, lens.len() as u64);
        prop_assert_eq!(
            counters.received + counters.duplicated,
            counters.delivered + counters.lost + counters.lost_limit + counters.lost_silent
        );
        prop_assert_eq!(deliveries.len() as u64, counters.delivered);
        prop_assert_eq!(play().0, deliveries);
    }
}
