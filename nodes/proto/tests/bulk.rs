//! Results and arguments that do not fit one message, between two real pods' parts over a link that loses (GAP-18, RMI-05).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use damc_proto::io::CallOutcome;
use damc_proto::rmi::builtin::{self, Outcome};
use damc_proto::rmi::caller::{self, Call, Caller};
use damc_proto::rmi::fetch::{self, Fetcher, Owner};
use damc_proto::rmi::holding::{Held, LONGEST};
use damc_proto::rmi::server::{self, CacheLimits, Request, Served, Server};
use damc_wire::message::DataKind;
use damc_wire::{Frame, Message, Name, RefusalReason, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

/// The parts of a pod's agent that calls go through, and its only service.
struct Agent {
    service: Name,
    caller: Caller,
    server: Server,
    fetcher: Fetcher,
}

struct Bench {
    now: Timestamp,
    agents: [Agent; 3],
    /// Per mille.
    loss: u32,
    delay: Duration,
    /// Frames and results under way, by time.
    queue: BTreeMap<(Timestamp, u64), Event>,
    serial: u64,
    random: ChaCha8Rng,
    done: BTreeMap<u64, CallOutcome>,
    executed: u32,
    /// Requests for segments that are not answered, and the most there were.
    asked: BTreeSet<u64>,
    most_asked: usize,
    frames: usize,
}

enum Event {
    Arrives(Box<Frame>),
    Finishes(usize, u64, Result<Vec<u8>, (RefusalReason, String)>),
}

impl Bench {
    fn new(seed: u64) -> Self {
        let agent = |service: &str, seed: u64| Agent {
            service: name(service),
            caller: Caller::new(seed, Duration::from_millis(100)),
            server: Server::new(CacheLimits::default()),
            fetcher: Fetcher::new(seed + 1, Duration::from_millis(100)),
        };
        Self {
            now: Timestamp::from_millis(10),
            agents: [agent("/A/1", seed), agent("/B/4", seed + 100), agent("/C/2", seed + 200)],
            loss: 0,
            delay: Duration::from_millis(5),
            queue: BTreeMap::new(),
            serial: 0,
            random: ChaCha8Rng::seed_from_u64(seed),
            done: BTreeMap::new(),
            executed: 0,
            asked: BTreeSet::new(),
            most_asked: 0,
            frames: 0,
        }
    }

    fn call(&mut self, (agent, handle): (usize, u64), to: &str, method: &str, payload: &[u8]) {
        let call = Call {
            handle,
            name: name(to),
            source: self.agents[agent].service.clone(),
            method: method.to_owned(),
            payload: payload.to_vec(),
            deadline: Duration::from_secs(60),
            trace: false,
            flow: None,
            context: None,
        };
        self.agents[agent].caller.call(self.now, call);
        self.drain();
    }

    fn put(&mut self, after: Duration, event: Event) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), event);
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let timers = |a: &Agent| [a.caller.next_timeout(), a.server.next_timeout(), a.fetcher.next_timeout()];
            let timer = self.agents.iter().flat_map(timers).flatten().min();
            let queued = self.queue.keys().next().map(|(at, _)| *at);
            let Some(due) = [queued, timer].into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(due);
            while let Some(key) = self.queue.keys().next().copied().filter(|(at, _)| *at <= self.now) {
                match self.queue.remove(&key).unwrap() {
                    Event::Arrives(frame) => self.arrive(*frame),
                    Event::Finishes(agent, invocation, result) => {
                        self.agents[agent].server.handle_result(self.now, invocation, result);
                    }
                }
                self.drain();
            }
            for agent in &mut self.agents {
                agent.caller.handle_timeout(self.now);
                agent.server.handle_timeout(self.now);
                agent.fetcher.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    fn arrive(&mut self, frame: Frame) {
        let Frame { header, names: Some((destination, source)), message: Message::Data(data), .. } = frame else {
            panic!("only data crosses this link")
        };
        let Some(agent) = self.agents.iter_mut().find(|a| a.service.is_prefix_of(&destination)) else { return };
        if matches!(data.kind, DataKind::Request { .. }) {
            let request = Request { header, destination, source, data };
            if let Some((holder, held)) = Held::of(&request.destination) {
                let arguments = agent.caller.holdings().has(&holder, (&request.source, held.handle));
                let holdings = if arguments { agent.caller.holdings() } else { agent.server.holdings() };
                let answer = holdings.handle_request(&request, (&holder, held)).unwrap();
                return self.send(answer);
            }
            let served = Served::By(agent.service.clone());
            assert!(agent.server.handle_request(self.now, request, served));
            return;
        }
        self.asked.remove(&data.correlation);
        if !agent.fetcher.handle_answer(self.now, &data) {
            agent.caller.handle_answer(&source, data);
        }
    }

    fn send(&mut self, frame: Frame) {
        let pdu = frame.encode().expect("what is sent fits a frame");
        assert_eq!(Frame::decode(&pdu).as_ref(), Ok(&frame));
        self.frames += 1;
        if self.random.random_range(0..1000) >= self.loss {
            self.put(self.delay, Event::Arrives(Box::new(frame)));
        } else if let Message::Data(data) = frame.message {
            self.asked.remove(&data.correlation);
        }
    }

    fn drain(&mut self) {
        for at in 0..self.agents.len() {
            loop {
                while let Some(action) = self.agents[at].caller.poll_action() {
                    match action {
                        caller::Action::Send(frame) => self.send(*frame),
                        caller::Action::Done { handle, outcome } => {
                            assert!(self.done.insert(handle, outcome).is_none(), "a call ends once");
                        }
                        caller::Action::Event(_) => {}
                        caller::Action::Fetch(order) => self.agents[at].fetcher.fetch(self.now, order),
                    }
                }
                while let Some(action) = self.agents[at].server.poll_action() {
                    match action {
                        server::Action::Send(frame) => self.send(*frame),
                        server::Action::Invoke { invocation, method, payload, .. } => {
                            self.execute(at, invocation, &method, payload);
                        }
                        server::Action::Fetch(order) => self.agents[at].fetcher.fetch(self.now, order),
                    }
                }
                match self.agents[at].fetcher.poll_action() {
                    Some(fetch::Action::Send(frame)) => {
                        if let Message::Data(data) = &frame.message {
                            self.asked.insert(data.correlation);
                            self.most_asked = self.most_asked.max(self.asked.len());
                        }
                        self.send(*frame);
                    }
                    Some(fetch::Action::Done(Owner::Call(call), fetched)) => {
                        self.agents[at].caller.handle_fetched(call, fetched);
                    }
                    Some(fetch::Action::Done(Owner::Arguments(source, call), fetched)) => {
                        self.agents[at].server.handle_arguments(self.now, &source, call, fetched);
                    }
                    None => break,
                }
            }
        }
    }

    fn execute(&mut self, agent: usize, invocation: u64, method: &str, payload: Vec<u8>) {
        self.executed += 1;
        let (after, result) = match builtin::run("/B/4", method, &payload, None) {
            Outcome::Done(result) => (Duration::ZERO, Ok(result)),
            Outcome::Later(time) => (time, Ok(payload)),
            Outcome::Failed(reason, detail) => (Duration::ZERO, Err((reason, detail))),
        };
        self.put(after, Event::Finishes(agent, invocation, result));
    }

    fn result(&self, handle: u64) -> Result<&[u8], (Option<RefusalReason>, &str)> {
        let outcome = self.done.get(&handle).expect("the call has ended");
        outcome.result.as_deref().map_err(|(reason, detail)| (*reason, detail.as_str()))
    }
}

fn bulk(length: usize) -> Vec<u8> {
    let Outcome::Done(bytes) = builtin::run("/B/4", "bulk", length.to_string().as_bytes(), None) else { panic!() };
    bytes
}

#[test]
fn rmi_04_sixteen_megabytes_come_whole_at_five_per_cent_loss() {
    let mut b = Bench::new(1);
    b.loss = 50;
    b.call((0, 1), "/B/4", "bulk", LONGEST.to_string().as_bytes());
    b.run(60);
    assert!(b.result(1) == Ok(&bulk(LONGEST)), "whole");
    assert_eq!(b.executed, 1);
    let least = LONGEST / 1200 * 2;
    assert!(b.frames < least * 5 / 4, "{} frames for at least {least}: only what was lost is sent again", b.frames);
    let (held, _) = b.agents[1].server.holdings().counts();
    assert_eq!(held, 0, "nothing is held that has been fetched");
}

#[test]
fn rmi_04_results_around_the_size_of_a_message_come_whole() {
    let mut b = Bench::new(2);
    let sizes = [0, 1, 1199, 1200, 1201, 1300, 1400, 1499, 1500, 1501, 2400, 2401, 100_000];
    for (handle, size) in (1..).zip(sizes) {
        b.call((0, handle), "/B/4", "bulk", size.to_string().as_bytes());
    }
    b.run(10);
    for (handle, size) in (1..).zip(sizes) {
        assert!(b.result(handle) == Ok(&bulk(size)), "{size}");
    }
}

/// A window of segments is in flight, never the whole result.
#[test]
fn rmi_04_a_fetch_keeps_to_its_window() {
    let mut b = Bench::new(3);
    b.call((0, 1), "/B/4", "bulk", b"4000000");
    b.run(20);
    assert!(b.result(1) == Ok(&bulk(4_000_000)));
    assert!(b.most_asked <= 257, "{} requests at one time", b.most_asked);
    assert!(b.most_asked > 100, "the window grows: {}", b.most_asked);
    let calm = b.most_asked;
    let mut b = Bench::new(3);
    b.loss = 50;
    b.call((0, 1), "/B/4", "bulk", b"4000000");
    b.run(60);
    assert!(b.result(1) == Ok(&bulk(4_000_000)));
    assert!(b.most_asked < calm, "losses keep it small: {} of {calm}", b.most_asked);
}

#[test]
fn rmi_05_a_long_call_answers_with_a_name_at_once_and_with_its_result_there() {
    let mut b = Bench::new(4);
    b.call((0, 1), "/B/4/~later", "sleep", b"3000");
    b.run(1);
    let handle = String::from_utf8(b.result(1).unwrap().to_vec()).unwrap();
    assert!(handle.starts_with("/B/4/~h/"), "{handle}");
    b.call((2, 2), &handle, "get", b"");
    b.call((0, 3), &handle, "get", b"");
    b.run(1);
    assert_eq!(b.result(2).unwrap_err().0, Some(RefusalReason::NoSuchInstance), "it is nobody else's");
    assert!(!b.done.contains_key(&3), "the method still runs");
    b.run(3);
    assert_eq!(b.result(3), Ok(&b"3000"[..]));
    b.call((0, 4), &handle, "get", b"");
    b.run(1);
    assert_eq!(b.result(4).unwrap_err().0, Some(RefusalReason::NoSuchInstance), "fetched once");
    b.call((0, 5), "/B/4/~later", "fail", b"as it must");
    b.run(1);
    let handle = String::from_utf8(b.result(5).unwrap().to_vec()).unwrap();
    b.call((0, 6), &handle, "get", b"");
    b.run(1);
    assert_eq!(b.result(6), Err((Some(RefusalReason::Failed), "as it must")), "errors are fetched too");
}

#[test]
fn rmi_05_long_arguments_are_fetched_from_the_caller_before_the_method_runs() {
    let mut b = Bench::new(5);
    b.loss = 50;
    let arguments = bulk(40_000);
    b.call((0, 1), "/B/4", "echo", &arguments);
    b.run(30);
    assert!(b.result(1) == Ok(&arguments), "there and back");
    assert_eq!(b.executed, 1);
    assert_eq!(b.agents[0].caller.holdings().counts().0, 0, "nothing is held for a call that is over");
}

/// What is held is bounded, and what is not fetched goes.
#[test]
fn gap_18_what_is_held_is_bounded_and_forgotten() {
    let mut b = Bench::new(6);
    for handle in 1..=5 {
        b.call((0, handle), "/B/4/~later", "bulk", LONGEST.to_string().as_bytes());
    }
    b.run(1);
    let at = |b: &Bench, handle| String::from_utf8(b.result(handle).unwrap().to_vec()).unwrap();
    let (first, last) = (at(&b, 1), at(&b, 5));
    b.call((0, 11), &first, "get", b"");
    b.call((0, 15), &last, "get", b"");
    b.run(30);
    assert!(b.result(11) == Ok(&bulk(LONGEST)));
    assert_eq!(b.result(15).unwrap_err().0, Some(RefusalReason::Overloaded), "64 MiB hold four of them");
    let mut b = Bench::new(7);
    b.call((0, 1), "/B/4/~later", "bulk", b"100000");
    b.run(1);
    assert_eq!(b.agents[1].server.holdings().counts().0, 1);
    b.run(130);
    assert_eq!(b.agents[1].server.holdings().counts().0, 0, "nobody came for it");
}
