//! How many runs go at once, and how long the rest will take.

use core::time::Duration;
use std::collections::VecDeque;

/// How often a run is made that is not faithful.
const MOST_ATTEMPTS: u32 = 3;
/// Faithful runs in a row after which a level that failed once is tried again.
const TRIED_AGAIN_AFTER: usize = 20;
/// Runs that an estimate looks back on.
const REMEMBERED: usize = 32;

/// What follows from a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Keep its result.
    Keep,
    /// Make it again: the host may have been the reason.
    Again,
}

/// How many runs go at once. In virtual time that is a matter of processors. Live runs disturb each other: their number
/// begins with one, grows while all are faithful, and falls when one is not.
#[derive(Clone, Debug)]
pub struct Jobs {
    now: usize,
    most: usize,
    /// The highest number that is not known to be too much.
    ceiling: usize,
    follows: bool,
    /// Faithful runs in a row at this number.
    in_a_row: usize,
}

impl Jobs {
    /// Always this many, one at least: nothing that a run finds depends on others beside it.
    #[must_use]
    pub fn fixed(number: usize) -> Self {
        let number = number.max(1);
        Self { now: number, most: number, ceiling: number, follows: false, in_a_row: 0 }
    }

    /// At most this many, as the host carries them.
    #[must_use]
    pub fn following(most: usize) -> Self {
        let most = most.max(1);
        Self { now: 1, most, ceiling: most, follows: true, in_a_row: 0 }
    }

    /// How many go at once now.
    #[must_use]
    pub fn at_once(&self) -> usize {
        self.now
    }

    /// Takes in how a run ended that began when `at_once` were going; it has been made `attempts` times.
    pub fn ended(&mut self, faithful: bool, at_once: usize, attempts: u32) -> Next {
        if !self.follows {
            return Next::Keep;
        }
        if faithful {
            self.in_a_row += 1;
            if self.in_a_row >= TRIED_AGAIN_AFTER && self.ceiling < self.most && self.now == self.ceiling {
                self.ceiling += 1;
            }
            // As many as go at once must have been faithful before one more is risked.
            if self.in_a_row >= self.now && self.now < self.ceiling {
                self.now += 1;
                self.in_a_row = 0;
            }
            return Next::Keep;
        }
        self.in_a_row = 0;
        if at_once > 1 && at_once <= self.now {
            self.ceiling = at_once - 1;
            self.now = self.ceiling;
        }
        if attempts < MOST_ATTEMPTS { Next::Again } else { Next::Keep }
    }
}

/// How long the rest of a sweep will take, from how long the last runs took.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    took: VecDeque<Duration>,
}

impl Estimate {
    /// A run took this long.
    pub fn took(&mut self, wall: Duration) {
        self.took.push_back(wall);
        if self.took.len() > REMEMBERED {
            self.took.pop_front();
        }
    }

    /// How long `left` runs will take with so many at once; none before the first has ended.
    #[must_use]
    pub fn left(&self, left: usize, at_once: usize) -> Option<Duration> {
        let count = u32::try_from(self.took.len()).ok().filter(|count| *count > 0)?;
        let rounds = u32::try_from(left.div_ceil(at_once.max(1))).unwrap_or(u32::MAX);
        (self.took.iter().sum::<Duration>() / count).checked_mul(rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_runs_never_disturb_each_other() {
        let mut jobs = Jobs::fixed(4);
        assert_eq!(jobs.ended(false, 4, 1), Next::Keep);
        assert_eq!(jobs.at_once(), 4);
        assert_eq!(Jobs::fixed(0).at_once(), 1);
    }

    #[test]
    fn live_runs_become_more_while_they_are_faithful() {
        let mut jobs = Jobs::following(3);
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(jobs.at_once());
            assert_eq!(jobs.ended(true, jobs.at_once(), 1), Next::Keep);
        }
        assert_eq!(seen, [1, 2, 2, 3, 3, 3, 3, 3]);
    }

    #[test]
    fn an_unfaithful_run_is_made_again_with_fewer_beside_it() {
        let mut jobs = Jobs::following(4);
        for _ in 0..6 {
            assert_eq!(jobs.ended(true, jobs.at_once(), 1), Next::Keep);
        }
        assert_eq!(jobs.at_once(), 4);
        assert_eq!(jobs.ended(false, 4, 1), Next::Again);
        assert_eq!(jobs.at_once(), 3);
        // It began with the same four: nothing new about three.
        assert_eq!(jobs.ended(false, 4, 1), Next::Again);
        assert_eq!(jobs.at_once(), 3);
        for _ in 0..10 {
            assert_eq!(jobs.ended(true, 3, 1), Next::Keep);
        }
        assert_eq!(jobs.at_once(), 3, "four were too many");
        for _ in 0..10 {
            assert_eq!(jobs.ended(true, 3, 1), Next::Keep);
        }
        assert_eq!(jobs.at_once(), 4, "but not for ever");
    }

    #[test]
    fn what_is_unfaithful_by_itself_ends_after_three_attempts() {
        let mut jobs = Jobs::following(4);
        let next: Vec<Next> = (1..=3).map(|attempt| jobs.ended(false, 1, attempt)).collect();
        assert_eq!(next, [Next::Again, Next::Again, Next::Keep]);
        assert_eq!(jobs.at_once(), 1);
    }

    #[test]
    fn the_end_is_estimated_from_the_last_runs() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.left(4, 2), None);
        estimate.took(Duration::from_secs(2));
        estimate.took(Duration::from_secs(4));
        assert_eq!(estimate.left(5, 2), Some(Duration::from_secs(9)));
        (0..REMEMBERED).for_each(|_| estimate.took(Duration::from_secs(1)));
        assert_eq!(estimate.left(5, 1), Some(Duration::from_secs(5)));
    }
}
