//! The ways from A to B that are compared.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use damc_bench::frames_received;
use damc_link::{
    Filter, Pdus as _, RawSocket, ReceiveArena, ReceiveRing, Transmit, ethernet_header, mac, monotonic_now,
};
use damc_mgmt::config::IdentityConfig;
use damc_trust::{NodeKeys, NodeSecrets, from_hex};
use damc_wire::Frame;
use damc_wire::frame::LinkKey;
use damc_wire::message::{Hello, Message};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::chain::Chain;
use crate::domain::{Folder, Node, configuration, configurations, interface, until};
use crate::namespace::Links;
use crate::sender::Load;

/// The nodes around the SR: two SGs, a pod and an SPA at each.
const LINKS: [(&str, &str); 6] =
    [("sg-1", "sr-1"), ("sr-1", "sg-2"), ("pod-1", "sg-1"), ("spa-1", "sg-1"), ("pod-2", "sg-2"), ("spa-2", "sg-2")];
/// The same again, in a domain that does without link MACs.
const UNSEALED: [(&str, &str); 6] =
    [("sg-3", "sr-2"), ("sr-2", "sg-4"), ("pod-3", "sg-3"), ("spa-3", "sg-3"), ("pod-4", "sg-4"), ("spa-4", "sg-4")];
/// How long hellos are waited for.
const HELLOS: Duration = Duration::from_secs(5);
/// What a round lasts.
const ROUND: Duration = Duration::from_millis(300);
/// Processor of the sender, and of what forwards.
const SENDER: usize = 0;
const FORWARDER: usize = 1;
/// Calls of a latency measurement, one after the other.
const CALLS: usize = 500;
/// Frames of a latency measurement, one each millisecond.
const TRICKLE: usize = 2000;

/// A way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// One SR.
    Sr,
    /// One SR of a domain without link MACs.
    Unsealed,
    /// SG, SR, SG, from pod to pod.
    Mesh,
    /// A thread that sends on what a ring receives.
    Bare,
    /// The kernel's IPv6 forwarding.
    Ipv6,
    /// The kernel's bridge.
    Bridge,
}

impl Way {
    pub fn label(self) -> String {
        match self {
            Self::Sr => "one SR",
            Self::Unsealed => "one SR, no link MACs",
            Self::Mesh => "SG, SR, SG",
            Self::Bare => "bare relay",
            Self::Ipv6 => "kernel IPv6",
            Self::Bridge => "kernel bridge",
        }
        .to_owned()
    }
}

/// All ways, ready to carry frames.
pub struct Lab {
    nodes: BTreeMap<String, Node>,
    /// Keys of the links that frames are sent into.
    keys: BTreeMap<Way, LinkKey>,
    chains: BTreeMap<Way, Chain>,
    /// With nothing behind its first link.
    plain: Chain,
    absent: Vec<(String, String)>,
    _relay: Relay,
    _folder: Folder,
}

impl Lab {
    pub fn bring_up(links: &mut Links) -> Self {
        for (a, b) in LINKS.into_iter().chain(UNSEALED) {
            links.pair(&interface(a, b), &interface(b, a));
        }
        let mut chains = BTreeMap::new();
        let mut absent = Vec::new();
        let plain = Chain::new(links, "plain");
        let bare = Chain::new(links, "bare");
        let relay = Relay::start(&bare);
        chains.insert(Way::Bare, bare);
        for (way, ready) in [(Way::Ipv6, Chain::route as fn(&Chain) -> _), (Way::Bridge, Chain::bridge)] {
            let chain = Chain::new(links, if way == Way::Ipv6 { "six" } else { "bridge" });
            match ready(&chain) {
                Ok(()) => _ = chains.insert(way, chain),
                Err(why) => absent.push((way.label(), why)),
            }
        }
        let folder = Folder::new("forwarding");
        let mut nodes = start(&folder, &LINKS, ("pod-1", "pod-2"), true);
        nodes.extend(start(&folder, &UNSEALED, ("pod-3", "pod-4"), false));
        let keys = [(Way::Sr, ("sg-1", "sr-1")), (Way::Mesh, ("pod-1", "sg-1"))];
        let keys = keys.into_iter().map(|(way, (from, to))| (way, link_key(folder.path(), from, to))).collect();
        Self { nodes, keys, chains, plain, absent, _relay: relay, _folder: folder }
    }

    /// What could be set up, ours first.
    pub fn ways(&self) -> Vec<Way> {
        let mesh = self.nodes.contains_key("sg-1").then_some(Way::Mesh);
        [Way::Sr, Way::Unsealed].into_iter().chain(mesh).chain(self.chains.keys().copied()).collect()
    }

    /// Ends all nodes but the SRs, which do not miss them as long as the bench lasts: so nobody takes the frames behind
    /// it, as behind the other ways, and what taking them would cost is not counted as its own.
    pub fn leave_alone(&mut self) {
        self.nodes.retain(|name, _| name.starts_with("sr"));
    }

    /// Peers that could not be set up, and why.
    pub fn absent(&self) -> &[(String, String)] {
        &self.absent
    }

    /// The interfaces where frames go in and come out.
    fn ends(&self, way: Way) -> (String, String) {
        match way {
            Way::Sr => (interface("sg-1", "sr-1"), interface("sg-2", "sr-1")),
            Way::Unsealed => (interface("sg-3", "sr-2"), interface("sg-4", "sr-2")),
            Way::Mesh => (interface("pod-1", "sg-1"), interface("pod-2", "sg-2")),
            _ => (self.chains[&way].first().to_owned(), self.chains[&way].last().to_owned()),
        }
    }

    fn load(&self, way: Way, size: usize) -> Load {
        let (first, _) = self.ends(way);
        match way {
            Way::Ipv6 => Load::ipv6(&first, &self.chains[&way].ends[1], size),
            _ => Load::damc(&first, size, self.keys.get(&way)),
        }
    }

    /// Gives sender and forwarders a processor each, or lets the scheduler choose.
    pub fn separate(&self, apart: bool) {
        let anywhere = [SENDER, FORWARDER];
        // This process first: it has the bare relay as a thread.
        pin_all(std::process::id(), if apart { &[FORWARDER] } else { &anywhere });
        pin(Pid::from_raw(0), if apart { &[SENDER] } else { &anywhere });
        for node in self.nodes.values() {
            pin_all(node.pid(), if apart { &[FORWARDER] } else { &anywhere });
        }
    }

    /// One round at full speed: ns for each frame that came out.
    pub fn flood(&self, way: Way, size: usize) -> f64 {
        let load = self.load(way, size);
        let (_, last) = self.ends(way);
        // Pods would take the frames.
        let _still = Still::new(self.nodes.iter().filter(|(name, _)| name.starts_with("pod")).map(|(_, node)| node));
        let (before, begin) = (frames_received(&last), Instant::now());
        load.flood(ROUND);
        let (frames, span) = (frames_received(&last) - before, begin.elapsed());
        assert!(frames > 1000, "{}: only {frames} frames came out", way.label());
        span.as_secs_f64() * 1e9 / frames as f64
    }

    /// Times of calls from one pod to the other and back, as the caller measures them, ns.
    pub fn calls(&self) -> Vec<f64> {
        let call = |_| self.nodes["pod-1"].call("/B/2", "echo", &["x"]).elapsed_ns as f64;
        (0..CALLS).map(call).collect()
    }

    /// Times of single frames, ns; over one link alone where there is no way.
    pub fn trickle(&self, way: Option<Way>) -> Vec<f64> {
        let load = way.map_or_else(|| Load::damc(self.plain.first(), 100, None), |way| self.load(way, 100));
        let last = way.map_or_else(|| self.plain.ends[1].clone(), |way| self.ends(way).1);
        let filter = if way == Some(Way::Ipv6) { Filter::Ipv6 } else { Filter::Routed };
        let (sender, receiver) = (load.socket(), RawSocket::open_on(&last, filter).unwrap());
        let mut arena = ReceiveArena::new(16);
        let mut times = Vec::new();
        for number in 0..TRICKLE {
            let next = Instant::now() + Duration::from_millis(1);
            let sent = monotonic_now();
            sender.send([load.transmit(number)]);
            while Instant::now() < next {
                arena.receive(&receiver).unwrap();
                // Forwarders write into the header; the nodes' own frames are told by their size.
                let length = load.transmit(number).body.len();
                times.extend(arena.frames().filter_map(|mut got| {
                    let ours = got.pdu().len() == length && got.received_at > sent;
                    ours.then(|| (got.received_at - sent) as f64)
                }));
                thread::sleep(Duration::from_micros(100));
            }
        }
        assert!(times.len() > TRICKLE * 9 / 10, "{} of {TRICKLE} frames came out", times.len());
        times
    }
}

/// Starts a domain and waits until calls of its first pod to its second go through.
fn start(folder: &Folder, links: &[(&str, &str)], pods: (&str, &str), link_macs: bool) -> BTreeMap<String, Node> {
    let services: [(&str, &[&str]); 2] = [(pods.0, &["/A/1"]), (pods.1, &["/B/2"])];
    let mut configs = configurations(folder.path(), links, &services);
    for config in configs.values_mut() {
        config.link_macs = link_macs;
        // Nobody is missed as long as the bench lasts.
        config.timers.echo_interval_ms = 20_000;
        config.timers.dead_interval_ms = 80_000;
    }
    let nodes: BTreeMap<String, Node> =
        configs.iter().map(|(name, config)| (name.clone(), Node::start(folder.path(), config))).collect();
    until("call", || nodes[pods.0].call("/B/2", "echo", &["x"]), |reply| reply.result.is_some());
    nodes
}

/// The key under which `to` takes frames from `from`: the sessions are in the hellos of both.
fn link_key(folder: &Path, from: &str, to: &str) -> LinkKey {
    let socket = RawSocket::open_on(&interface(from, to), Filter::Capture).unwrap();
    let (mut arena, deadline) = (ReceiveArena::new(16), Instant::now() + HELLOS);
    let mut hellos: BTreeMap<String, Hello> = BTreeMap::new();
    while hellos.len() < 2 {
        assert!(Instant::now() < deadline, "no hellos of {from} and {to}: {:?}", hellos.keys());
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(50_u8)).unwrap();
        for index in 0..arena.receive(&socket).unwrap() {
            if let Ok(Frame { message: Message::Hello(hello), .. }) = Frame::decode(arena.pdu(index)) {
                hellos.insert(hello.certificate.node.to_string(), hello);
            }
        }
    }
    let config = configuration(folder, from);
    let secret = |text: &str| from_hex("secret", text).unwrap().try_into().unwrap();
    let IdentityConfig { signing_secret, agreement_secret, .. } = &config.identity;
    let secrets = NodeSecrets { signing: secret(signing_secret), agreement: secret(agreement_secret) };
    let (own, theirs) = (&hellos[from], &hellos[to]);
    let keys = NodeKeys::new(&secrets, own.certificate.clone()).unwrap();
    let hop = keys.hop_key(own.session, &theirs.certificate, theirs.session).unwrap();
    hop.link_key(&own.certificate.node)
}

/// Lets all threads of a process run on these processors.
fn pin_all(process: u32, processors: &[usize]) {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the threads of a process");
    for task in tasks.flatten() {
        // A thread may have ended meanwhile.
        if let Ok(id) = task.file_name().to_string_lossy().parse() {
            pin(Pid::from_raw(id), processors);
        }
    }
}

/// Nodes that stand still until this is dropped.
struct Still(Vec<Pid>);

impl Still {
    fn new<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let pids: Vec<Pid> = nodes.map(|node| Pid::from_raw(node.pid().cast_signed())).collect();
        pids.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).expect("a node can be stopped"));
        Self(pids)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| kill(*pid, Signal::SIGCONT).expect("a node can go on"));
    }
}

/// The bare relay, while this lives.
struct Relay {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(chain: &Chain) -> Self {
        let [_, inner, out, _] = &chain.ends;
        let from = RawSocket::open_on(inner, Filter::Routed).unwrap();
        let mut ring = ReceiveRing::attach(&from, 320).unwrap();
        let (to, header) = (RawSocket::open_on(out, Filter::Routed).unwrap(), ethernet_header(mac(out).unwrap()));
        let ends = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::from(50_u8)).unwrap();
                let batch = ring.batch(64);
                to.send((0..batch.len()).map(|i| Transmit { interface: 0, header: &header, body: batch.pdu(i) }));
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the relay ends in order");
        }
    }
}

/// Lets a thread run on these processors.
fn pin(thread: Pid, processors: &[usize]) {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor).expect("a small number"));
    // On a machine with one processor everything shares it, which the report's head tells.
    let _ = sched_setaffinity(thread, &set);
}
