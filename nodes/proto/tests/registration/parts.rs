//! Pods, one SG registrar and one SPA on links that lose, delay, reorder and duplicate, in virtual time. Everything
//! between them is encoded and decoded, so that what does not fit the wire does not pass here either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use damc_mgmt::config::Timers;
use damc_mgmt::event::EventKind;
use damc_mgmt::words::DownReason;
use damc_proto::auth::announcer::Announcer;
use damc_proto::auth::authority::{self, Authority};
use damc_proto::auth::licence::Licences;
use damc_proto::auth::registrar::{self, Directory, Holder, Registrar};
use damc_proto::io::PortId;
use damc_proto::router::PrefixClaim;
use damc_trust::{NodeKeys, NodeSecrets, RootSecret, Verifier};
use damc_wire::message::AnnounceReply;
use damc_wire::security::CertifiedName;
use damc_wire::{DropReason, Frame, Message, Name, NodeId, Role, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const SPA_PORT: PortId = PortId(100);
/// The SG's session towards every pod.
pub const SG_SESSION: u64 = 77;

pub fn name(s: &str) -> Name {
    s.parse().unwrap()
}

pub fn node(s: &str) -> NodeId {
    NodeId::new(s).unwrap()
}

pub fn root() -> RootSecret {
    RootSecret::from_seed(&[7; 32])
}

pub fn keys(id: &str, role: Role) -> NodeKeys {
    let secrets = NodeSecrets::derive(&[9; 32], &node(id));
    let certificate = match role {
        Role::Spa => root().issue_spa(&node("example"), &node(id), &secrets, certified()),
        _ => root().issue(&node("example"), &node(id), role, &secrets),
    };
    NodeKeys::new(&secrets, certificate).unwrap()
}

/// What the SPAs of these tests may grant: these names and all below them.
fn certified() -> Vec<CertifiedName> {
    let longest = format!("/{}", "x".repeat(62));
    let names = ["/A", "/B", "/C", "/load", "/shop", "/shopping", &longest];
    names.map(|name| CertifiedName { name: name.parse().unwrap(), exact: false }).to_vec()
}

pub fn verifier() -> Verifier {
    Verifier::new(root().public(), node("example"))
}

/// What other SGs advertise.
#[derive(Default)]
pub struct Elsewhere(pub Vec<(Name, Holder)>);

impl Directory for Elsewhere {
    fn holders(&self, name: &Name) -> Vec<Holder> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, h)| h.clone()).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Announced(String),
    AuthRequest,
    Granted(Name),
    Refused(Name),
    Lsa(Name),
    Suspended(Name),
    Purged(Name),
    AnnounceReply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    Sg(PortId),
    Spa,
    Pod(PortId),
}

pub struct Pod {
    pub announcer: Announcer,
    pub id: NodeId,
    pub keys: NodeKeys,
    pub replies: Vec<AnnounceReply>,
}

pub struct Bench {
    pub now: Timestamp,
    pub timers: Timers,
    pub registrar: Registrar,
    pub authority: Authority,
    pub pods: BTreeMap<PortId, Pod>,
    pub elsewhere: Elsewhere,
    /// Share of messages lost, per cent, on every link.
    pub loss: u32,
    /// Most extra delay, ms: reorders.
    pub jitter_ms: u64,
    /// Share of messages duplicated, per cent.
    pub duplicate: u32,
    pub spa_linked: bool,
    pub advertised: BTreeMap<(Name, NodeId), PrefixClaim>,
    pub admitted: BTreeMap<PortId, Vec<Name>>,
    pub steps: Vec<Step>,
    pub events: Vec<EventKind>,
    pub drops: BTreeMap<DropReason, u64>,
    /// Times an LSA of a name was originated or changed.
    pub originations: BTreeMap<Name, u64>,
    pub sent: Vec<(To, Message)>,
    queue: BTreeMap<(Timestamp, u64), (To, Message)>,
    serial: u64,
    random: ChaCha8Rng,
}

impl Bench {
    pub fn new(licences: &[(&str, &[&str])], pools: &[&str]) -> Self {
        let timers = Timers { grant_lifetime_ms: 60_000, ..Timers::default() };
        let mut bench = Self {
            now: Timestamp::from_millis(1000),
            registrar: Registrar::new(node("sg-1"), verifier(), &timers, 1),
            authority: authority_with(licences, pools, &timers),
            timers,
            pods: BTreeMap::new(),
            elsewhere: Elsewhere::default(),
            loss: 0,
            jitter_ms: 0,
            duplicate: 0,
            spa_linked: false,
            advertised: BTreeMap::new(),
            admitted: BTreeMap::new(),
            steps: Vec::new(),
            events: Vec::new(),
            drops: BTreeMap::new(),
            originations: BTreeMap::new(),
            sent: Vec::new(),
            queue: BTreeMap::new(),
            serial: 0,
            random: ChaCha8Rng::seed_from_u64(1),
        };
        bench.link_spa();
        bench
    }

    pub fn seeded(mut self, seed: u64) -> Self {
        self.random = ChaCha8Rng::seed_from_u64(seed);
        self
    }

    pub fn link_spa(&mut self) {
        self.spa_linked = true;
        self.registrar.spa_up(self.now, node("spa-1"), SPA_PORT);
        self.authority.sg_up(self.now, node("sg-1"), PortId(0));
        self.drain();
    }

    pub fn cut_spa(&mut self) {
        self.spa_linked = false;
        self.registrar.spa_down(&node("spa-1"));
        self.authority.sg_down(&node("sg-1"));
    }

    pub fn pod(&mut self, id: &str) -> PortId {
        let port = PortId(u16::try_from(self.pods.len()).unwrap());
        let keys = keys(id, Role::Pod);
        let announcer = Announcer::new(keys.clone(), &self.timers);
        self.pods.insert(port, Pod { announcer, id: node(id), keys, replies: Vec::new() });
        self.attach(port);
        port
    }

    pub fn attach(&mut self, port: PortId) {
        let pod = self.pods.get_mut(&port).unwrap();
        self.registrar.pod_up(pod.id.clone(), port, Arc::new(pod.keys.certificate().clone()));
        pod.announcer.sg_up(self.now, node("sg-1"), SG_SESSION);
        self.drain();
    }

    /// The pod ends.
    pub fn detach(&mut self, port: PortId) {
        self.lose(port, DownReason::Goodbye);
    }

    /// The adjacency of a pod ends.
    pub fn lose(&mut self, port: PortId, reason: DownReason) {
        let pod = self.pods.get_mut(&port).unwrap();
        pod.announcer.sg_down();
        let id = pod.id.clone();
        self.registrar.pod_down(self.now, &id, reason);
        self.queue.retain(|_, (to, _)| *to != To::Pod(port) && *to != To::Sg(port));
        self.drain();
    }

    pub fn service(&mut self, port: PortId, prefix: &str, pool: Option<&str>) {
        let now = self.now;
        self.pods.get_mut(&port).unwrap().announcer.service_up(now, name(prefix), pool.map(name), 1);
        self.drain();
    }

    pub fn end_service(&mut self, port: PortId, prefix: &str) {
        let now = self.now;
        self.pods.get_mut(&port).unwrap().announcer.service_down(now, &name(prefix));
        self.drain();
    }

    /// Forgets what it has noted so far, but for what is advertised and admitted.
    pub fn forget(&mut self) {
        self.steps = Vec::new();
        self.events = Vec::new();
        self.sent = Vec::new();
        self.pods.values_mut().for_each(|pod| pod.replies = Vec::new());
    }

    /// The names advertised for a pod.
    pub fn advertised_by(&self, pod: &str) -> Vec<String> {
        self.advertised.keys().filter(|(_, p)| p.as_str() == pod).map(|(n, _)| n.to_string()).collect()
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(&reason).copied().unwrap_or(0)
    }

    /// Runs for `ms` of virtual time.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.drain();
        loop {
            let queued = self.queue.keys().next().map(|(at, _)| *at);
            let timeouts = self.pods.values().map(|p| p.announcer.next_timeout());
            let due = timeouts
                .chain([queued, self.registrar.next_timeout(), self.authority.next_timeout()])
                .flatten()
                .min()
                .filter(|at| *at <= end);
            let Some(due) = due else { break };
            self.now = self.now.max(due);
            self.deliver();
            for pod in self.pods.values_mut() {
                pod.announcer.handle_timeout(self.now);
            }
            self.registrar.handle_timeout(self.now);
            self.authority.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Hands a message over at once, as if the adjacency had let it through.
    pub fn inject(&mut self, to: To, message: Message) {
        match (to, message) {
            (To::Sg(SPA_PORT), Message::AuthReply(reply)) => {
                let spa = node("spa-1");
                self.registrar.handle_reply(self.now, SPA_PORT, &spa, &reply, &self.elsewhere);
            }
            (To::Sg(SPA_PORT), Message::Revoke(revoke)) => {
                self.registrar.handle_revoke(self.now, SPA_PORT, &node("spa-1"), &revoke);
            }
            (To::Sg(port), Message::Announce(announce)) => {
                let pod = &self.pods[&port];
                let from = registrar::Announcer {
                    port,
                    pod: pod.id.clone(),
                    certificate: Arc::new(pod.keys.certificate().clone()),
                    own_session: SG_SESSION,
                };
                self.steps.push(Step::Announced(pod.id.to_string()));
                self.registrar.handle_announce(self.now, &from, announce, &self.elsewhere);
            }
            (To::Spa, Message::AuthRequest(request)) => {
                self.authority.handle_request(self.now, PortId(0), &node("sg-1"), &request);
            }
            (To::Spa, Message::RevokeAck(ack)) => self.authority.handle_revoke_ack(PortId(0), &node("sg-1"), &ack),
            (To::Pod(port), Message::AnnounceReply(reply)) => {
                let pod = self.pods.get_mut(&port).unwrap();
                pod.announcer.handle_reply(self.now, &reply);
                pod.replies.push(reply);
            }
            (to, message) => panic!("nobody takes {message:?} at {to:?}"),
        }
        self.drain();
    }

    fn deliver(&mut self) {
        while let Some(key) = self.queue.keys().next().copied().filter(|(at, _)| *at <= self.now) {
            let (to, message) = self.queue.remove(&key).unwrap();
            let spa_side = matches!(to, To::Spa | To::Sg(SPA_PORT));
            if self.spa_linked || !spa_side {
                self.inject(to, message);
            }
        }
    }

    fn drain(&mut self) {
        let mut sends = Vec::new();
        for (port, pod) in &mut self.pods {
            while let Some(announce) = pod.announcer.poll_send() {
                sends.push((To::Sg(*port), Message::Announce(announce)));
            }
        }
        while let Some(action) = self.registrar.poll_action() {
            self.note(action, &mut sends);
        }
        while let Some(action) = self.authority.poll_action() {
            match action {
                authority::Action::Send { message, .. } => sends.push((To::Sg(SPA_PORT), *message)),
                authority::Action::Event(event) => self.events.push(event),
                authority::Action::Dropped { reason, .. } => *self.drops.entry(reason).or_default() += 1,
            }
        }
        for (to, message) in sends {
            self.transmit(to, &message);
        }
    }

    fn note(&mut self, action: registrar::Action, sends: &mut Vec<(To, Message)>) {
        match action {
            registrar::Action::Send { port: SPA_PORT, message } => {
                if matches!(message, Message::AuthRequest(_)) {
                    self.steps.push(Step::AuthRequest);
                }
                sends.push((To::Spa, message));
            }
            registrar::Action::Send { port, message } => {
                self.steps.push(Step::AnnounceReply);
                sends.push((To::Pod(port), message));
            }
            registrar::Action::Originate(claim) => {
                self.steps.push(Step::Lsa(claim.prefix.clone()));
                *self.originations.entry(claim.prefix.clone()).or_default() += 1;
                self.advertised.insert((claim.prefix.clone(), claim.port.clone()), claim);
            }
            registrar::Action::Suspend { prefix, pod } => {
                self.steps.push(Step::Suspended(prefix.clone()));
                assert!(self.advertised.contains_key(&(prefix, pod)), "suspended what was not advertised");
            }
            registrar::Action::Withdraw { prefix, pod } => {
                self.steps.push(Step::Purged(prefix.clone()));
                assert!(self.advertised.remove(&(prefix, pod)).is_some(), "purged what was not advertised");
            }
            registrar::Action::Admit { port, sources, .. } => {
                self.admitted.insert(port, sources);
            }
            registrar::Action::Event(event) => {
                if let EventKind::Authenticated { prefix, refusal, .. } = &event {
                    let prefix = name(prefix);
                    let step = if refusal.is_some() { Step::Refused(prefix) } else { Step::Granted(prefix) };
                    self.steps.push(step);
                }
                self.events.push(event);
            }
            registrar::Action::Dropped { reason, .. } => *self.drops.entry(reason).or_default() += 1,
        }
    }

    fn transmit(&mut self, to: To, message: &Message) {
        let pdu = Frame::hop_local(message.clone()).encode().expect("every message fits one PDU");
        let decoded = Frame::decode(&pdu).expect("what was encoded decodes").message;
        assert_eq!(&decoded, message);
        self.sent.push((to, message.clone()));
        let copies = if self.random.random_range(0..100) < self.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            if self.random.random_range(0..100) < self.loss {
                continue;
            }
            let extra = self.random.random_range(0..=self.jitter_ms * 1000);
            let at = self.now + Duration::from_micros(500 + extra);
            self.serial += 1;
            self.queue.insert((at, self.serial), (to, message.clone()));
        }
    }
}

pub fn authority_with(licences: &[(&str, &[&str])], pools: &[&str], timers: &Timers) -> Authority {
    let mut book = Licences::default();
    for (pod, names) in licences {
        for n in *names {
            book.add(node(pod), name(n));
        }
    }
    for pool in pools {
        book.add_pool(name(pool));
    }
    Authority::new(keys("spa-1", Role::Spa), verifier(), book, timers)
}
