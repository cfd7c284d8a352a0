//! What the view shows of a made-up lab, and what keys do to it.

use std::collections::BTreeMap;

use damc_impair::{DirectionCounters, DirectionSpec, Loss};
use damc_lab::control::{
    Backend, LabState, LinkService, LinkStatus, NodeStatus, RecordingStatus, SchedulingStatus, Status,
};
use damc_mgmt::event::{Event, EventKind};
use damc_mgmt::view::{CountersView, NeighborView, NeighborsView, PathView, PolicyView};
use damc_mgmt::words::{AdjacencyState, DownReason, Metric, PolicyActionKind, ProtocolCounter};
use damc_testbed::{Act, Deed, LinkChange, NodeAction, NodeState};
use damc_wire::DropReason;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use damc_top::{Key, Look, NodeLook, Top, Wish, draw};

const SECOND: u64 = 1_000_000_000;

fn node(name: &str, kind: &str, state: NodeState) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        kind: kind.into(),
        program: format!("damc-{kind}"),
        version: None,
        state,
        pid: Some(7),
        starts: 1,
        ready_ms: 12.0,
        resident_bytes: 7_654_321,
        ports: Vec::new(),
    }
}

fn link(a: &str, b: &str) -> LinkStatus {
    let spec = DirectionSpec { delay_ns: 5_000_000, rate_bps: Some(10_000_000), ..DirectionSpec::default() };
    LinkStatus {
        a: a.into(),
        b: b.into(),
        service: LinkService::Relay,
        up: true,
        forward: spec,
        backward: spec,
        forward_counted: None,
        backward_counted: None,
        forward_relayed: None,
        backward_relayed: None,
        relayed_ms: None,
    }
}

fn counters(n: u64) -> DirectionCounters {
    DirectionCounters {
        received: 100 * n,
        received_bytes: 10_000 * n,
        delivered: 99 * n,
        delivered_bytes: 9_900 * n,
        duplicated: 0,
        corrupted: 0,
        reordered: 0,
        lost: n,
        lost_silent: 0,
        lost_limit: 0,
        lost_interface: 0,
        delay_ns: 99 * n * 5_123_000,
        delay_min_ns: 0,
        delay_max_ns: 0,
        late_ns: 0,
        late_max_ns: 0,
        late_frames: 0,
    }
}

fn neighbor(port: &str, state: AdjacencyState) -> NeighborView {
    NeighborView {
        port: port.into(),
        state,
        role: None,
        since_ms: 1,
        delay_ns: Some(5_200_000),
        jitter_ns: None,
        unacknowledged: 0,
        flaps: 0,
        last_down: None,
    }
}

/// A lab of a line, `seconds` after it was ready.
fn look(seconds: u64) -> Look {
    let nodes = [("sr-1", "sr"), ("sg-1", "sg"), ("sg-2", "sg"), ("pod-1", "pod"), ("pod-2", "pod"), ("scsc", "scsc")];
    let status = Status {
        lab: "line".into(),
        topology: "line".into(),
        state: LabState::Running,
        failure: None,
        backend: Backend::Relay,
        backend_reason: String::new(),
        seed: 1,
        phases: Vec::new(),
        ready_ms: 1.0,
        ready_at_ns: 100 * SECOND,
        nodes: nodes.map(|(name, kind)| node(name, kind, NodeState::Ready)).into(),
        links: [("sg-1", "sr-1"), ("sr-1", "sg-2"), ("sg-1", "pod-1"), ("sg-2", "pod-2")]
            .map(|(a, b)| link(a, b))
            .into(),
        recording: RecordingStatus::default(),
        relay_cpu_ns: 0,
        scheduling: SchedulingStatus::default(),
    };
    let of_node = |name: &str| {
        let mut counters = CountersView { node: name.into(), forwarded: 1_500 * seconds, ..CountersView::default() };
        counters.protocol.add(ProtocolCounter::Lsas, 9);
        counters.protocol.add(ProtocolCounter::Invocations, if name == "pod-2" { 25 * seconds } else { 0 });
        counters.dropped.add(DropReason::Malformed, if name == "sr-1" { 2 * seconds } else { 0 });
        let neighbors = vec![neighbor("sg-1", AdjacencyState::Full), neighbor("sg-2", AdjacencyState::Init)];
        NodeLook { neighbors: Some(NeighborsView { node: name.into(), neighbors }), counters: Some(counters) }
    };
    let relayed = |link: &LinkStatus| LinkStatus {
        forward_relayed: Some(counters(seconds)),
        backward_relayed: Some(counters(2 * seconds)),
        relayed_ms: Some(1000 * seconds),
        ..link.clone()
    };
    let links = status.links.iter().take(2).map(|link| ((link.a.clone(), link.b.clone()), relayed(link)));
    Look {
        at_ns: (100 + seconds) * SECOND,
        nodes: nodes.map(|(name, _)| (name.to_owned(), of_node(name))).into(),
        links: links.collect::<BTreeMap<_, _>>(),
        policies: Vec::new(),
        violated: Vec::new(),
        status,
    }
}

/// The view after two looks.
fn top() -> Top {
    let mut top = Top::new(look(61));
    top.looked(look(63));
    top
}

fn screen_of(top: &Top, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| draw(top, frame, false)).expect("it takes everything");
    let coloured = terminal.backend().buffer().content().iter().any(|cell| cell.fg != ratatui::style::Color::Reset);
    assert!(!coloured, "colour where nobody wants it");
    terminal.backend().to_string()
}

fn typed(top: &mut Top, text: &str) {
    for letter in text.chars() {
        assert_eq!(top.key(Key::Char(letter)), None);
    }
}

fn event(seconds: u64, kind: EventKind) -> Event {
    Event { at_ns: (100 + seconds) * SECOND, sequence: seconds, kind }
}

#[test]
fn a_lab_in_80_by_24() {
    let mut top = top();
    let down =
        EventKind::Adjacency { port: "sg-2".into(), state: AdjacencyState::Down, reason: Some(DownReason::Carrier) };
    top.happened("sr-1", &event(62, down));
    top.happened("sr-1", &event(61, EventKind::Ready));
    top.done(&[Act { at_ns: 161 * SECOND, deed: Deed::Node { node: "pod-1".into(), action: NodeAction::Kill } }]);
    insta::assert_snapshot!(screen_of(&top, 80, 24));
}

#[test]
fn a_wide_terminal_has_all_boxes_side_by_side() {
    let mut top = Top::new(look(61));
    let mut later = look(63);
    later.status.links[0].up = false;
    later.links.clear();
    later.status.links[1].backward = DirectionSpec { silent: true, ..DirectionSpec::default() };
    later.status.links[1].forward.loss = Loss::Random { probability: 0.02 };
    later.status.nodes[3].state = NodeState::Failed;
    later.status.failure = Some("pod-1 ended: killed by signal 9\nits log".into());
    later.policies.push(PolicyView {
        label: 3,
        version: 1,
        recipient: "sg-1".into(),
        source: "sg-1".into(),
        prefix: "/A".into(),
        action: PolicyActionKind::Ingress,
        next_hop: Some("sr-1".into()),
        expires_in_ms: 4000,
        active: true,
        problem: None,
    });
    later.violated.push(PathView {
        source: "sg-2".into(),
        target: "/B/2".into(),
        label: 0,
        delay_ns: None,
        jitter_ns: None,
        bandwidth_bps: None,
        loss_ppm: 0,
        available: true,
        violated: vec![Metric::Delay],
        age_ms: 5,
    });
    top.looked(later);
    insta::assert_snapshot!(screen_of(&top, 160, 30));
}

#[test]
fn help_and_questions_stand_above_the_tables() {
    let mut top = top();
    top.key(Key::Char('?'));
    insta::assert_snapshot!("help", screen_of(&top, 80, 24));
    top.key(Key::Char('x'));
    top.key(Key::Char('w'));
    typed(&mut top, "/A/1");
    insta::assert_snapshot!("asked", screen_of(&top, 80, 24));
    let wish = top.key(Key::Enter);
    assert_eq!(wish, Some(Wish::Why { node: "sr-1".into(), name: "/A/1".into() }));
    let lines: String = (1..=40).map(|n| format!("  step {n}\n")).collect();
    top.show("why sr-1 /A/1".into(), &lines);
    top.key(Key::PageDown);
    top.key(Key::Down);
    let shown = screen_of(&top, 80, 24);
    assert!(shown.contains("step 12") && !shown.contains("step 11 "), "{shown}");
    top.key(Key::Enter);
    assert!(!screen_of(&top, 80, 24).contains("step"), "any other key ends it");
}

#[test]
fn keys_change_what_is_selected() {
    let mut top = top();
    top.key(Key::Down);
    assert_eq!(top.key(Key::Char('k')), Some(Wish::Node { node: "sg-1".into(), action: NodeAction::Kill }));
    top.key(Key::End);
    assert_eq!(top.key(Key::Char('s')), Some(Wish::Node { node: "scsc".into(), action: NodeAction::Start }));
    assert_eq!(top.key(Key::Char('c')), None, "no link is selected");
    assert!(screen_of(&top, 80, 24).contains("`c` does nothing here"));
    top.key(Key::Tab);
    top.key(Key::Down);
    let (a, b) = ("sr-1".to_owned(), "sg-2".to_owned());
    let cut = Wish::Link { a: a.clone(), b: b.clone(), change: LinkChange::Down };
    assert_eq!(top.key(Key::Char('c')), Some(cut));
    let mend = Wish::Link { a: a.clone(), b: b.clone(), change: LinkChange::Clear };
    assert_eq!(top.key(Key::Char('m')), Some(mend));
    top.key(Key::Char('i'));
    typed(&mut top, "delay=80msx");
    top.key(Key::Backspace);
    assert_eq!(top.key(Key::Enter), Some(Wish::Impair { a, b, properties: "delay=80ms".into() }));
    top.key(Key::Char('i'));
    typed(&mut top, "q");
    assert_eq!(top.key(Key::Escape), None, "it only ends the question");
    assert_eq!(top.key(Key::Char('q')), Some(Wish::Quit));
    assert_eq!(top.key(Key::Interrupt), Some(Wish::Quit));
}

#[test]
fn the_selection_stays_inside_and_visible() {
    let mut top = top();
    let start = |node: &str| Some(Wish::Node { node: node.into(), action: NodeAction::Start });
    (0..9).for_each(|_| drop(top.key(Key::Down)));
    assert_eq!(top.key(Key::Char('s')), start("scsc"));
    let mut fewer = look(65);
    fewer.status.nodes.truncate(2);
    top.looked(fewer);
    assert_eq!(top.key(Key::Char('s')), start("sg-1"));
    let mut many = look(67);
    many.status.nodes = (0..300).map(|n| node(&format!("sr-{n}"), "sr", NodeState::Ready)).collect();
    top.looked(many);
    top.key(Key::End);
    assert!(screen_of(&top, 80, 24).contains("sr-299"));
}

#[test]
fn what_is_told_again_is_not_news_again() {
    let mut top = top();
    for _ in 0..2 {
        top.happened("sr-1", &event(5, EventKind::Ready));
        top.done(&[Act { at_ns: 7, deed: Deed::Injected { node: "sr-1".into(), port: "sg-1".into(), frames: 3 } }]);
    }
    let shown = screen_of(&top, 160, 60);
    assert_eq!(
        (shown.matches(" 5.000 s").count() + shown.matches("│5.000 s").count(), shown.matches("3 frames put").count()),
        (1, 1),
        "{shown}"
    );
    (6..2000).for_each(|at| top.happened("sr-1", &event(at, EventKind::Ready)));
    // The oldest have gone, and the newest stands first.
    (0..3).for_each(|_| drop(top.key(Key::Tab)));
    let newest = screen_of(&top, 160, 60);
    assert!(newest.contains("1999.000 s"), "{newest}");
    top.key(Key::End);
    let oldest = screen_of(&top, 160, 60);
    assert!(oldest.contains("1500.000 s") && !oldest.contains("1499.000 s"), "{oldest}");
}

#[test]
fn a_node_that_was_started_meanwhile_has_no_rates() {
    let mut top = Top::new(look(61));
    let mut later = look(63);
    later.status.nodes[4].starts = 2;
    top.looked(later);
    let shown = screen_of(&top, 80, 40);
    let row = |node: &str| shown.lines().find(|line| line.contains(node)).unwrap_or_default().to_owned();
    assert!(row("sr-1 ").contains("1.5k") && row("sr-1 ").contains(" 2 "), "{shown}");
    assert!(row("pod-2 ").matches(" - ").count() >= 3, "{shown}");
}

#[test]
fn colour_is_for_those_who_want_it() {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).expect("a terminal in memory");
    terminal.draw(|frame| draw(&top(), frame, true)).expect("it takes everything");
    let green = |cell: &ratatui::buffer::Cell| cell.fg == ratatui::style::Color::Green;
    assert!(terminal.backend().buffer().content().iter().any(green));
}

#[test]
fn a_terminal_that_is_too_small_is_told_so() {
    let text = screen_of(&top(), 79, 24);
    assert!(text.contains("damc top needs 80×24; this is 79×24"), "{text}");
    screen_of(&top(), 1, 1);
}
