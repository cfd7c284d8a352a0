//! What became of verdicts.

use damc_conformance::verdict::{Kind, Verdict};
use damc_sweep::fisher_more;

use crate::model::{Shift, Tally};

impl Tally {
    /// Of some verdicts; those that were not reached count for nothing.
    pub(crate) fn of<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Self {
        let mut tally = Self::default();
        for verdict in verdicts {
            match verdict.kind() {
                Kind::Pass => tally.pass += 1,
                Kind::Fail => tally.fail += 1,
                Kind::Inconclusive => tally.inconclusive += 1,
                Kind::Exception => tally.exception += 1,
                Kind::NotRun | Kind::Todo => {}
            }
        }
        tally
    }

    /// Verdicts on the nodes.
    const fn judged(self) -> usize {
        self.pass + self.fail
    }

    const fn is_empty(self) -> bool {
        self.judged() + self.inconclusive + self.exception == 0
    }

    /// Whether the share of failures is what chance could decide: some fail, and both sides were judged.
    pub(crate) const fn is_open(self, other: Self) -> bool {
        self.fail > 0 && other.judged() > 0
    }
}

/// What became of a verdict in single runs; none where it is the same.
pub(crate) fn of_one(a: Tally, b: Tally) -> Option<Shift> {
    if a == b { None } else { certain(a, b).or(Some(if b.pass > 0 { Shift::Better } else { Shift::Other })) }
}

/// What became of a verdict in many runs; none where it is the same. `level` bounds the chance of being wrong about a share of
/// failures.
pub(crate) fn of_many(a: Tally, b: Tally, level: f64) -> Option<Shift> {
    if let Some(shift) = certain(a, b) {
        return Some(shift);
    }
    if a.is_open(b) {
        let more = fisher_more(a.fail, a.judged(), b.fail, b.judged());
        let fewer = fisher_more(b.fail, b.judged(), a.fail, a.judged());
        return match (more * 2.0 <= level, fewer * 2.0 <= level) {
            (true, _) => Some(Shift::Worse),
            (_, true) => Some(Shift::Better),
            // It may have been chance that nothing failed this time.
            _ => (b.fail == 0).then_some(Shift::Other),
        };
    }
    if a.fail > 0 {
        // It failed, and nothing is known now.
        return Some(Shift::Other);
    }
    (a.pass == 0 && b.pass > 0).then_some(Shift::Better)
}

/// What needs no statistics: a failure is never noise, and what is not judged says nothing.
fn certain(a: Tally, b: Tally) -> Option<Shift> {
    match (a.fail, b.fail) {
        (0, 1..) if a.is_empty() => Some(Shift::NewlyFailing),
        (0, 1..) => Some(Shift::Worse),
        (0, 0) if a.pass > 0 && b.pass == 0 => Some(Shift::Unjudged),
        (0, 0) if a.is_empty() => Some(Shift::Other),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tally(pass: usize, fail: usize, inconclusive: usize) -> Tally {
        Tally { pass, fail, inconclusive, exception: 0 }
    }

    #[test]
    fn a_failure_is_worse_than_anything_that_was_before() {
        for before in [tally(1, 0, 0), tally(0, 0, 1), Tally { exception: 1, ..tally(0, 0, 0) }] {
            assert_eq!(of_one(before, tally(0, 1, 0)), Some(Shift::Worse));
        }
        assert_eq!(of_one(tally(0, 0, 0), tally(0, 1, 0)), Some(Shift::NewlyFailing));
        assert_eq!(of_one(tally(0, 1, 0), tally(0, 1, 0)), None);
        assert_eq!(of_one(tally(0, 1, 0), tally(1, 0, 0)), Some(Shift::Better));
    }

    #[test]
    fn what_passed_and_is_not_judged_is_unjudged() {
        assert_eq!(of_one(tally(1, 0, 0), tally(0, 0, 1)), Some(Shift::Unjudged));
        assert_eq!(of_one(tally(1, 0, 0), tally(0, 0, 0)), Some(Shift::Unjudged));
        assert_eq!(of_one(tally(0, 1, 0), tally(0, 0, 1)), Some(Shift::Other));
        assert_eq!(of_one(tally(0, 0, 0), tally(1, 0, 0)), Some(Shift::Other));
        assert_eq!(of_one(tally(0, 0, 1), tally(1, 0, 0)), Some(Shift::Better));
    }

    #[test]
    fn shares_of_failures_are_told_from_chance() {
        let shift = |a, b| of_many(a, b, 0.05);
        assert_eq!(shift(tally(100, 0, 0), tally(99, 1, 0)), Some(Shift::Worse), "it never failed");
        assert_eq!(shift(tally(19, 1, 0), tally(18, 2, 0)), None);
        assert_eq!(shift(tally(19, 1, 0), tally(2, 18, 0)), Some(Shift::Worse));
        assert_eq!(shift(tally(2, 18, 0), tally(19, 1, 0)), Some(Shift::Better));
        assert_eq!(shift(tally(19, 1, 0), tally(20, 0, 0)), Some(Shift::Other), "one of 20 may be chance");
        assert_eq!(shift(tally(0, 20, 0), tally(20, 0, 0)), Some(Shift::Better));
        assert_eq!(shift(tally(0, 20, 0), tally(0, 0, 20)), Some(Shift::Other));
        assert_eq!(shift(tally(20, 0, 0), tally(15, 0, 5)), None);
        assert_eq!(shift(tally(20, 0, 0), tally(0, 0, 20)), Some(Shift::Unjudged));
    }
}
