//! What of a timeline is due when. It acts on nothing and reads no clock: it is told the time, tells what is due, and is
//! told what is over.

use std::collections::{BTreeMap, BTreeSet};

use damc_topology::timeline::{Act, Hold, LinkEvent, Start, TimelineEvent};

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it was asked for, ns after convergence.
    pub at_ns: u64,
    /// Which half of it.
    pub step: Step,
    /// The entry, by its number.
    pub entry: usize,
    /// Which of its times, from 0.
    pub time: u32,
}

/// The halves of an entry. What ends comes before what begins at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// What was done is taken back.
    End,
    /// It happens.
    Begin,
}

/// The progress of a timeline.
#[derive(Debug)]
pub struct Timeline<'a> {
    events: &'a [TimelineEvent],
    due: BTreeSet<Due>,
    /// Entries that begin when an entry is over.
    after: BTreeMap<usize, Vec<usize>>,
    /// Times of each entry that are not over.
    left: Vec<u32>,
}

impl<'a> Timeline<'a> {
    /// A timeline at its begin.
    #[must_use]
    pub fn new(events: &'a [TimelineEvent]) -> Self {
        let left = events.iter().map(|event| event.repeat.map_or(1, |repeat| repeat.times)).collect();
        let mut timeline = Self { events, due: BTreeSet::new(), after: BTreeMap::new(), left };
        for (entry, event) in events.iter().enumerate() {
            match event.start {
                Start::At(at_ns) => drop(timeline.due.insert(Due { at_ns, step: Step::Begin, entry, time: 0 })),
                Start::After(before) => timeline.after.entry(before).or_default().push(entry),
            }
        }
        timeline
    }

    /// When something is due next, ns after convergence.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.due.first().map(|due| due.at_ns)
    }

    /// The next of what is due at this time, in the order it was asked for; at one moment, in the order of the file.
    pub fn take(&mut self, now_ns: u64) -> Option<Due> {
        let due = *self.due.first().filter(|due| due.at_ns <= now_ns)?;
        self.due.remove(&due);
        let event = &self.events[due.entry];
        if due.step == Step::Begin {
            if let Some(repeat) = event.repeat.filter(|repeat| due.time + 1 < repeat.times) {
                self.due.insert(Due { at_ns: due.at_ns + repeat.every_ns, time: due.time + 1, ..due });
            }
            if let Some(lasts_ns) = event.lasts_ns.filter(|_| is_taken_back(&event.act)) {
                self.due.insert(Due { at_ns: due.at_ns + lasts_ns, step: Step::End, ..due });
            }
        }
        Some(due)
    }

    /// One half of one time of an entry has been done, at this time. What waits for the entry begins when all its times are
    /// over.
    pub fn done(&mut self, done: Due, now_ns: u64) {
        let event = &self.events[done.entry];
        if done.step == Step::Begin && event.lasts_ns.is_some() && is_taken_back(&event.act) {
            return;
        }
        let left = &mut self.left[done.entry];
        *left = left.saturating_sub(1);
        if *left == 0 {
            for entry in self.after.remove(&done.entry).unwrap_or_default() {
                self.due.insert(Due { at_ns: now_ns, step: Step::Begin, entry, time: 0 });
            }
        }
    }

    /// Everything is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left.iter().all(|left| *left == 0)
    }

    /// Everything is over but what has no end of its own.
    #[must_use]
    pub fn is_over_but_endless(&self) -> bool {
        self.events.iter().zip(&self.left).all(|(event, left)| *left == 0 || is_endless(event))
    }
}

/// Whether an end of this act is something to be done. The others see to their end themselves.
fn is_taken_back(act: &Act) -> bool {
    match act {
        Act::Link { change, .. } => !matches!(change.as_ref(), LinkEvent::Follow(_)),
        Act::Node { .. } | Act::Service { .. } | Act::Licence { .. } | Act::Partition { .. } => true,
        Act::Load(_) | Act::Run { .. } | Act::Expect { .. } => false,
    }
}

/// Whether an entry ends only with everything else.
#[must_use]
pub const fn is_endless(event: &TimelineEvent) -> bool {
    event.lasts_ns.is_none() && matches!(event.act, Act::Expect { hold: Hold::Throughout, .. })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const MS: u64 = 1_000_000;

    fn events(lines: &str) -> Vec<TimelineEvent> {
        let source = format!(
            "name: x\ndomain: d\nnodes: {{ a: {{ kind: sr }}, b: {{ kind: sr }}, c: {{ kind: sr }} }}\n\
             links: [ [a, b], [b, c] ]\nevents:\n{lines}"
        );
        let topology = damc_topology::parse("x.yaml", &source, Path::new("")).unwrap_or_else(|e| panic!("{e:?}"));
        topology.events().to_vec()
    }

    /// Takes everything in turn, each done at once; `entry.time begin|end at ms`.
    fn order(events: &[TimelineEvent]) -> Vec<String> {
        let mut timeline = Timeline::new(events);
        let mut order = Vec::new();
        while let Some(now) = timeline.next_at() {
            let due = timeline.take(now).expect("it is due");
            let step = if due.step == Step::Begin { "begins" } else { "ends" };
            order.push(format!("{}.{} {step} at {}", due.entry, due.time, due.at_ns / MS));
            timeline.done(due, now);
        }
        assert!(timeline.is_over());
        order
    }

    #[test]
    fn entries_come_by_their_time_and_at_one_moment_by_their_place() {
        let events = events(
            "  - { at: 2s, node: a, do: kill }\n  - { at: 1s, node: b, do: kill }\n  - { at: 1s, node: c, do: kill }\n",
        );
        assert_eq!(order(&events), ["1.0 begins at 1000", "2.0 begins at 1000", "0.0 begins at 2000"]);
    }

    #[test]
    fn what_repeats_and_lasts_begins_and_ends_in_turn() {
        let events = events("  - { at: 1s, link: [a, b], set: down, for: 500ms, every: 500ms, times: 2 }\n");
        let expected = ["0.0 begins at 1000", "0.0 ends at 1500", "0.1 begins at 1500", "0.1 ends at 2000"];
        assert_eq!(order(&events), expected);
    }

    #[test]
    fn what_waits_for_an_entry_begins_when_all_its_times_are_over() {
        let events = events(
            "  - { after: flaps, node: a, do: kill, as: last }\n  - { after: last, node: b, do: kill }\n  \
             - { at: 1s, link: [a, b], set: down, for: 100ms, every: 1s, times: 2, as: flaps }\n",
        );
        let order = order(&events);
        assert_eq!(order[3..], ["2.1 ends at 2100", "0.0 begins at 2100", "1.0 begins at 2100"]);
    }

    #[test]
    fn what_takes_time_holds_up_what_waits_for_it() {
        let events = events("  - { at: 1s, node: a, do: start, as: s }\n  - { after: s, node: b, do: kill }\n");
        let mut timeline = Timeline::new(&events);
        let start = timeline.take(1_000 * MS).unwrap();
        assert_eq!((timeline.next_at(), timeline.take(5_000 * MS)), (None, None));
        assert!(!timeline.is_over());
        timeline.done(start, 3_500 * MS);
        assert_eq!(timeline.next_at(), Some(3_500 * MS));
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let events = events("  - { at: 1s, node: a, do: kill }\n");
        let mut timeline = Timeline::new(&events);
        assert_eq!(timeline.take(999 * MS), None);
        assert!(timeline.take(1_000 * MS).is_some());
    }
}
