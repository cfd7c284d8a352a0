//! The course of a run: evidence of a network in virtual time, and the same evidence with something planted into it.

use damc_explain::{Course, CourseNodeState, Crossing, Evidence, LinkState, TroubleKind, course};
use damc_mgmt::event::{Event, EventKind, Via};
use damc_mgmt::words::AdjacencyState;
use damc_testbed::{LinkChange, NodeAction};

use crate::stage::{SECOND, Stage};

const MS: u64 = 1_000_000;

/// The course since the network was given to us.
fn since(evidence: &Evidence, from_ns: u64, crossings: &[Crossing]) -> Course {
    course(evidence, from_ns - evidence.began_ns, crossings)
}

/// Puts the event of a table into what a router remembers.
fn plant(evidence: &mut Evidence, node: &str, at_ns: u64, (set, via, gone): (Vec<&str>, Vec<Via>, Vec<&str>)) {
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let changed = set.len() + gone.len();
    let events = &mut evidence.nodes.get_mut(node).expect("a node").events;
    let place = events.partition_point(|event| event.at_ns <= at_ns);
    let kind = EventKind::Fib { version: 99, changed, set: owned(set), via, gone: owned(gone) };
    events.insert(place, Event { at_ns, sequence: events[place - 1].sequence, kind });
}

fn to(ports: &[&str]) -> Via {
    Via { to: ports.iter().map(ToString::to_string).collect(), ..Via::default() }
}

fn crossing(at_ns: u64, node: &str, port: &str, sent: bool) -> Crossing {
    Crossing { at_ns, node: node.into(), port: port.into(), sent, name: "/B/4/x".into() }
}

#[test]
fn what_events_say_of_entries_is_what_tables_show() {
    let stage = Stage::of("fig2");
    stage.link("sr-right", "sg-4", LinkChange::Down);
    stage.pass(5 * SECOND);
    stage.order("pod-4", r#"{"order": "stop-service", "prefix": "/A/4"}"#);
    stage.pass(5 * SECOND);
    let evidence = stage.evidence();
    let course = since(&evidence, evidence.began_ns, &[]);
    assert_eq!(course.untold, Vec::<String>::new());
    let mut compared = 0;
    for route in &course.routes {
        for (node, witness) in &evidence.nodes {
            let Some(fib) = &witness.fib else { continue };
            let shown = fib.entries.iter().find(|entry| entry.prefix == route.name);
            let shown = shown.map(|entry| entry.next_hops.iter().map(|hop| hop.port.clone()).collect::<Vec<_>>());
            let told = route.marks.iter().rev().find(|mark| mark.node == *node).and_then(|mark| mark.to.clone());
            assert_eq!(told, shown, "{} at {node}", route.name);
            compared += 1;
        }
    }
    assert!(compared >= 50, "{compared}");
}

#[test]
fn the_time_of_a_change_is_split_from_the_deed_to_the_last_table() {
    let stage = Stage::of("fig2");
    let from_ns = stage.evidence().at_ns;
    stage.silence("sr-right", "sg-4");
    stage.pass(5 * SECOND);
    let evidence = stage.evidence();
    let course = since(&evidence, from_ns, &[]);
    let what = "the link sg-4 – sr-right was silenced";
    let change =
        course.changes.iter().find(|change| change.what == what).unwrap_or_else(|| panic!("{:#?}", course.changes));
    let prefix = change.prefixes.iter().find(|one| one.prefix == "/B/4").expect("it led over this link");
    let split = prefix.split;
    let fibs = evidence.nodes[&prefix.last]
        .events
        .iter()
        .filter(|event| matches!(&event.kind, EventKind::Fib { set, .. } if set.iter().any(|p| p == "/B/4")));
    let last = fibs.map(|event| event.at_ns).max().expect("it installed the entry");
    assert_eq!(change.at_ns + split.total_ns(), last - evidence.began_ns, "the parts add up");
    // Echoes have to stay away before anybody knows; the news then takes at least the delay of a link.
    assert!(split.detect_ns > split.flood_ns && split.detect_ns >= 10 * MS, "{split:?}");
    assert!(prefix.last == "sg-4" || prefix.last == "sr-right" || split.flood_ns >= MS, "{split:?}");
    assert!(prefix.routers >= 2, "{prefix:?}");

    // While nobody knew, frames went into the link, and no longer.
    let lost = |node: &str, far: &str| {
        let down = |kind: &EventKind| matches!(kind, EventKind::Adjacency { port, state, .. } if port == far && *state != AdjacencyState::Full);
        evidence.nodes[node].events.iter().rfind(|e| down(&e.kind)).expect("noticed").at_ns
    };
    let hole =
        course.troubles.iter().find(|t| t.nodes == ["sr-right", "sg-4"] && t.prefixes.iter().any(|p| p == "/B/4"));
    let hole = hole.unwrap_or_else(|| panic!("{:#?}", course.troubles));
    assert_eq!(hole.kind, TroubleKind::BlackHole);
    let silenced_ns = evidence.acts.last().expect("a deed").at_ns;
    assert_eq!(hole.lasted_ns, lost("sr-right", "sg-4") - silenced_ns, "{hole:?}");
    assert_eq!(hole.after.as_deref(), Some(what));
    let state = |mark: &&damc_explain::LinkMark| (mark.a.as_str(), mark.b.as_str()) == ("sg-4", "sr-right");
    assert_eq!(course.links.iter().rfind(state).map(|mark| mark.state), Some(LinkState::Broken));
}

#[test]
fn an_announcement_begins_with_the_order_to_the_pod() {
    let stage = Stage::of("fig2");
    let from_ns = stage.evidence().at_ns;
    stage.order("pod-1", r#"{"order": "stop-service", "prefix": "/A/1"}"#);
    stage.pass(5 * SECOND);
    let course = since(&stage.evidence(), from_ns, &[]);
    let change = course.changes.iter().find(|change| change.prefixes.iter().any(|one| one.prefix == "/A/1"));
    let change = change.expect("the prefix went");
    assert!(change.node == "pod-1" && change.what.contains("was ordered"), "{change:?}");
    assert_eq!(change.prefixes[0].routers, 7, "{change:?}");
    assert!(
        course.troubles.iter().all(|t| !t.prefixes.iter().any(|p| p == "/A/1")),
        "nobody serves it: {:?}",
        course.troubles
    );
    assert_eq!(course.changes.len(), 1, "nothing else happened: {:?}", course.changes);
}

#[test]
fn a_planted_loop_is_found_with_the_frames_that_met_it() {
    let stage = Stage::of("fig2");
    stage.pass(SECOND);
    let mut evidence = stage.evidence();
    let end_ns = evidence.at_ns;
    assert_eq!(since(&evidence, end_ns - 900 * MS, &[]).troubles, [], "nothing is wrong before");
    let at_ns = end_ns - 500 * MS;
    plant(&mut evidence, "sr-left", at_ns, (vec!["/B/4"], vec![to(&["sr-bottom"])], vec![]));
    plant(&mut evidence, "sr-bottom", at_ns + MS, (vec!["/B/4"], vec![to(&["sr-left"])], vec![]));
    plant(&mut evidence, "sr-left", at_ns + 8 * MS, (vec!["/B/4"], vec![to(&["sr-right"])], vec![]));
    let crossings = [
        crossing(at_ns, "sr-left", "sr-bottom", true),
        crossing(at_ns + 2 * MS, "sr-bottom", "sr-left", true),
        crossing(at_ns + 3 * MS, "sr-left", "sr-bottom", true),
        crossing(at_ns + 3 * MS, "sr-left", "sr-right", true),
        crossing(at_ns + 9 * MS, "sr-bottom", "sr-left", true),
    ];
    let course = since(&evidence, end_ns - 900 * MS, &crossings);
    let [found] = course.troubles.as_slice() else { panic!("{:#?}", course.troubles) };
    assert_eq!((found.kind, found.what.as_str()), (TroubleKind::Loop, "sr-bottom → sr-left → sr-bottom"));
    assert_eq!(
        (found.prefixes.as_slice(), found.lasted_ns, found.over),
        (["/B/4".to_owned()].as_slice(), 7 * MS, true)
    );
    assert_eq!((found.met.frames, found.met.first_ns), (2, Some(at_ns + 2 * MS - evidence.began_ns)));
}

#[test]
fn a_planted_black_hole_is_found_while_the_name_is_served() {
    let stage = Stage::of("fig2");
    stage.pass(SECOND);
    let mut evidence = stage.evidence();
    let end_ns = evidence.at_ns;
    let at_ns = end_ns - 500 * MS;
    plant(&mut evidence, "sr-right", at_ns, (vec![], vec![], vec!["/B/4"]));
    plant(&mut evidence, "sr-right", at_ns + 5 * MS, (vec!["/B/4"], vec![to(&["sg-4"])], vec![]));
    let crossings =
        [crossing(at_ns + MS, "sg-1", "sr-right", true), crossing(at_ns + 6 * MS, "sg-1", "sr-right", true)];
    let course = since(&evidence, end_ns - 900 * MS, &crossings);
    let hole =
        course.troubles.iter().find(|t| t.nodes == ["sg-1", "sr-right"]).unwrap_or_else(|| panic!("{course:#?}"));
    assert_eq!((hole.kind, hole.lasted_ns, hole.met.frames), (TroubleKind::BlackHole, 5 * MS, 1));
    assert_eq!(hole.what, "sg-1 sends to sr-right, which has no entry");

    // The same, but the SG that serves the name has withdrawn it: frames have nowhere to go, whatever tables say.
    let mut withdrawn = stage.evidence();
    plant(&mut withdrawn, "sg-4", at_ns, (vec![], vec![], vec!["/B/4"]));
    assert_eq!(since(&withdrawn, end_ns - 900 * MS, &[]).troubles, []);
}

#[test]
fn what_is_not_remembered_is_no_black_hole() {
    let stage = Stage::of("fig2");
    stage.link("sr-right", "sg-4", LinkChange::Down);
    stage.pass(3 * SECOND);
    stage.link("sr-right", "sg-4", LinkChange::Up);
    stage.pass(5 * SECOND);
    let whole = stage.evidence();
    for kept in [3, 10, 30, 60] {
        let mut evidence = whole.clone();
        evidence.nodes.values_mut().for_each(|witness| witness.keep_newest(kept));
        let troubles = course(&evidence, 0, &[]).troubles;
        let whole = course(&whole, 0, &[]).troubles;
        let known = |t: &damc_explain::Trouble| whole.iter().any(|w| w.nodes == t.nodes && w.kind == t.kind);
        assert!(troubles.iter().all(known), "{kept} events: {troubles:#?}");
    }
}

#[test]
fn a_link_is_told_from_when_both_ends_remember() {
    let stage = Stage::of("fig2");
    stage.pass(2 * SECOND);
    let down_ns = stage.evidence().at_ns;
    stage.link("sr-right", "sg-4", LinkChange::Down);
    stage.pass(3 * SECOND);
    stage.link("sr-right", "sg-4", LinkChange::Up);
    stage.pass(5 * SECOND);
    let mut evidence = stage.evidence();
    let cut_at_ns = down_ns - evidence.began_ns;
    let ends = ["sr-right", "sg-4"];
    // Both have forgotten all but that they are adjacent again.
    for node in ends {
        let again = |event: &Event| match &event.kind {
            EventKind::Adjacency { port, state, .. } => ends.contains(&port.as_str()) && *state == AdjacencyState::Full,
            _ => false,
        };
        let events = &mut evidence.nodes.get_mut(node).expect("a node").events;
        let from = events.iter().rposition(again).expect("they are adjacent again");
        events.drain(..from);
    }
    let course = course(&evidence, 0, &[]);
    let marks = course.links.iter().filter(|m| ends.contains(&m.a.as_str()) && ends.contains(&m.b.as_str()));
    let early: Vec<_> = marks.filter(|m| m.at_ns < cut_at_ns && m.state != LinkState::Full).collect();
    assert!(early.is_empty(), "nobody says that they were not adjacent before the cut: {early:#?}");
}

#[test]
fn a_node_that_is_killed_and_started_is_gone_meanwhile() {
    let stage = Stage::of("fig2");
    let from_ns = stage.evidence().at_ns;
    stage.node("sr-bottom", NodeAction::Kill);
    stage.pass(3 * SECOND);
    stage.node("sr-bottom", NodeAction::Start);
    stage.pass(5 * SECOND);
    let evidence = stage.evidence();
    let course = since(&evidence, from_ns, &[]);
    let states: Vec<_> = course.nodes.iter().filter(|m| m.node == "sr-bottom").map(|m| m.state).collect();
    assert_eq!(states, [CourseNodeState::Gone, CourseNodeState::Running]);
    assert!(course.changes.iter().any(|change| change.what == "sr-bottom was ended"), "{:#?}", course.changes);
    let open: Vec<_> = course.troubles.iter().filter(|t| !t.over).collect();
    assert!(open.is_empty(), "{open:#?}");
}
