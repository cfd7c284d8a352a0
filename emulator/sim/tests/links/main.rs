//! What simulated links do to frames: the relay's model, seen through nodes.

use core::time::Duration;

use damc_impair::{DirectionModel, DirectionSpec, FramePool, Loss};
use damc_mgmt::view::ViewKind;
use damc_sim::{Call, Network, Sim, delayed, usual};
use damc_wire::{Role, Timestamp};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn pair() -> Sim {
    let network = Network::new().sr("a").sr("b").link("a", "b", 1);
    Sim::new(&network.configs(3), 3).unwrap()
}

/// Both know each other's name.
fn joined(sim: &Sim) -> bool {
    ["a", "b"].iter().all(|node| sim.fib(node).entries.len() == 2)
}

/// Mean length of the runs of lost frames, and how many runs there are.
fn bursts(lost: &[bool]) -> (f64, usize) {
    let runs: Vec<usize> = lost.chunk_by(|a, b| a == b).filter(|run| run[0]).map(<[bool]>::len).collect();
    (runs.iter().sum::<usize>() as f64 / runs.len().max(1) as f64, runs.len())
}

/// The fate of each frame that `a` sends to `b`, one after the other.
fn fates(spec: DirectionSpec, span: Duration) -> Vec<bool> {
    let mut sim = pair();
    sim.start();
    sim.run_until(joined, SECOND).unwrap();
    sim.set_spec_from("a", "b", spec);
    let (end, mut before, mut fates) = (sim.now() + span, sim.link_counters("a", "b"), Vec::new());
    while sim.now() < end {
        sim.run_for(MS);
        let now = sim.link_counters("a", "b");
        let (sent, lost) = (now.received - before.received, now.lost - before.lost);
        // Of several frames within a millisecond that fared differently the order is not known.
        if lost == 0 || lost == sent {
            fates.extend((0..sent).map(|_| lost > 0));
        }
        before = now;
    }
    fates
}

#[test]
fn a_gilbert_elliott_link_loses_in_bursts_as_the_relays_does() {
    let loss = Loss::GilbertElliott { to_bad: 0.02, to_good: 0.25, bad_loss: 1.0, good_loss: 0.0 };
    let spec = DirectionSpec { loss, ..usual() };
    let simulated = fates(spec, 600 * SECOND);
    let mut model = DirectionModel::new(spec, 99);
    let mut pool = FramePool::default();
    let modelled: Vec<bool> = (0..simulated.len() as u64)
        .map(|number| {
            let before = model.counters().lost;
            let now = Timestamp::from_millis(number);
            model.enqueue(now, &[0; 60], &mut pool);
            while let Some(due) = model.pop_due(now) {
                pool.release(due.slot);
            }
            model.counters().lost > before
        })
        .collect();
    for (what, lost) in [("simulated", &simulated), ("modelled", &modelled)] {
        let (mean, runs) = bursts(lost);
        assert!(runs > 150, "{what}: {runs} bursts in {} frames", lost.len());
        // Runs are geometric with mean 4 and deviation 3.5.
        let tolerance = 4.0 * 3.5 / (runs as f64).sqrt();
        assert!((mean - 4.0).abs() < tolerance, "{what}: bursts of {mean} ± {tolerance}");
        let share = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
        assert!((share - loss.expected()).abs() < 0.02, "{what}: {share} lost");
    }
    let even = DirectionSpec { loss: Loss::Random { probability: loss.expected() }, ..usual() };
    let (mean, runs) = bursts(&fates(even, 600 * SECOND));
    assert!(runs > 150 && mean < 1.3, "{runs} losses one by one, {mean} in a row");
}

/// A pod behind a narrow link, and a peer that serves.
fn served() -> Sim {
    let network = Network::new()
        .sr("sr")
        .sg("sg-1")
        .sg("sg-2")
        .node("spa-1", Role::Spa)
        .node("spa-2", Role::Spa)
        .pod("pod-1", &[("/one", None)])
        .pod("pod-2", &[("/two", None)]);
    let links =
        [("sg-1", "sr"), ("sg-2", "sr"), ("spa-1", "sg-1"), ("spa-2", "sg-2"), ("pod-1", "sg-1"), ("pod-2", "sg-2")];
    let network = links.iter().fold(network, |network, (a, b)| network.link(a, b, 1));
    let mut sim = Sim::new(&network.configs(5), 5).unwrap();
    sim.start();
    sim.run_until(|sim| sim.fib("sg-1").entries.iter().any(|entry| entry.prefix == "/two"), 10 * SECOND).unwrap();
    sim
}

#[test]
fn rate_and_queue_limit_hold() {
    const RATE: u64 = 400_000;
    const LIMIT: u32 = 5;
    let mut sim = served();
    let spec = DirectionSpec { rate_bps: Some(RATE), limit: Some(LIMIT), ..delayed(MS) };
    sim.set_spec_from("pod-1", "sg-1", spec);
    sim.run_for(SECOND);
    let idle = |sim: &Sim| {
        let counted = sim.link_counters("pod-1", "sg-1");
        counted.received == counted.delivered + counted.lost_limit
    };
    for _ in 0..1000 {
        if idle(&sim) {
            break;
        }
        sim.run_for(MS / 10);
    }
    let before = sim.link_counters("pod-1", "sg-1");
    assert!(idle(&sim), "a queue that never empties: {before:?}");
    for _ in 0..50 {
        sim.call("pod-1", Call { payload: vec![b'x'; 1000], ..Call::echo("/two") });
    }
    let offered = sim.link_counters("pod-1", "sg-1");
    assert_eq!(offered.received - before.received, 50);
    assert_eq!(
        offered.lost_limit - before.lost_limit,
        50 - u64::from(LIMIT),
        "the queue holds {LIMIT} and drops at its tail"
    );
    // One frame of the queue every so often, and not a byte more than the rate.
    let frame_bytes = (offered.received_bytes - before.received_bytes) / 50;
    let frame_time = Duration::from_nanos(frame_bytes * 8 * 1_000_000_000 / RATE);
    assert!(frame_bytes > 1014, "{frame_bytes}");
    for count in 1..=u64::from(LIMIT) {
        let delivered = |sim: &Sim| sim.link_counters("pod-1", "sg-1").delivered - before.delivered;
        sim.run_for(frame_time.saturating_sub(MS / 10));
        assert!(delivered(&sim) < count, "frame {count} came too early");
        sim.run_for(MS / 10);
        if count == 1 {
            // The delay begins when the last bit is out.
            sim.run_for(MS);
        }
        assert!(delivered(&sim) >= count, "frame {count} came too late");
    }
}

#[test]
fn damage_is_noticed_by_the_nodes_and_mended() {
    let drops = |sim: &Sim, node: &str| sim.seen(node).dropped.values().sum::<u64>();
    let mut sim = pair();
    sim.set_all_specs(DirectionSpec { corrupt: 1.0, ..usual() });
    sim.start();
    sim.run_for(30 * SECOND);
    assert!(!joined(&sim), "every frame was damaged");
    assert!(drops(&sim, "a") > 10 && drops(&sim, "b") > 10, "{:?}", sim.seen("a").dropped);
    assert_eq!(sim.link_counters("a", "b").corrupted, sim.link_counters("a", "b").received);

    sim.set_all_specs(DirectionSpec { corrupt: 0.2, ..usual() });
    sim.run_until(joined, 60 * SECOND).unwrap();
    sim.set_all_specs(usual());
    sim.run_for(10 * SECOND);
    assert_eq!(sim.view("a", ViewKind::Digest), sim.view("b", ViewKind::Digest), "no damaged LSA was taken");
}

#[test]
fn a_cut_loses_what_is_under_way_and_equal_seeds_lose_the_same() {
    let run = |seed: u64| {
        let network = Network::new().sr("a").sr("b").link("a", "b", 1);
        let mut sim = Sim::new(&network.configs(1), seed).unwrap();
        sim.set_all_specs(DirectionSpec { loss: Loss::Random { probability: 0.3 }, ..delayed(50 * MS) });
        sim.start();
        sim.run_for(20 * SECOND);
        let before = sim.link_counters("a", "b");
        sim.set_link("a", "b", false);
        sim.run_for(SECOND);
        let after = sim.link_counters("a", "b");
        assert_eq!(after.delivered, before.delivered);
        assert_eq!(after.received, after.delivered + after.lost + after.lost_interface);
        after
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
