//! The relay on real interfaces. What is measured is measured a fixed number of times and judged by all of it.

mod wire;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use damc_impair::{DirectionChange, DirectionSpec};
use damc_lab::relay::calibrate::{CalibrationLink, Depth, Measurement, Property, Tolerance, measure_once};
use damc_lab::relay::{RelayClient, RelayConfig, RelayLink};
use damc_link::{Filter, RawSocket, ReceiveArena, Transmit};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use wire::with_relay;

fn links(count: usize) -> RelayConfig {
    let link = |i: usize| RelayLink {
        name: format!("l{i}"),
        first: format!("w{}", 2 * i),
        second: format!("w{}", 2 * i + 1),
        forward: DirectionSpec::default(),
        backward: DirectionSpec::default(),
    };
    RelayConfig { seed: 1, links: (0..count).map(link).collect() }
}

fn measure(client: &mut RelayClient) -> Vec<Measurement> {
    let mut apply = |spec: &DirectionSpec| {
        client.change("l0", &DirectionChange::from(spec), &DirectionChange::default()).map_err(|e| e.to_string())
    };
    let link = CalibrationLink {
        sender: RawSocket::open_on("n0", Filter::All).unwrap(),
        receiver: RawSocket::open_on("n1", Filter::Everything).unwrap(),
        apply: &mut apply,
    };
    measure_once(link, Depth::Short, Tolerance::default()).unwrap()
}

/// How often each property is measured: chosen beforehand, and no measurement is made again because of how it came out.
const ROUNDS: usize = 9;
/// Two-sided one in a million of the normal distribution: what may come out wrong by chance alone.
const Z: f64 = 4.9;

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What is wrong with a property over all rounds; nothing where it is as asked. Delays and rates are judged by their
/// medians over the rounds, which rounds on a busy host do not move unless they are most; shares by all frames together.
fn wrong(rounds: &[&Measurement]) -> Option<String> {
    let Measurement { property, asked, .. } = *rounds[0];
    let tolerance = Tolerance::default();
    let measured = median(rounds.iter().map(|m| m.measured));
    let p99 = median(rounds.iter().map(|m| m.p99.unwrap_or(f64::INFINITY)));
    let right = match property {
        Property::Base | Property::Delay => {
            (measured - asked).abs() <= tolerance.delay_ms && (p99 - asked).abs() <= tolerance.delay_p99_ms
        }
        Property::Jitter => (measured / asked - 1.0).abs() <= tolerance.jitter,
        Property::Rate => (measured / asked - 1.0).abs() <= tolerance.rate,
        Property::Loss => {
            let frames: f64 = rounds.iter().map(|m| m.samples as f64).sum();
            let lost: f64 = rounds.iter().map(|m| m.measured * m.samples as f64).sum();
            frames > 1000.0 && (lost - asked * frames).abs() <= Z * (asked * (1.0 - asked) * frames).sqrt()
        }
        other => panic!("{other:?} is not in the short calibration"),
    };
    (!right).then(|| {
        let each: Vec<_> = rounds.iter().map(|m| (m.measured, m.p99)).collect();
        format!("{property:?}: asked {asked}, median {measured}, of the 99th percentiles {p99}; {each:?}")
    })
}

#[test]
fn a_relayed_link_is_faithful() {
    with_relay(links(1), |client| {
        let rounds: Vec<Vec<Measurement>> = (0..ROUNDS).map(|_| measure(client)).collect();
        let steps = rounds[0].len();
        assert_eq!(steps, 5, "base, delay, jitter, loss and rate");
        let of = |step: usize| rounds.iter().map(|round| &round[step]).collect::<Vec<_>>();
        let found: Vec<String> = (0..steps).filter_map(|step| wrong(&of(step))).collect();
        let counters = client.show().unwrap().links[0].forward.counters;
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        assert!(found.is_empty(), "at load {load}: {found:#?}, {counters:?}");
        let other = counters.lost_limit + counters.lost_silent + counters.lost_interface;
        assert_eq!((counters.received, other), (counters.delivered + counters.lost, 0), "{counters:?}");
    });
}

/// Sends a frame and gives what arrives within `wait`.
fn send_and_receive(from: &str, to: &str, frame: &[u8], wait: Duration) -> Vec<Vec<u8>> {
    let receiver = RawSocket::open_on(to, Filter::Everything).unwrap();
    let sender = RawSocket::open_on(from, Filter::All).unwrap();
    assert_eq!(sender.send([Transmit { interface: 0, header: &[], body: frame }]).sent, 1);
    let mut arena = ReceiveArena::new(8);
    let deadline = Instant::now() + wait;
    let mut got = Vec::new();
    while got.is_empty() && Instant::now() < deadline {
        let mut fds = [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(10_u8)).unwrap();
        arena.receive(&receiver).unwrap();
        got.extend(arena.frames().map(|f| f.frame.to_vec()));
    }
    got
}

#[test]
fn every_ethertype_crosses_between_the_ends_of_a_link_and_nowhere_else() {
    with_relay(links(2), |_client| {
        for ethertype in [[0x08, 0x00], [0x88, 0xb5], [0x86, 0xdd]] {
            let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9];
            frame.extend(ethertype);
            frame.extend([0x5a; 80]);
            for (from, to) in [("n0", "n1"), ("n1", "n0"), ("n2", "n3")] {
                assert_eq!(send_and_receive(from, to, &frame, Duration::from_secs(2)), [frame.clone()], "{from} {to}");
            }
            assert!(send_and_receive("n0", "n2", &frame, Duration::from_millis(50)).is_empty());
        }
    });
}

#[test]
fn a_change_of_one_direction_leaves_the_rest_alone_and_counts_by_reason() {
    with_relay(links(1), |client| {
        let delay = DirectionChange { delay_ns: Some(3_000_000), ..DirectionChange::default() };
        client.change("l0", &delay, &DirectionChange::default()).unwrap();
        let silent = DirectionChange { silent: Some(true), ..DirectionChange::default() };
        client.change("l0", &silent, &DirectionChange::default()).unwrap();
        let frame = [0xaa; 60];
        assert!(send_and_receive("n0", "n1", &frame, Duration::from_millis(50)).is_empty());
        assert_eq!(send_and_receive("n1", "n0", &frame, Duration::from_secs(2)).len(), 1);
        let state = client.show().unwrap();
        let link = &state.links[0];
        assert_eq!((link.forward.spec.delay_ns, link.forward.spec.silent), (3_000_000, true));
        assert_eq!(link.backward.spec, DirectionSpec::default());
        assert_eq!((link.forward.counters.received, link.forward.counters.lost_silent), (1, 1));
        assert_eq!((link.backward.counters.delivered, link.backward.counters.delivered_bytes), (1, 60));
        let error = client.change("nowhere", &silent, &silent).unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
    });
}
