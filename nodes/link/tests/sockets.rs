//! Sockets on a veth pair in a private namespace.

mod namespace;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use damc_link::{
    CarrierWatch, Filter, Pdus as _, RawSocket, ReceiveArena, ReceiveRing, SendReport, Transmit, ethernet_header,
    ifindex, mac, monotonic_now,
};
use namespace::in_private_namespace;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const HOP_LOCAL: [u8; 16] = [1, 0x01, 0, 1, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ROUTED: [u8; 16] = [1, 0x80, 0, 64, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// PDUs that arrive at `socket` within a second, until there are `count`.
fn receive(socket: &RawSocket, count: usize) -> Vec<(Vec<u8>, bool, u64)> {
    let mut arena = ReceiveArena::new(16);
    let mut got = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(1);
    while got.len() < count && Instant::now() < deadline {
        wait(&socket.as_fd());
        arena.receive(socket).unwrap();
        got.extend(arena.frames().map(|mut f| (f.pdu().to_vec(), f.outgoing, f.received_at)));
    }
    got
}

fn wait(fd: &impl AsFd) {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(100_u8)).unwrap();
}

fn send(socket: &RawSocket, interface: &str, pdus: &[&[u8]]) -> SendReport {
    let header = ethernet_header(mac(interface).unwrap());
    socket.send(pdus.iter().map(|pdu| Transmit { interface: 0, header: &header, body: pdu }))
}

#[test]
fn filters_split_hop_local_from_routed_frames() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let sender = RawSocket::open_on("a", Filter::All).unwrap();
        let control = RawSocket::open_on("b", Filter::Control).unwrap();
        let routed = RawSocket::open_on("b", Filter::Routed).unwrap();
        let short: &[u8] = &[1];
        assert_eq!(send(&sender, "a", &[&HOP_LOCAL, &ROUTED, short]).sent, 3);
        let pdus = |got: Vec<(Vec<u8>, bool, u64)>| got.into_iter().map(|g| g.0).collect::<Vec<_>>();
        assert_eq!(pdus(receive(&control, 2)), [HOP_LOCAL.to_vec(), short.to_vec()]);
        assert_eq!(pdus(receive(&routed, 1)), [ROUTED.to_vec()]);
        assert!(receive(&sender, 1).is_empty(), "own frames must not come back");
    });
}

#[test]
fn capture_sees_both_directions_and_other_ethertypes_stay_out() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let capture = RawSocket::open_on("a", Filter::Capture).unwrap();
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open(0, Filter::All).unwrap();
        assert_eq!(send(&a, "a", &[&HOP_LOCAL]).sent, 1);
        let mut foreign = ethernet_header(mac("a").unwrap());
        foreign[13] = 0xb6;
        a.send([Transmit { interface: 0, header: &foreign, body: &HOP_LOCAL }]);
        let header = ethernet_header(mac("b").unwrap());
        let to_a = Transmit { interface: ifindex("b").unwrap(), header: &header, body: &ROUTED };
        assert_eq!(b.send([to_a]).sent, 1);
        let got: Vec<_> = receive(&capture, 2).into_iter().map(|g| (g.0, g.1)).collect();
        assert_eq!(got, [(HOP_LOCAL.to_vec(), true), (ROUTED.to_vec(), false)]);
    });
}

#[test]
fn stamps_are_on_the_monotonic_clock() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open_on("b", Filter::All).unwrap();
        // The first socket that asks for stamps switches them on in the kernel a little later: let one frame pass.
        send(&a, "a", &[&ROUTED]);
        receive(&b, 1);
        let before = monotonic_now();
        send(&a, "a", &[&ROUTED]);
        let sent = monotonic_now();
        let stamp = receive(&b, 1)[0].2;
        let slack = 1_000_000;
        assert!(before - slack <= stamp && stamp <= sent + slack, "{before} {stamp} {sent}");
    });
}

#[test]
fn frames_the_kernel_refuses_are_counted_and_skipped() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open_on("b", Filter::All).unwrap();
        let over_mtu = [0_u8; 3000];
        let report = send(&a, "a", &[&ROUTED, &over_mtu, &ROUTED]);
        assert_eq!(report, SendReport { sent: 2, failed: 1, ..SendReport::default() });
        assert_eq!(receive(&b, 2).len(), 2);
        links.set("a", false);
        let report = send(&a, "b", &[&ROUTED, &ROUTED]);
        assert_eq!((report.sent, report.down), (0, 2), "{report:?}");
        assert_eq!(ReceiveArena::new(4).receive(&a).unwrap(), 0, "an interface that is down is no error");
    });
}

#[test]
fn more_frames_than_a_batch_all_arrive_in_order() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open_on("b", Filter::All).unwrap();
        let pdus: Vec<[u8; 16]> = (0..200_u8)
            .map(|i| {
                let mut p = ROUTED;
                p[15] = i;
                p
            })
            .collect();
        let refs: Vec<&[u8]> = pdus.iter().map(|p| &p[..]).collect();
        assert_eq!(send(&a, "a", &refs).sent, 200);
        let got: Vec<u8> = receive(&b, 200).into_iter().map(|g| g.0[15]).collect();
        assert_eq!(got, (0..200).collect::<Vec<u8>>());
        assert_eq!(b.take_drops().unwrap(), 0);
    });
}

#[test]
fn carrier_follows_the_other_end() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let a = ifindex("a").unwrap();
        let mut watch = CarrierWatch::open().unwrap();
        let mut expect = |state: bool| {
            let deadline = Instant::now() + Duration::from_secs(3);
            let mut last = None;
            while last != Some(state) {
                assert!(Instant::now() < deadline, "carrier of a stayed {last:?}, expected {state}");
                wait(&watch);
                watch.poll(|index, up| last = if index == a { Some(up) } else { last }).unwrap();
            }
        };
        expect(true);
        links.set("b", false);
        expect(false);
        links.set("b", true);
        expect(true);
    });
}

#[test]
fn a_missing_interface_is_named() {
    let error = RawSocket::open_on("no-such-if", Filter::All).unwrap_err();
    assert!(error.to_string().contains("no-such-if"), "{error}");
}

/// PDUs that are in the ring within a second, until there are `count`; takes `most` at a time.
fn take(socket: &RawSocket, ring: &mut ReceiveRing, (count, most): (usize, usize)) -> Vec<(Vec<u8>, u64)> {
    let mut got = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(1);
    while got.len() < count && Instant::now() < deadline {
        wait(&socket.as_fd());
        let batch = ring.batch(most);
        got.extend((0..batch.len()).map(|i| (batch.pdu(i).to_vec(), batch.received_at(i))));
    }
    got
}

fn numbered(i: usize) -> [u8; 16] {
    let mut pdu = ROUTED;
    pdu[12..].copy_from_slice(&(i as u32).to_be_bytes());
    pdu
}

#[test]
fn a_ring_gives_every_frame_once_in_order_and_stamped_however_often_it_goes_round() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open_on("b", Filter::Routed).unwrap();
        let mut ring = ReceiveRing::attach(&b, 50).unwrap();
        assert!(ring.capacity() >= 50);
        // The first socket that asks for stamps switches them on in the kernel a little later: let one frame pass.
        send(&a, "a", &[&ROUTED]);
        assert_eq!(take(&b, &mut ring, (1, 8)).len(), 1);
        let before = monotonic_now();
        for round in 0..40 {
            let pdus: Vec<_> = (0..30).map(|i| numbered(round * 30 + i)).collect();
            send(&a, "a", &pdus.iter().map(|pdu| &pdu[..]).collect::<Vec<_>>());
            send(&a, "a", &[&HOP_LOCAL]);
            let got = take(&b, &mut ring, (30, 7));
            assert_eq!(got.iter().map(|g| g.0.clone()).collect::<Vec<_>>(), pdus, "round {round}");
            let slack = 1_000_000;
            assert!(got.iter().all(|g| before - slack <= g.1 && g.1 <= monotonic_now() + slack));
        }
        assert!(ring.batch(8).is_empty());
        assert_eq!(b.take_drops().unwrap(), 0);
    });
}

#[test]
fn a_full_ring_drops_and_counts_and_goes_on() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open_on("b", Filter::Routed).unwrap();
        let mut ring = ReceiveRing::attach(&b, 1).unwrap();
        let (capacity, over) = (ring.capacity(), 25);
        let pdus: Vec<_> = (0..capacity + over).map(numbered).collect();
        send(&a, "a", &pdus.iter().map(|pdu| &pdu[..]).collect::<Vec<_>>());
        let got = take(&b, &mut ring, (capacity, capacity));
        assert_eq!(got.iter().map(|g| g.0.clone()).collect::<Vec<_>>(), pdus[..capacity]);
        assert_eq!(b.take_drops().unwrap(), over as u64);
        send(&a, "a", &[&numbered(7)]);
        assert_eq!(take(&b, &mut ring, (1, 8))[0].0, numbered(7));
    });
}

#[test]
fn frames_in_a_ring_can_be_changed_where_they_are_and_long_ones_are_cut() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        links.mtu("a", 4000);
        links.mtu("b", 4000);
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open_on("b", Filter::Routed).unwrap();
        let mut ring = ReceiveRing::attach(&b, 8).unwrap();
        let mut long = [7_u8; 3000];
        long[..16].copy_from_slice(&ROUTED);
        let mut none = ring.batch(8);
        assert!(none.is_empty() && none.pdu(0).is_empty() && none.pdu_mut(0).is_empty());
        drop(none);
        send(&a, "a", &[&ROUTED, &long, &ROUTED]);
        wait(&b.as_fd());
        let mut batch = ring.batch(8);
        batch.pdu_mut(0)[15] = 9;
        assert_eq!(batch.pdu(0)[15], 9);
        assert!((1501..3000).contains(&batch.pdu(1).len()), "{} bytes", batch.pdu(1).len());
        assert_eq!(batch.pdu(2), ROUTED);
        assert!(ReceiveRing::attach(&b, 8).is_err(), "one ring for a socket");
    });
}

#[test]
fn an_interface_that_goes_down_does_not_keep_a_ring_readable() {
    in_private_namespace(|links| {
        links.pair("a", "b");
        let a = RawSocket::open_on("a", Filter::All).unwrap();
        let b = RawSocket::open_on("b", Filter::Routed).unwrap();
        let mut ring = ReceiveRing::attach(&b, 8).unwrap();
        let readable = || {
            let mut fds = [PollFd::new(b.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
        };
        assert!(!readable());
        links.set("b", false);
        assert!(readable() && ring.batch(8).is_empty());
        assert_eq!(b.take_error().unwrap().and_then(|e| e.raw_os_error()), Some(libc::ENETDOWN));
        assert!(!readable() && b.take_error().unwrap().is_none());
        links.set("b", true);
        let deadline = Instant::now() + Duration::from_secs(3);
        while ring.batch(8).is_empty() {
            assert!(Instant::now() < deadline, "frames arrive again");
            send(&a, "a", &[&ROUTED]);
            wait(&b.as_fd());
        }
    });
}
