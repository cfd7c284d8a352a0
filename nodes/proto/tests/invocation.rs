//! Remote method invocation between the real caller and the real server, over a link that loses, delays and duplicates.

use std::collections::BTreeMap;
use std::time::Duration;

use damc_mgmt::event::EventKind;
use damc_proto::io::CallOutcome;
use damc_proto::rmi::caller::{self, Call, Caller};
use damc_proto::rmi::fetch::Owner;
use damc_proto::rmi::server::{self, CacheLimits, LONGEST_ARGUMENTS, Request, Served, Server};
use damc_wire::message::{Data, DataKind, Hop, Nack};
use damc_wire::registry::MAX_PDU;
use damc_wire::{Frame, Message, MessageType, Millis, Name, NodeId, RefusalReason, Timestamp, TraceContext};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn node(s: &str) -> NodeId {
    NodeId::new(s).unwrap()
}

fn call(handle: u64, method: &str, payload: &[u8]) -> Call {
    Call {
        handle,
        name: name("/B/4"),
        source: name("/A/1"),
        method: method.to_owned(),
        payload: payload.to_vec(),
        deadline: Duration::from_secs(2),
        trace: false,
        flow: None,
        context: None,
    }
}

/// A caller, a server and the service `/B/4` with the methods `add`, `fail`, `big`, `slow` and `never`.
struct Bench {
    now: Timestamp,
    caller: Caller,
    server: Server,
    loss: u32,
    duplicate: u32,
    delay: Duration,
    /// Executions by argument.
    executed: BTreeMap<Vec<u8>, u32>,
    done: BTreeMap<u64, CallOutcome>,
    /// Events of calls that failed.
    failed: Vec<EventKind>,
    frames: Vec<Frame>,
    unsolicited: u32,
    queue: BTreeMap<(Timestamp, u64), Event>,
    serial: u64,
    random: ChaCha8Rng,
}

enum Event {
    Arrives(Box<Frame>),
    Finishes(u64, Result<Vec<u8>, (RefusalReason, String)>),
}

impl Bench {
    fn new(seed: u64) -> Self {
        Self {
            now: Timestamp::from_millis(10),
            caller: Caller::new(seed, Duration::from_millis(100)),
            server: Server::new(CacheLimits::default()),
            loss: 0,
            duplicate: 0,
            delay: Duration::from_millis(5),
            executed: BTreeMap::new(),
            done: BTreeMap::new(),
            failed: Vec::new(),
            frames: Vec::new(),
            unsolicited: 0,
            queue: BTreeMap::new(),
            serial: 0,
            random: ChaCha8Rng::seed_from_u64(seed ^ 1),
        }
    }

    fn call(&mut self, call: Call) {
        self.caller.call(self.now, call);
        self.drain();
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            let queued = self.queue.keys().next().map(|(at, _)| *at);
            let due = [queued, self.caller.next_timeout(), self.server.next_timeout()].into_iter().flatten().min();
            let Some(due) = due.filter(|at| *at <= end) else { break };
            self.now = self.now.max(due);
            while let Some(key) = self.queue.keys().next().copied().filter(|(at, _)| *at <= self.now) {
                match self.queue.remove(&key).unwrap() {
                    Event::Arrives(frame) => self.arrive(*frame),
                    Event::Finishes(invocation, result) => {
                        self.server.handle_result(self.now, invocation, result);
                    }
                }
            }
            self.caller.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn arrive(&mut self, frame: Frame) {
        let Frame { header, names: Some((destination, source)), message: Message::Data(data), .. } = frame else {
            panic!("only data crosses this link")
        };
        if matches!(data.kind, DataKind::Request { .. }) {
            let served = Served::By(name("/B/4"));
            assert!(self.server.handle_request(self.now, Request { header, destination, source, data }, served));
        } else if !self.caller.handle_answer(&source, data) {
            self.unsolicited += 1;
        }
        self.drain();
    }

    fn drain(&mut self) {
        let mut sends = Vec::new();
        while let Some(action) = self.caller.poll_action() {
            match action {
                caller::Action::Send(frame) => sends.push(*frame),
                caller::Action::Done { handle, outcome } => {
                    assert!(self.done.insert(handle, outcome).is_none(), "a call ends once");
                }
                caller::Action::Event(event) => self.failed.push(event),
                // A server that holds no results, as they all once were.
                caller::Action::Fetch(order) => {
                    let Owner::Call(correlation) = order.owner else { panic!("{order:?}") };
                    let nothing = Err((Some(RefusalReason::NoSuchMethod), "no method get".to_owned()));
                    self.caller.handle_fetched(correlation, nothing);
                }
            }
        }
        while let Some(action) = self.server.poll_action() {
            match action {
                server::Action::Send(frame) => sends.push(*frame),
                server::Action::Invoke { invocation, method, payload, .. } => {
                    self.execute(invocation, &method, payload);
                }
                server::Action::Fetch(order) => panic!("{order:?}"),
            }
        }
        for frame in sends {
            let pdu = frame.encode().expect("fits one message");
            let frame = Frame::decode(&pdu).unwrap();
            self.frames.push(frame.clone());
            let copies = if self.random.random_range(0..100) < self.duplicate { 2 } else { 1 };
            for copy in 0..copies {
                if self.random.random_range(0..100) >= self.loss {
                    self.later(self.delay * (1 + copy), Event::Arrives(Box::new(frame.clone())));
                }
            }
        }
    }

    fn execute(&mut self, invocation: u64, method: &str, payload: Vec<u8>) {
        *self.executed.entry(payload.clone()).or_default() += 1;
        let text = String::from_utf8(payload).unwrap();
        let (after, result) = match method {
            "add" => {
                let sum: i64 = text.split(' ').map(|n| n.parse::<i64>().unwrap()).sum();
                (1, Ok(sum.to_string().into_bytes()))
            }
            "slow" => (500, Ok(b"late but in time".to_vec())),
            "big" => (1, Ok(vec![b'x'; 4000])),
            "fail" => (1, Err((RefusalReason::Failed, "as asked".to_owned()))),
            "never" => return,
            other => (1, Err((RefusalReason::NoSuchMethod, format!("no method {other}")))),
        };
        self.later(Duration::from_millis(after), Event::Finishes(invocation, result));
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), event);
    }

    fn result(&self, handle: u64) -> Result<String, (Option<RefusalReason>, String)> {
        self.done[&handle].result.clone().map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

#[test]
fn rmi_01_a_call_returns_the_result_in_two_correlated_frames() {
    let mut b = Bench::new(1);
    b.call(call(1, "add", b"2 3"));
    b.run(50);
    assert_eq!(b.result(1), Ok("5".to_owned()));
    let [Message::Data(request), Message::Data(response)] = [&b.frames[0].message, &b.frames[1].message] else {
        panic!("data")
    };
    assert_eq!(request.correlation, response.correlation);
    assert_eq!(b.frames.len(), 2, "no connection set-up, no acknowledgement (RMI-03)");
    assert_eq!(b.frames[0].header.flow, b.frames[1].header.flow);
    assert_eq!(b.frames[1].names, Some((name("/A/1"), name("/B/4"))));
}

#[test]
fn rmi_01_an_unknown_method_and_a_failure_are_typed_errors_not_timeouts() {
    let mut b = Bench::new(1);
    b.call(call(1, "divide", b"1"));
    b.call(call(2, "fail", b"2"));
    b.run(50);
    assert_eq!(b.result(1), Err((Some(RefusalReason::NoSuchMethod), "no method divide".to_owned())));
    assert_eq!(b.result(2), Err((Some(RefusalReason::Failed), "as asked".to_owned())));
}

#[test]
fn rmi_01_bad_methods_and_too_large_requests_fail_at_the_caller() {
    let mut b = Bench::new(1);
    b.call(call(1, "", b""));
    b.call(call(2, &"m".repeat(65), b""));
    b.call(call(3, "add", &vec![b'1'; LONGEST_ARGUMENTS + 1]));
    assert_eq!(b.result(1).unwrap_err().0, Some(RefusalReason::BadArguments));
    assert_eq!(b.result(2).unwrap_err().0, Some(RefusalReason::BadArguments));
    assert_eq!(b.result(3).unwrap_err().0, Some(RefusalReason::TooLarge));
    assert!(b.frames.is_empty());
    // The most that is held is more than a TLV could carry.
    b.call(call(4, "add", &vec![b'1'; LONGEST_ARGUMENTS]));
    assert!(!b.frames.is_empty(), "{:?}", b.result(4));
}

#[test]
fn rmi_04_a_too_large_result_is_an_error_and_never_silence() {
    let mut b = Bench::new(1);
    b.call(call(1, "big", b"x"));
    b.run(50);
    assert_eq!(b.result(1).unwrap_err().0, Some(RefusalReason::TooLarge));
}

#[test]
fn rmi_04_duplicate_responses_are_suppressed() {
    let mut b = Bench::new(1);
    b.duplicate = 100;
    b.call(call(1, "add", b"1 1"));
    b.run(50);
    assert_eq!(b.result(1), Ok("2".to_owned()));
    assert_eq!(b.executed[b"1 1".as_slice()], 1);
    assert!(b.unsolicited > 0, "the copies arrived and were counted");
}

/// WIRE.md, section 16: the trace of the caller, a span of the call's own, the same in every copy; answers have none.
#[test]
fn copies_of_a_request_carry_one_span_of_the_trace_they_belong_to() {
    let told: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff".parse().unwrap();
    let mut b = Bench::new(1);
    b.loss = 100;
    b.call(Call { context: Some(told), ..call(1, "add", b"1 1") });
    b.call(Call { context: Some(told), ..call(2, "add", b"1 2") });
    b.call(call(3, "add", b"1 3"));
    b.run(2500);
    let mut sent: BTreeMap<u64, Vec<Option<TraceContext>>> = BTreeMap::new();
    for frame in &b.frames {
        let Message::Data(Data { correlation, kind: DataKind::Request { context, .. }, .. }) = &frame.message else {
            panic!("only requests are sent")
        };
        sent.entry(*correlation).or_default().push(*context);
    }
    assert!(sent.values().all(|copies| copies.len() > 2 && copies.iter().all(|copy| *copy == copies[0])), "{sent:?}");
    let calls: Vec<TraceContext> = sent.values().filter_map(|copies| copies[0]).collect();
    let [one, other] = calls.as_slice() else { panic!("{sent:?}") };
    for context in [one, other] {
        assert_eq!((context.trace_id(), context.flags), (told.trace_id(), 0x01));
        assert_ne!(context.parent_id(), told.parent_id());
    }
    assert_ne!(one.parent_id(), other.parent_id());
    assert_eq!(b.done[&1].context.map(|context| *context.trace_id()), Some(*told.trace_id()));
    assert_eq!(b.done[&3].context, None);
}

/// GAP-29: lost requests and lost responses are made good by retransmission, and nothing is executed twice.
#[test]
fn gap_29_at_most_once_at_thirty_per_cent_loss_and_duplication() {
    let mut b = Bench::new(3);
    b.loss = 30;
    b.duplicate = 30;
    for i in 0..500 {
        let method = if i % 5 == 0 { "slow" } else { "add" };
        b.call(call(i, method, format!("{i} 1").as_bytes()));
        b.run(20);
    }
    b.run(3000);
    assert_eq!(b.done.len(), 500, "every call ends");
    assert!(b.executed.values().all(|n| *n == 1));
    let failed = b.done.values().filter(|o| o.result.is_err()).count();
    // A call is lost only if five attempts fail at 49 % each within the deadline; it ends with a timeout then.
    assert!(failed <= 40, "{failed}");
    assert!(b.done.values().filter_map(|o| o.result.as_ref().err()).all(|(reason, _)| reason.is_none()));
}

#[test]
fn rmi_04_one_per_cent_loss_fails_no_call() {
    let mut b = Bench::new(4);
    b.loss = 1;
    for i in 0..2000 {
        b.call(call(i, "add", format!("{i} 1").as_bytes()));
        b.run(5);
    }
    b.run(3000);
    for i in 0..2000 {
        assert_eq!(b.result(i), Ok((i + 1).to_string()));
    }
}

#[test]
fn gap_29_equal_calls_are_different_calls() {
    let mut b = Bench::new(1);
    b.call(call(1, "add", b"1 1"));
    b.call(call(2, "add", b"1 1"));
    b.run(50);
    assert_eq!(b.executed[b"1 1".as_slice()], 2);
}

#[test]
fn gap_29_an_expired_request_is_not_executed() {
    let mut b = Bench::new(1);
    let data = Data {
        correlation: 5,
        kind: DataKind::Request { method: "add".into(), deadline: Millis(0), context: None },
        payload: b"1 1".to_vec(),
        hops: Vec::new(),
    };
    b.arrive(Frame::plain(name("/B/4"), name("/A/1"), 1, Message::Data(data)));
    assert!(b.executed.is_empty());
    let Message::Data(answer) = &b.frames[0].message else { panic!("data") };
    assert_eq!(answer.kind, DataKind::Error { reason: RefusalReason::DeadlineExceeded });
    let mut expired = call(9, "add", b"1 1");
    expired.deadline = Duration::ZERO;
    b.call(expired);
    assert_eq!(b.result(9).unwrap_err().0, Some(RefusalReason::DeadlineExceeded));
}

#[test]
fn gap_29_deadlines_free_the_server_and_the_caller() {
    let mut b = Bench::new(1);
    b.call(call(1, "never", b"x"));
    b.run(1999);
    assert!(b.done.is_empty());
    b.run(2);
    assert_eq!(b.result(1).unwrap_err().0, None, "a timeout of the caller");
    let number = b.done[&1].correlation.map(|correlation| format!("{correlation:016x}"));
    let told =
        |e: &EventKind| matches!(e, EventKind::CallFailed { call, reason: None, .. } if Some(call) == number.as_ref());
    assert_eq!(b.failed.iter().filter(|e| told(e)).count(), 1, "{:?}", b.failed);
    b.run(100);
    assert!(!b.server.handle_result(b.now, 1, Ok(b"too late".to_vec())), "the invocation is over");
    assert_eq!(b.caller.pending(), 0);
    b.run(CacheLimits::default().linger.as_millis().try_into().unwrap());
    assert_eq!(b.server.remembered(), 0);
}

#[test]
fn gap_29_a_late_answer_of_the_service_is_not_sent() {
    let mut b = Bench::new(1);
    let mut hasty = call(1, "slow", b"x");
    hasty.deadline = Duration::from_millis(300);
    b.call(hasty);
    b.run(1000);
    assert_eq!(b.result(1).unwrap_err().0, None);
    assert!(
        b.frames.iter().all(|f| matches!(&f.message, Message::Data(d) if matches!(d.kind, DataKind::Request { .. })))
    );
}

#[test]
fn gap_29_a_full_memory_refuses_rather_than_forgets() {
    let mut b = Bench::new(1);
    b.server = Server::new(CacheLimits { entries: 10, bytes: 1 << 20, ..CacheLimits::default() });
    for i in 0..12 {
        b.call(call(i, "add", format!("{i} 0").as_bytes()));
    }
    b.run(50);
    let refused: Vec<u64> = (0..12).filter(|i| b.result(*i).is_err()).collect();
    assert_eq!(refused, [10, 11]);
    assert_eq!(b.result(10).unwrap_err().0, Some(RefusalReason::Overloaded));
    b.run(10_000);
    b.call(call(20, "add", b"1 1"));
    b.run(50);
    assert_eq!(b.result(20), Ok("2".to_owned()), "room again once the old calls cannot be repeated any more");
}

#[test]
fn gap_29_memory_is_bounded_in_bytes() {
    let mut b = Bench::new(1);
    b.server = Server::new(CacheLimits { entries: 1000, bytes: 3 * MAX_PDU, ..CacheLimits::default() });
    for i in 0..5 {
        b.call(call(i, "never", format!("{i}").as_bytes()));
    }
    b.run(50);
    assert_eq!(b.server.remembered(), 3);
    assert_eq!(b.done.len(), 2);
}

#[test]
fn a_service_that_ends_answers_what_it_was_working_on() {
    let mut b = Bench::new(1);
    b.call(call(1, "never", b"x"));
    b.run(50);
    b.server.service_down(&name("/B/4"));
    b.drain();
    b.run(50);
    assert_eq!(b.result(1).unwrap_err().0, Some(RefusalReason::ServiceUnavailable));
}

#[test]
fn gap_10_a_negative_reply_ends_the_call_with_reason_and_node() {
    let mut b = Bench::new(1);
    b.loss = 100;
    b.call(call(1, "add", b"1 1"));
    let pdu = b.frames[0].encode().unwrap();
    let nack = |reason, destination: &str| Nack {
        reason,
        node: node("sr-left"),
        answered: MessageType::Data,
        destination: name(destination),
        body: damc_wire::frame::body_of(&pdu).unwrap().to_vec(),
    };
    assert!(!b.caller.handle_nack(&nack(RefusalReason::NoRoute, "/B/5")), "of another call");
    assert!(b.caller.handle_nack(&nack(RefusalReason::NoRoute, "/B/4")));
    assert!(!b.caller.handle_nack(&nack(RefusalReason::NoRoute, "/B/4")), "once");
    b.drain();
    assert_eq!(b.result(1), Err((Some(RefusalReason::NoRoute), "sr-left".to_owned())));
    b.run(3000);
    assert_eq!(b.frames.len(), 1, "nothing is repeated after that");
}

#[test]
fn rmi_01_the_path_there_and_back_is_told() {
    let mut b = Bench::new(1);
    b.loss = 100;
    let mut traced = call(1, "add", b"1 1");
    traced.trace = true;
    b.call(traced);
    let mut request = b.frames[0].clone();
    let Message::Data(data) = &mut request.message else { panic!("data") };
    data.hops = vec![Hop { node: node("sg-1"), on_return: false }, Hop { node: node("sg-4"), on_return: false }];
    b.arrive(request);
    b.run(20);
    let mut response = b.frames.last().unwrap().clone();
    assert_ne!(response.header.flags, 0, "the response is traced as well");
    let Message::Data(data) = &mut response.message else { panic!("data") };
    data.hops.push(Hop { node: node("sg-4"), on_return: true });
    data.hops.push(Hop { node: node("sg-1"), on_return: true });
    b.arrive(response);
    assert_eq!(b.done[&1].path, [node("sg-1"), node("sg-4")]);
    assert_eq!(b.done[&1].return_path, [node("sg-4"), node("sg-1")]);
}

#[test]
fn nobody_serves_the_name() {
    let mut b = Bench::new(1);
    b.loss = 100;
    b.call(call(1, "add", b"1 1"));
    let Frame { header, names: Some((destination, source)), message: Message::Data(data), .. } = b.frames[0].clone()
    else {
        panic!("data")
    };
    let request = Request { header, destination, source, data };
    let nobody = |speaker| Served::Nobody { reason: RefusalReason::ServiceUnavailable, speaker };
    assert!(!b.server.handle_request(b.now, request.clone(), nobody(None)), "no name to answer from");
    assert!(b.server.handle_request(b.now, request, nobody(Some(name("/A/4")))));
    let Some(server::Action::Send(frame)) = b.server.poll_action() else { panic!("an answer") };
    assert_eq!(frame.names, Some((name("/A/1"), name("/A/4"))));
    let Message::Data(answer) = frame.message else { panic!("data") };
    assert_eq!(answer.kind, DataKind::Error { reason: RefusalReason::ServiceUnavailable });
    assert!(b.executed.is_empty());
}
