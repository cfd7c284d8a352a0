//! What becomes of a machine's outputs, with a machine that does what a test tells it.

use std::sync::Mutex;

use damc_forward::{Gone, HashKey, NextHop, Route};
use damc_link::TrafficReader;
use damc_mgmt::call::CallRequest;
use damc_mgmt::command::PathAnswer;
use damc_mgmt::view::{FibView, View};
use damc_mgmt::words::{ServiceState, Trigger};
use damc_proto::io::CallOutcome;
use damc_wire::message::{Data, DataKind};
use damc_wire::{Frame, Message, NodeId, RefusalReason};

use super::*;

/// What a machine was given, in words.
type Heard = Arc<Mutex<Vec<String>>>;

/// Says what it was given and answers by `react`.
struct Puppet<F> {
    heard: Heard,
    react: F,
    outputs: VecDeque<Output>,
}

impl<F: FnMut(&Input<'_>) -> Vec<Output>> Machine for Puppet<F> {
    fn handle(&mut self, _now: Timestamp, input: Input<'_>) {
        let words = match &input {
            Input::Frame { port, pdu, .. } => format!("frame by {port:?}: {}", destination(pdu)),
            Input::Undeliverable { port, reason, pdu } => {
                format!("undeliverable by {port:?}, {reason}: {}", destination(pdu))
            }
            other => format!("{other:?}"),
        };
        self.heard.lock().unwrap().push(words);
        self.outputs.extend((self.react)(&input));
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        None
    }

    fn view(&self, _now: Timestamp, kind: ViewKind) -> Option<View> {
        (kind == ViewKind::Fib).then(|| FibView { node: "sg-1".into(), ..FibView::default() }.into())
    }
}

/// A port that keeps what it was given, batch by batch.
#[derive(Clone, Default)]
struct Kept {
    batches: Arc<Mutex<Vec<Vec<String>>>>,
    report: SendReport,
}

impl Port for Kept {
    fn send_all(&self, pdus: &[Vec<u8>]) -> SendReport {
        self.batches.lock().unwrap().push(pdus.iter().map(|pdu| destination(pdu)).collect());
        self.report
    }
}

/// Everything around a machine with two ports.
struct Stage {
    effects: Effects<Kept>,
    heard: Heard,
    ports: [Kept; 2],
    events: Arc<EventLog>,
    counters: Arc<Counters>,
}

impl Stage {
    fn new(with_plane: bool, react: impl FnMut(&Input<'_>) -> Vec<Output> + Send + 'static) -> Self {
        let (heard, ports) = (Heard::default(), [Kept::default(), Kept::default()]);
        let machine = Puppet { heard: Arc::clone(&heard), react, outputs: VecDeque::new() };
        let (events, counters) = (Arc::new(EventLog::default()), Arc::new(Counters::new()));
        let traffic = || Traffic::new(TrafficReader::open().expect("/proc"), vec!["lo".into(), "none".into()]);
        let effects = Effects::new(
            Box::new(machine),
            ports.to_vec(),
            with_plane.then(|| (Plane::new(HashKey(1, 2)), traffic())),
            Arc::clone(&events),
            Arc::clone(&counters),
            Supervisor::new("pod-1".into(), "example".into(), "key".into(), None),
        );
        Self { effects, heard, ports, events, counters }
    }

    fn sent(&self, port: usize) -> Vec<Vec<String>> {
        self.ports[port].batches.lock().unwrap().clone()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        let mut view = damc_mgmt::view::CountersView::default();
        self.counters.add_to(&mut view);
        view.dropped.get(reason)
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// A routed frame to this name.
fn frame_to(text: &str) -> Vec<u8> {
    let data = Data { correlation: 1, kind: DataKind::Response, payload: Vec::new(), hops: Vec::new() };
    Frame::plain(name(text), name("/from"), 0, Message::Data(data)).encode().expect("short")
}

fn destination(pdu: &[u8]) -> String {
    let names = Frame::decode(pdu).ok().and_then(|frame| frame.names);
    names.map_or_else(|| format!("{pdu:?}"), |(destination, _)| destination.to_string())
}

fn send(port: u16, to: &str) -> Output {
    Output::Send { port: PortId(port), pdu: frame_to(to) }
}

fn routed(to: &str) -> Output {
    Output::Route { pdu: frame_to(to) }
}

/// A route by way of a port; of no port: to this node itself.
fn route(prefix: &str, port: Option<u16>) -> Output {
    let next_hops = port.map(|port| NextHop::new(PortId(port), 1));
    let plain = Route::plain(name(prefix), next_hops.into_iter().collect());
    Output::Fib(vec![Op::Set(Route { cost: 1, local: port.is_none(), deliver: port.is_none(), ..plain })])
}

/// Reacts to a tick and to nothing else.
fn on_tick(outputs: Vec<Output>) -> impl FnMut(&Input<'_>) -> Vec<Output> + Send {
    move |input| if matches!(input, Input::Tick) { outputs.clone() } else { Vec::new() }
}

#[test]
fn frames_leave_in_order_and_together_by_port() {
    let mut stage = Stage::new(true, on_tick(vec![send(0, "/1"), send(1, "/2"), send(0, "/3"), send(7, "/4")]));
    stage.effects.feed(Input::Tick);
    assert_eq!(stage.sent(0), [["/1", "/3"]]);
    assert_eq!(stage.sent(1), [["/2"]], "a port that is not there takes nothing");
    stage.effects.feed(Input::PortUp(PortId(0)));
    assert_eq!(stage.sent(0).len(), 1, "what was sent is not sent again");
}

#[test]
fn a_routed_frame_sees_the_table_as_it_was_changed_before_it() {
    let remove = Output::Fib(vec![Op::Remove { prefix: name("/A"), gone: Gone::Withdrawn }]);
    let outputs = vec![routed("/A/1"), route("/A", Some(1)), routed("/A/2"), remove, routed("/A/3")];
    let mut stage = Stage::new(true, on_tick(outputs));
    stage.effects.feed(Input::Tick);
    assert_eq!((stage.sent(0), stage.sent(1)), (vec![], vec![vec!["/A/2".to_owned()]]));
    assert_eq!(stage.dropped(DropReason::NoRoute), 2);
    let refused = |to: &str| format!("undeliverable by None, {}: {to}", DropReason::NoRoute);
    assert_eq!(stage.heard(), ["Tick".to_owned(), refused("/A/1"), refused("/A/3")]);
}

#[test]
fn an_own_frame_for_this_node_comes_back_after_everything_before_it_has_left() {
    let mut stage = Stage::new(true, |input| match input {
        Input::Tick => vec![route("/self", None), routed("/self/a"), send(0, "/1"), routed("/self/b")],
        Input::Frame { port: None, pdu, .. } if destination(pdu) == "/self/a" => vec![send(0, "/2")],
        _ => Vec::new(),
    });
    stage.effects.feed(Input::Tick);
    assert_eq!(stage.heard(), ["Tick", "frame by None: /self/a", "frame by None: /self/b"]);
    assert_eq!(stage.sent(0), [["/1"], ["/2"]], "an answer is a batch of its own");
    let mut view = damc_mgmt::view::CountersView::default();
    stage.counters.add_to(&mut view);
    assert_eq!(view.delivered, 2);
}

#[test]
fn nothing_is_lost_at_the_stop() {
    let mut stage = Stage::new(true, |input| match input {
        Input::Command { command: Command::Stop, .. } => {
            vec![route("/self", None), send(0, "/purge"), routed("/self/last"), send(1, "/goodbye")]
        }
        Input::Frame { .. } => vec![send(1, "/answer")],
        _ => Vec::new(),
    });
    stage.effects.stop();
    assert!(stage.effects.stopping());
    assert_eq!(stage.sent(0), [["/purge"]]);
    assert_eq!(stage.sent(1), [["/goodbye"], ["/answer"]]);
    stage.effects.stop();
    assert_eq!(stage.sent(0).len(), 1, "a node takes leave once");
}

#[test]
fn frames_that_wait_are_taken_before_anything_follows() {
    let mut stage = Stage::new(true, |input| match input {
        Input::Frame { .. } => vec![send(0, "/ack")],
        _ => Vec::new(),
    });
    stage.effects.take(PortId(0), Timestamp(0), &frame_to("/1"));
    stage.effects.take(PortId(1), Timestamp(0), &frame_to("/2"));
    assert_eq!(stage.sent(0).len(), 0);
    stage.effects.tick(Timestamp(0));
    assert_eq!(stage.sent(0), [["/ack", "/ack"]]);
}

#[test]
fn a_lost_port_is_out_of_the_table_before_the_machine_hears_of_it() {
    let mut stage = Stage::new(true, |input| match input {
        Input::Tick => vec![route("/A", Some(0))],
        Input::PortDown(_) => vec![routed("/A/1")],
        _ => Vec::new(),
    });
    stage.effects.feed(Input::Tick);
    stage.effects.lose_port(PortId(0));
    stage.effects.feed(Input::PortDown(PortId(0)));
    assert_eq!(stage.sent(0).len(), 0, "nothing is sent into a dead port");
    assert_eq!(stage.heard().len(), 3, "the frame came back: {:?}", stage.heard());
}

#[test]
fn what_the_kernel_does_not_take_is_counted() {
    let mut stage = Stage::new(false, on_tick(vec![send(0, "/1")]));
    stage.effects.ports[0].report = SendReport { queue_full: 3, down: 2, failed: 1, ..SendReport::default() };
    stage.effects.feed(Input::Tick);
    let reasons = [DropReason::QueueFull, DropReason::PortDown, DropReason::SendFailed];
    assert_eq!(reasons.map(|reason| stage.dropped(reason)), [3, 2, 1]);
}

#[test]
fn ports_are_counted_when_a_report_is_due() {
    let mut stage = Stage::new(true, |input| match input {
        Input::Tick => vec![Output::CountPorts, send(0, "/1")],
        Input::PortCounts(_) => vec![send(0, "/report")],
        _ => Vec::new(),
    });
    stage.effects.feed(Input::Tick);
    assert_eq!(stage.sent(0), [["/1"], ["/report"]]);
    let told = stage.heard().remove(1);
    assert!(told.starts_with("PortCounts([PortCount { port: PortId(0)") && !told.contains("PortId(1)"), "{told}");
}

#[test]
fn the_time_of_a_computation_is_measured_around_the_machine() {
    let mut stage = Stage::new(true, |input| {
        if !matches!(input, Input::Tick) {
            return Vec::new();
        }
        let begin = monotonic_now();
        while monotonic_now() == begin {}
        let computed = EventKind::Computed { full: true, duration_ns: 0, prefixes: 1, trigger: Trigger::Topology };
        vec![Output::Event(computed)]
    });
    stage.effects.feed(Input::Tick);
    let text = stage.events.since(0).0;
    let event: serde_json::Value = serde_json::from_str(&text).expect("an event");
    assert!(event["duration_ns"].as_u64() > Some(0), "{event}");
}

#[test]
fn services_are_started_for_the_machine_and_refused_where_there_are_none() {
    let mut stage = Stage::new(false, |input| match input {
        Input::Tick => vec![Output::Invoke {
            invocation: 7,
            prefix: name("/A/1"),
            source: name("/B/1"),
            method: "add".into(),
            payload: Vec::new(),
            deadline: Duration::from_secs(1),
            context: None,
        }],
        _ => Vec::new(),
    });
    stage.effects.feed(Input::Tick);
    let told = stage.heard().remove(1);
    assert!(told.contains("Answer { invocation: 7, result: Err((ServiceUnavailable"), "{told}");
}

// ===== questions =====

fn asked<T>(ask: impl FnOnce(oneshot::Sender<T>)) -> oneshot::Receiver<T> {
    let (answer, answered) = oneshot::channel();
    ask(answer);
    answered
}

#[test]
fn views_come_from_the_machine_and_services_from_the_pod() {
    let mut pod = Stage::new(false, |_| Vec::new());
    let mut ask = |kind| asked(|answer| pod.effects.answer(Request::View(kind, answer))).try_recv().expect("answered");
    assert!(matches!(ask(ViewKind::Fib), Some(View::Fib(view)) if view.node == "sg-1"));
    assert_eq!(ask(ViewKind::Rib), None);
    assert!(matches!(ask(ViewKind::Services), Some(View::Services(view)) if view.services.is_empty()));
    let mut sg = Stage::new(true, |_| Vec::new());
    let services = asked(|answer| sg.effects.answer(Request::View(ViewKind::Services, answer))).try_recv();
    assert_eq!(services, Ok(None), "an SG has none");
}

#[test]
fn commands_reach_the_machine_as_they_came() {
    let mut stage = Stage::new(true, |_| Vec::new());
    let cost = Command::Cost { port: NodeId::new("sr-1").expect("a node"), cost: 7 };
    let mut done = asked(|answer| stage.effects.answer(Request::Command(cost.clone(), answer)));
    assert_eq!(done.try_recv(), Ok(Ok(Done::Nothing)));
    assert_eq!(stage.heard(), [format!("{:?}", Input::Command { handle: 0, command: &cost })]);
}

#[test]
fn commands_about_services_are_the_pods_own() {
    let mut stage = Stage::new(false, |_| Vec::new());
    let mut tell = |command| asked(|answer| stage.effects.answer(Request::Command(command, answer))).try_recv();
    assert!(matches!(tell(Command::StopService { prefix: name("/A/1") }), Ok(Err(Refusal::Bad(_)))));
    assert!(matches!(tell(Command::KillService { prefix: name("/A/1") }), Ok(Err(Refusal::Bad(_)))));
    assert_eq!(tell(Command::StartService { prefix: name("/A/1"), pool: None }), Ok(Ok(Done::Nothing)));
    let view = stage.effects.services.view(now());
    assert_eq!(view.services[0].state, ServiceState::Waiting, "it is started at the next tick");
    assert!(stage.effects.next_timeout().is_some());
}

#[test]
fn a_path_is_answered_when_the_machine_knows_it() {
    let mut stage = Stage::new(true, |input| match input {
        Input::Tick => vec![Output::Path { handle: 1, path: vec![NodeId::new("sg-1").expect("a node")], cost: 3 }],
        _ => Vec::new(),
    });
    let query = Command::QueryPath { target: name("/A") };
    let mut answered = asked(|answer| stage.effects.answer(Request::Command(query, answer)));
    assert!(answered.try_recv().is_err(), "not known yet");
    stage.effects.feed(Input::Tick);
    let path = PathAnswer { path: vec!["sg-1".into()], cost: 3 };
    assert_eq!(answered.try_recv(), Ok(Ok(Done::Path(path))));
}

#[test]
fn a_call_is_answered_with_its_outcome_or_refused_before_it_is_made() {
    let mut stage = Stage::new(false, |input| match input {
        Input::Tick => {
            let result = Err((Some(RefusalReason::NoRoute), "sg-1".to_owned()));
            vec![Output::CallDone {
                handle: 1,
                outcome: CallOutcome { correlation: None, result, path: vec![], return_path: vec![], context: None },
            }]
        }
        _ => Vec::new(),
    });
    let call = |json: &str| serde_json::from_str::<CallRequest>(json).expect("a call");
    let good = call(r#"{"name": "/A", "method": "echo"}"#);
    let mut answered = asked(|answer| stage.effects.answer(Request::Call(good, answer)));
    stage.effects.feed(Input::Tick);
    let reply = answered.try_recv().expect("answered").expect("made");
    assert_eq!((reply.error.as_deref(), reply.detail.as_deref()), (Some("no-route"), Some("sg-1")));
    for bad in [r#"{"name": "A", "method": "echo"}"#, r#"{"name": "/A", "method": ""}"#] {
        let heard = stage.heard().len();
        let mut refused = asked(|answer| stage.effects.answer(Request::Call(call(bad), answer)));
        assert!(matches!(refused.try_recv(), Ok(Err(Refusal::Bad(_)))), "{bad}");
        assert_eq!(stage.heard().len(), heard, "the machine hears nothing of it");
    }
}
