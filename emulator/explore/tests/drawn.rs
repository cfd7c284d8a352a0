//! What is drawn can be run, is the same for one seed, and what is shrunk keeps what it needs.

use std::collections::BTreeSet;
use std::path::Path;

use damc_explore::{Answer, Draw, Event, Happening, Trial, shrink};
use damc_topology::parse;
use damc_topology::timeline::{Act, Expected};

const DRAWN: u64 = 400;

fn random(seed: u64) -> Draw {
    Draw { seed, topology: None }
}

#[test]
fn every_trial_is_a_file_that_ends_with_the_invariants() {
    let mut kinds = BTreeSet::new();
    let mut sizes = BTreeSet::new();
    for number in 0..DRAWN {
        let trial = random(7).trial(number);
        let text = trial.text(&["a note".into()]);
        let topology = parse("drawn", &text, Path::new("")).unwrap_or_else(|e| panic!("{number}: {e:?}\n{text}"));
        let last = topology.events().last().expect("an event");
        assert!(matches!(last.act, Act::Expect { what: Expected::Invariants, .. }), "{text}");
        assert_eq!(topology.events().len(), trial.events.len() + 1);
        kinds.extend(trial.events.iter().map(Event::kind));
        sizes.insert(topology.nodes().len());
    }
    let all = [
        "announce",
        "down",
        "grant",
        "impaired",
        "kill",
        "load",
        "overload",
        "partition",
        "pause",
        "restart",
        "revoke",
        "silent",
        "stop",
    ];
    assert_eq!(kinds, BTreeSet::from(all));
    assert!(sizes.len() > 5, "{sizes:?}");
}

#[test]
fn one_seed_and_number_one_trial() {
    let text = |seed, number| random(seed).trial(number).text(&[]);
    assert_eq!(text(1, 9), text(1, 9));
    assert_ne!(text(1, 9), text(1, 10));
    assert_ne!(text(1, 9), text(2, 9));
    let fixed = Draw { seed: 1, topology: Some(random(1).trial(0).topology) };
    assert_eq!(fixed.trial(3).topology, fixed.trial(4).topology);
    assert_ne!(fixed.trial(3).events, fixed.trial(4).events);
}

/// A rule of this test: it fails where two given events are there, and two given nodes.
#[test]
fn shrinking_keeps_what_it_needs_and_nothing_else() {
    let mut shown = 0;
    for number in 0..60 {
        let trial = random(11).trial(number);
        let nodes: Vec<_> =
            trial.topology.nodes().keys().filter(|n| n.as_str().starts_with("sg-")).take(2).cloned().collect();
        if trial.events.len() < 4 {
            continue;
        }
        let needed = [trial.events[1].what.clone(), trial.events[3].what.clone()];
        let names = |event: &Event, trial: &Trial| trial.topology.nodes().keys().any(|node| event.names(node));
        if !trial.events.iter().all(|event| names(event, &trial)) {
            continue;
        }
        let mut asked = 0;
        let shrunk = shrink(trial.clone(), &mut |candidate| {
            asked += 1;
            let has = |what: &Happening| candidate.events.iter().any(|event| event.what == *what);
            let fails = needed.iter().all(has) && nodes.iter().all(|n| candidate.topology.nodes().contains_key(n));
            if fails { Answer::Same } else { Answer::Other }
        });
        assert!(shrunk.complete && shrunk.tried == asked);
        assert!(shrunk.trial.runnable().is_some());
        let left: BTreeSet<String> = shrunk.trial.events.iter().map(|event| format!("{:?}", event.what)).collect();
        assert_eq!(left, needed.iter().map(|what| format!("{what:?}")).collect(), "{number}");
        assert!(shrunk.trial.topology.nodes().len() <= trial.topology.nodes().len());
        shown += 1;
    }
    assert!(shown > 5, "{shown}");
}

#[test]
fn shrinking_ends_when_there_is_no_more_time() {
    let mut left = 5;
    let trial = random(11).trial(0);
    let shrunk = shrink(trial, &mut |_| {
        left -= 1;
        if left == 0 { Answer::Enough } else { Answer::Same }
    });
    assert!(!shrunk.complete);
    assert_eq!((shrunk.tried, left), (5, 0));
}
