//! Time through one SR and memory of idle nodes, as real processes: `cargo bench -p damc-daemon`.
//!
//! Frames are put on the link sg-1–sr-1 in the name of sg-1 and picked up on the link sr-1–sg-2: two veth crossings and
//! the SR's forwarding thread between sending and the kernel's receive stamp.

#[allow(dead_code, reason = "the bench needs a part of it")]
#[path = "../tests/domain/mod.rs"]
mod domain;
#[allow(dead_code, reason = "the bench needs a part of it")]
#[path = "../../link/tests/namespace/mod.rs"]
mod namespace;

use std::time::{Duration, Instant};

use damc_link::{Filter, RawSocket, ReceiveArena, Transmit, ethernet_header, mac, monotonic_now};
use damc_wire::Frame;
use damc_wire::message::{Data, DataKind, Message};
use damc_wire::registry::HEADER_LEN;
use domain::{Folder, Node, configurations, interface, until};
use namespace::{Links, in_private_namespace};

const LINKS: [(&str, &str); 6] =
    [("sg-1", "sr-1"), ("sr-1", "sg-2"), ("pod-1", "sg-1"), ("spa-1", "sg-1"), ("pod-2", "sg-2"), ("spa-2", "sg-2")];

fn main() {
    in_private_namespace(measure);
}

fn measure(links: &mut Links) {
    for (a, b) in LINKS {
        links.pair(&interface(a, b), &interface(b, a));
    }
    let folder = Folder::new("one-hop");
    let services: [(&str, &[&str]); 2] = [("pod-1", &["/A/1"]), ("pod-2", &["/B/2"])];
    let configs = configurations(folder.path(), &LINKS, &services);
    let begin = Instant::now();
    let nodes: Vec<(String, Node)> =
        configs.iter().map(|(name, config)| (name.clone(), Node::start(folder.path(), config))).collect();
    println!("all {} nodes ready after {:?} (started one after the other)", nodes.len(), begin.elapsed());
    let pod = &nodes.iter().find(|(name, _)| name == "pod-1").unwrap().1;
    until("call", || pod.call("/B/2", "echo", &["x"]), |reply| reply.result.is_some());
    println!("first call answered after {:?}", begin.elapsed());
    let mut calls: Vec<u64> = (0..500).map(|_| pod.call("/B/2", "echo", &["x"]).elapsed_ns).collect();
    report("call pod-1 to pod-2 and back, 4 links each way, us", &mut calls);
    let mut hops: Vec<u64> = one_hop(2000);
    report("through one SR at 1000 frames/s, us", &mut hops);
    for (name, node) in &nodes {
        println!("{name}: {} resident", resident_kb(node.pid()));
    }
}

/// Sends `count` frames a millisecond apart; gives the times until they are behind the SR, ns.
fn one_hop(count: u32) -> Vec<u64> {
    let from = interface("sg-1", "sr-1");
    let sender = RawSocket::open_on(&from, Filter::Routed).unwrap();
    let receiver = RawSocket::open_on(&interface("sg-2", "sr-1"), Filter::Routed).unwrap();
    let header = ethernet_header(mac(&from).unwrap());
    let mut arena = ReceiveArena::new(16);
    let mut times = Vec::new();
    for number in 0..count {
        let correlation = 1 << 40 | u64::from(number);
        let data = Data { correlation, kind: DataKind::Response, payload: vec![0; 32], hops: vec![] };
        let frame = Frame::plain("/B/2".parse().unwrap(), "/A/1".parse().unwrap(), number, Message::Data(data));
        let pdu = frame.encode().unwrap();
        let sent = monotonic_now();
        sender.send([Transmit { interface: 0, header: &header, body: &pdu }]);
        let next = Instant::now() + Duration::from_millis(1);
        while Instant::now() < next {
            arena.receive(&receiver).unwrap();
            for mut got in arena.frames() {
                // Everything behind the header is as it was sent; other traffic passes here too.
                if got.pdu()[HEADER_LEN..] == pdu[HEADER_LEN..] {
                    times.push(got.received_at.saturating_sub(sent));
                }
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    times
}

fn report(what: &str, ns: &mut [u64]) {
    ns.sort_unstable();
    let at = |share: f64| ns[((ns.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!("{what}: p50 {:.1}  p99 {:.1}  max {:.1}  ({} samples)", at(0.5), at(0.99), at(1.0), ns.len());
}

fn resident_kb(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or("").trim().to_owned();
    format!("{} (of it anonymous {})", line("VmRSS:"), line("RssAnon:"))
}
