//! Restarts, waits, readiness and death, in virtual time: a test plays the worker at the other end of the channel.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// A start that the supervisor asked for.
struct Start {
    prefix: String,
    pool: Option<String>,
    program: Option<String>,
    /// The worker's end; dropping it is the worker's death.
    channel: Channel,
}

/// What was started, oldest first. A set `refusal` lets starts fail.
#[derive(Default)]
struct Starts {
    done: Vec<Start>,
    refusing: bool,
}

#[derive(Clone, Default)]
struct Stage(Rc<RefCell<Starts>>);

impl Launch for Stage {
    fn launch(&mut self, identity: Identity, run: Option<&RunConfig>) -> io::Result<(Worker, Channel)> {
        let mut starts = self.0.borrow_mut();
        if starts.refusing {
            return Err(io::Error::other("no such program"));
        }
        let (ours, theirs) = Channel::pair()?;
        starts.done.push(Start {
            prefix: identity.prefix.to_string(),
            pool: identity.pool.map(|pool| pool.to_string()),
            program: run.map(|run| run.argv.join(" ")),
            channel: Channel::new(theirs),
        });
        Ok((Worker::Program, ours))
    }
}

impl Stage {
    fn supervisor(&self) -> Supervisor {
        Supervisor::launching(Box::new(self.clone()), "pod-1".into(), "example".into(), PathBuf::new(), None)
    }

    /// The newest start.
    fn last(&self) -> Start {
        self.0.borrow_mut().done.pop().expect("something was started")
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn say(worker: &Start, answer: &Answer, payload: &[u8]) {
    worker.channel.send(answer, payload).expect("room for an answer");
}

fn state(supervisor: &Supervisor, now: Timestamp) -> ServiceState {
    supervisor.view(now).services[0].state
}

fn up(prefix: &str) -> ServiceEvent {
    ServiceEvent::Up { prefix: name(prefix), pool: None, weight: 1 }
}

fn down(prefix: &str) -> ServiceEvent {
    ServiceEvent::Down { prefix: name(prefix) }
}

/// A supervisor with the service `/A/1`, started and ready at 0 ms, and its worker.
fn ready() -> (Stage, Supervisor, u64, Start) {
    let stage = Stage::default();
    let mut supervisor = stage.supervisor();
    let key = supervisor.start(at(0), name("/A/1"), None, None);
    assert_eq!(supervisor.handle_timeout(at(0)), [key]);
    let worker = stage.last();
    say(&worker, &Answer::Ready, &[]);
    supervisor.handle_ready(at(0), key);
    assert_eq!(supervisor.take_events(), [up("/A/1")]);
    (stage, supervisor, key, worker)
}

#[test]
fn a_service_is_announced_when_its_worker_is_ready_and_not_before() {
    let stage = Stage::default();
    let mut supervisor = stage.supervisor();
    let key = supervisor.start(at(5), name("/A/1"), Some(name("/A")), Some(3));
    assert_eq!((supervisor.next_timeout(), state(&supervisor, at(5))), (Some(at(5)), ServiceState::Waiting));
    assert!(supervisor.handle_timeout(at(4)).is_empty(), "not due");
    assert_eq!(supervisor.handle_timeout(at(5)), [key]);
    assert_eq!((supervisor.next_timeout(), state(&supervisor, at(5))), (None, ServiceState::Starting));
    assert!(supervisor.descriptor(key).is_some());
    let worker = stage.last();
    assert_eq!((worker.prefix.as_str(), worker.pool.as_deref(), &worker.program), ("/A/1", Some("/A"), &None));
    supervisor.handle_ready(at(6), key);
    assert_eq!(supervisor.take_events(), [], "it has said nothing");
    say(&worker, &Answer::Ready, &[]);
    supervisor.handle_ready(at(7), key);
    let told = ServiceEvent::Up { prefix: name("/A/1"), pool: Some(name("/A")), weight: 3 };
    assert_eq!((supervisor.take_events(), state(&supervisor, at(7))), (vec![told], ServiceState::Ready));
}

#[test]
fn waits_for_restarts_double_up_to_a_bound() {
    let (stage, mut supervisor, key, worker) = ready();
    drop(worker);
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..8 {
        supervisor.handle_ready(now, key);
        let due = supervisor.next_timeout().expect("it is started again");
        waits.push(due.since(now).as_millis());
        assert_eq!(supervisor.view(now).services[0].next_start_ms, Some(due.since(now).as_millis() as u64));
        now = due;
        assert_eq!(supervisor.handle_timeout(now), [key]);
        drop(stage.last());
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    assert_eq!(supervisor.view(now).services[0].starts, 9);
    assert_eq!(supervisor.take_events(), [down("/A/1")], "only what was ready is withdrawn");
}

#[test]
fn after_a_long_life_waits_begin_anew() {
    let (stage, mut supervisor, key, worker) = ready();
    drop(worker);
    supervisor.handle_ready(at(0), key);
    supervisor.handle_timeout(at(100));
    let worker = stage.last();
    drop(worker);
    let death = at(100) + LONG_LIFE;
    supervisor.handle_ready(death, key);
    assert_eq!(supervisor.next_timeout(), Some(death + FIRST_BACKOFF), "and not twice that");
}

#[test]
fn a_start_that_fails_is_tried_again_with_longer_waits() {
    let stage = Stage::default();
    let mut supervisor = stage.supervisor();
    stage.0.borrow_mut().refusing = true;
    let key = supervisor.start(at(0), name("/A/1"), None, None);
    assert!(supervisor.handle_timeout(at(0)).is_empty(), "nothing was started");
    assert_eq!(supervisor.next_timeout(), Some(at(100)));
    assert!(supervisor.handle_timeout(at(100)).is_empty());
    assert_eq!(supervisor.next_timeout(), Some(at(300)));
    stage.0.borrow_mut().refusing = false;
    assert_eq!(supervisor.handle_timeout(at(300)), [key]);
    assert_eq!(supervisor.take_events(), []);
}

#[test]
fn a_program_that_is_not_to_come_back_stays_down_and_its_end_is_shown() {
    let (_stage, mut supervisor, key, worker) = ready();
    let ended = Answer::Ended { status: "exit status: 0".into(), again: false, said: vec!["done".into()] };
    say(&worker, &ended, &[]);
    drop(worker);
    supervisor.handle_ready(at(50), key);
    assert_eq!(supervisor.take_events(), [down("/A/1")]);
    assert_eq!(supervisor.next_timeout(), None);
    let row = supervisor.view(at(50)).services.remove(0);
    assert_eq!((row.state, row.ended.as_deref()), (ServiceState::Stopped, Some("exit status: 0")));
    assert_eq!(row.said, ["done"]);
    // An operator may start it all the same.
    supervisor.start(at(60), name("/A/1"), None, None);
    assert_eq!(supervisor.handle_timeout(at(60)), [key]);
}

#[test]
fn a_program_that_is_to_come_back_is_started_again() {
    let (stage, mut supervisor, key, worker) = ready();
    say(&worker, &Answer::Ended { status: "exit status: 3".into(), again: true, said: vec![] }, &[]);
    drop(worker);
    supervisor.handle_ready(at(50), key);
    assert_eq!(supervisor.view(at(50)).services[0].ended.as_deref(), Some("exit status: 3"));
    assert_eq!(supervisor.handle_timeout(at(150)), [key]);
    assert_eq!(stage.last().prefix, "/A/1");
}

#[test]
fn a_program_serves_from_the_next_start_on() {
    let stage = Stage::default();
    let mut supervisor = stage.supervisor();
    let key = supervisor.start(at(0), name("/A/1"), None, None);
    let json = r#"{"argv": ["python3", "web.py"], "cwd": "/", "ready_within_ms": 100}"#;
    supervisor.set_program(key, Some(serde_json::from_str(json).expect("a program")));
    supervisor.handle_timeout(at(0));
    assert_eq!(stage.last().program.as_deref(), Some("python3 web.py"));
    assert_eq!(supervisor.view(at(0)).services[0].program, "python3 web.py");
}

#[test]
fn a_stopped_service_stays_down_and_its_worker_loses_its_channel() {
    let (_stage, mut supervisor, _key, worker) = ready();
    assert!(supervisor.stop(&name("/A/1")));
    assert_eq!(supervisor.take_events(), [down("/A/1")]);
    assert_eq!((supervisor.next_timeout(), state(&supervisor, at(0))), (None, ServiceState::Stopped));
    assert!(matches!(worker.channel.receive::<Task>(), Incoming::Gone));
    assert!(supervisor.stop(&name("/A/1")), "known, though down");
    assert_eq!(supervisor.take_events(), [], "it is withdrawn once");
    assert!(!supervisor.stop(&name("/unknown")));
    assert!(!supervisor.kill(&name("/A/1")), "none runs");
}

#[test]
fn starting_what_runs_changes_nothing() {
    let (stage, mut supervisor, key, _worker) = ready();
    assert_eq!(supervisor.start(at(9), name("/A/1"), None, None), key);
    assert!(supervisor.handle_timeout(at(9)).is_empty());
    assert!(stage.0.borrow().done.is_empty());
}

#[test]
fn invocations_reach_the_worker_and_their_answers_the_machine() {
    let (_stage, mut supervisor, key, worker) = ready();
    let traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let task = Task::Invoke { invocation: 7, source: "/B/1".into(), method: "add".into(), traceparent };
    supervisor.invoke(&name("/A/1"), 7, &task, b"2 3");
    let Incoming::Message(Task::Invoke { invocation: 7, source, method, traceparent }, payload) =
        worker.channel.receive()
    else {
        panic!("no invocation")
    };
    assert_eq!((source.as_str(), method.as_str(), payload.as_slice()), ("/B/1", "add", &b"2 3"[..]));
    assert!(traceparent.is_some_and(|text| text.ends_with("-b7ad6b7169203331-01")));
    say(&worker, &Answer::Done { invocation: 7 }, b"5");
    say(&worker, &Answer::failed(8, RefusalReason::NoSuchMethod), b"fly");
    supervisor.handle_ready(at(1), key);
    let answered = |invocation, result| ServiceEvent::Answered { invocation, result };
    let refused = Err((RefusalReason::NoSuchMethod, "fly".to_owned()));
    assert_eq!(supervisor.take_events(), [answered(7, Ok(b"5".to_vec())), answered(8, refused)]);
}

#[test]
fn an_invocation_without_a_worker_is_refused_at_once() {
    let stage = Stage::default();
    let mut supervisor = stage.supervisor();
    supervisor.start(at(0), name("/A/1"), None, None);
    let task = Task::Invoke { invocation: 7, source: "/B/1".into(), method: "add".into(), traceparent: None };
    supervisor.invoke(&name("/A/1"), 7, &task, b"");
    let events = supervisor.take_events();
    assert!(
        matches!(
            &events[..],
            [ServiceEvent::Answered { invocation: 7, result: Err((RefusalReason::ServiceUnavailable, _)) }]
        ),
        "{events:?}"
    );
}

#[test]
fn what_a_worker_said_before_its_death_is_still_told_first() {
    let (_stage, mut supervisor, key, worker) = ready();
    say(&worker, &Answer::Done { invocation: 7 }, b"5");
    drop(worker);
    supervisor.handle_ready(at(1), key);
    let answered = ServiceEvent::Answered { invocation: 7, result: Ok(b"5".to_vec()) };
    assert_eq!(supervisor.take_events(), [answered, down("/A/1")]);
}

#[test]
fn a_worker_that_says_nonsense_counts_as_dead() {
    let (_stage, mut supervisor, key, worker) = ready();
    worker.channel.send(&"hello", &[]).expect("room");
    supervisor.handle_ready(at(1), key);
    assert_eq!(supervisor.take_events(), [down("/A/1")]);
    assert_eq!(supervisor.next_timeout(), Some(at(101)));
}

#[test]
fn at_the_end_all_workers_lose_their_channels() {
    let (stage, mut supervisor, _key, first) = ready();
    supervisor.start(at(0), name("/A/2"), None, None);
    supervisor.handle_timeout(at(0));
    let second = stage.last();
    supervisor.stop_all();
    for worker in [first, second] {
        assert!(matches!(worker.channel.receive::<Task>(), Incoming::Gone), "{}", worker.prefix);
    }
}
