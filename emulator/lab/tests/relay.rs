//! The relay on real interfaces. What is asserted are intervals and ratios; where the host was so loaded that nothing
//! could be measured, the measurement is repeated until a deadline and the failure says so.

mod wire;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use damc_impair::{DirectionChange, DirectionSpec};
use damc_lab::relay::calibrate::{Calibration, CalibrationLink, Depth, Property, Tolerance, calibrate};
use damc_lab::relay::{RelayClient, RelayConfig, RelayLink};
use damc_link::{Filter, RawSocket, ReceiveArena, Transmit, monotonic_now};
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

fn measure(client: &mut RelayClient, depth: Depth) -> Calibration {
    let mut apply = |spec: &DirectionSpec| {
        client.change("l0", &DirectionChange::from(spec), &DirectionChange::default()).map_err(|e| e.to_string())
    };
    let link = CalibrationLink {
        sender: RawSocket::open_on("n0", Filter::All).unwrap(),
        receiver: RawSocket::open_on("n1", Filter::Everything).unwrap(),
        apply: &mut apply,
    };
    calibrate(link, depth, Tolerance::default()).unwrap()
}

#[test]
fn a_relayed_link_is_faithful() {
    with_relay(links(1), |client| {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let calibration = measure(client, Depth::Short);
            if calibration.faithful {
                return;
            }
            let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
            assert!(Instant::now() < deadline, "not faithful at load {load}: {:#?}", calibration.reasons);
        }
    });
}

/// Prints the long calibration; for people: `cargo test -p damc-lab --test relay -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures and asserts nothing that the short one does not"]
fn the_long_calibration() {
    with_relay(links(1), |client| {
        let calibration = measure(client, Depth::Long);
        for m in &calibration.measurements {
            println!(
                "{:?} asked {} measured {:.4} [{:.4}, {:.4}] n {} p50 {:?} p99 {:?} {}",
                m.property, m.asked, m.measured, m.interval.low, m.interval.high, m.samples, m.p50, m.p99, m.within
            );
        }
        println!("{:#?}", client.show().unwrap().links[0].forward.counters);
        println!("{} ms, faithful {} {:?}", calibration.took_ms, calibration.faithful, calibration.reasons);
        assert!(calibration.of(Property::Base).is_some());
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

/// Throughput and idle cost; for people, as the long calibration.
#[test]
#[ignore = "prints figures"]
fn throughput_and_idle_cost() {
    with_relay(links(1), |client| {
        let delay = DirectionChange { delay_ns: Some(1_000_000), ..DirectionChange::default() };
        client.change("l0", &delay, &DirectionChange::default()).unwrap();
        let idle = client.show().unwrap().cpu_ns;
        let end = monotonic_now() + 1_000_000_000;
        while monotonic_now() < end {
            poll(&mut [], PollTimeout::from(100_u8)).unwrap();
        }
        println!("idle CPU in 1 s: {} µs", (client.show().unwrap().cpu_ns - idle) / 1_000);
        let sender = RawSocket::open_on("n0", Filter::All).unwrap();
        let before = client.show().unwrap();
        for _ in 0..1_000 {
            sender.send([Transmit { interface: 0, header: &[], body: &[0xaa; 100] }]);
            poll(&mut [], PollTimeout::from(1_u8)).unwrap();
        }
        let after = client.show().unwrap();
        let counters = after.links[0].forward.counters;
        println!(
            "1000 frames one by one: {} ns CPU each, mean lateness {} ns",
            (after.cpu_ns - before.cpu_ns) / 1_000,
            counters.late_ns / counters.delivered.max(1)
        );
        let before = client.show().unwrap();
        let start = monotonic_now();
        let mut sent = 0;
        while monotonic_now() - start < 1_000_000_000 {
            sent += sender.send((0..64).map(|_| Transmit { interface: 0, header: &[], body: &[0xaa; 100] })).sent;
        }
        let after = client.show().unwrap();
        let counters = after.links[0].forward.counters;
        let delivered = counters.delivered - before.links[0].forward.counters.delivered;
        let cpu = after.cpu_ns - before.cpu_ns;
        println!(
            "offered {sent}, delivered {delivered} in 1 s, {} ns CPU each, mean lateness {} ns, overruns {}",
            cpu / delivered.max(1),
            counters.late_ns / counters.delivered.max(1),
            after.overruns
        );
        assert!(delivered > 0);
    });
}
