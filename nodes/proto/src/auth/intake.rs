//! How fast a pod may bring names, and how often one name may come and go.
//!
//! Every new name costs signatures, an LSA in the whole domain, and memory at SG and SPA. So each pod has a bucket of
//! tokens, one for each new name, and a name that is withdrawn again and again is held down for a while (after RFC 2439).
//! Both are kept as one time each, at which the debt is paid: nothing has to run down meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use damc_wire::{Name, RefusalReason, Timestamp};

/// New names of a pod at once: all it may have, and all of them again after a restart.
pub const NEW_NAMES_BURST: u32 = 2048;
/// New names of a pod each second, in the long run.
pub const NEW_NAMES_PER_SECOND: u32 = 8;
/// What one withdrawal of a name is remembered for.
pub const WITHDRAWAL_COUNTS_FOR: Duration = Duration::from_secs(2);
/// Withdrawals in memory from which a name is held down.
pub const HELD_DOWN_FROM: u32 = 10;
/// Withdrawals in memory from which it may come again.
pub const HELD_DOWN_TO: u32 = 5;

/// Fewest names that are looked through for what can be forgotten.
const TIDY_FROM: usize = 64;

/// A bucket of tokens.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    interval: Duration,
    burst: u32,
    full_at: Timestamp,
}

impl Bucket {
    /// A full one: `burst` tokens at once, `per_second` in the long run.
    #[must_use]
    pub fn new(burst: u32, per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), burst, full_at: Timestamp::ZERO }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let full_at = self.full_at.max(now) + self.interval;
        let there = full_at.since(now) <= self.interval * self.burst;
        if there {
            self.full_at = full_at;
        }
        there
    }

    fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }
}

impl Default for Bucket {
    /// That of a pod's new names.
    fn default() -> Self {
        Self::new(NEW_NAMES_BURST, NEW_NAMES_PER_SECOND)
    }
}

#[derive(Clone, Copy, Debug)]
struct Withdrawals {
    forgotten_at: Timestamp,
    held_down: bool,
}

/// What an SG remembers of a pod beyond its adjacency.
#[derive(Debug, Default)]
pub struct Intake {
    bucket: Bucket,
    withdrawn: BTreeMap<Name, Withdrawals>,
    tidy_at: usize,
}

impl Intake {
    /// Whether the pod may bring this name now; takes a token if so.
    ///
    /// # Errors
    /// Held down, or too many new names.
    pub fn admit(&mut self, now: Timestamp, name: &Name) -> Result<(), RefusalReason> {
        if let Some(withdrawn) = self.withdrawn.get_mut(name).filter(|w| w.held_down) {
            withdrawn.held_down = withdrawn.forgotten_at.since(now) > WITHDRAWAL_COUNTS_FOR * HELD_DOWN_TO;
            if withdrawn.held_down {
                return Err(RefusalReason::HeldDown);
            }
        }
        self.bucket.take(now).then_some(()).ok_or(RefusalReason::RateLimited)
    }

    /// A name that was granted is gone.
    pub fn withdrawn(&mut self, now: Timestamp, name: &Name) {
        self.tidy(now);
        let fresh = Withdrawals { forgotten_at: now, held_down: false };
        let withdrawn = self.withdrawn.entry(name.clone()).or_insert(fresh);
        withdrawn.forgotten_at = withdrawn.forgotten_at.max(now) + WITHDRAWAL_COUNTS_FOR;
        let count_for = withdrawn.forgotten_at.since(now);
        withdrawn.held_down |= count_for > WITHDRAWAL_COUNTS_FOR * (HELD_DOWN_FROM - 1);
    }

    /// Nothing of it matters any more.
    #[must_use]
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.bucket.is_full(now) && self.withdrawn.values().all(|w| w.forgotten_at <= now)
    }

    /// Forgets what is paid. What stays costs tokens to be there, so there are few.
    fn tidy(&mut self, now: Timestamp) {
        if self.withdrawn.len() >= self.tidy_at.max(TIDY_FROM) {
            self.withdrawn.retain(|_, w| w.forgotten_at > now);
            self.tidy_at = self.withdrawn.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn name(i: u32) -> Name {
        format!("/n/{i}").parse().unwrap()
    }

    #[test]
    fn a_burst_then_so_many_each_second() {
        let mut intake = Intake::default();
        let mut admitted = |ms| (0..4000).filter(|i| intake.admit(at(ms), &name(*i)).is_ok()).count();
        assert_eq!(admitted(5000), 2048);
        assert_eq!((admitted(5000), admitted(5124), admitted(5125)), (0, 0, 1));
        assert_eq!(admitted(15_125), 80);
        assert_eq!(admitted(1_000_000), 2048, "never more than a burst");
    }

    #[test]
    fn a_name_that_comes_and_goes_is_held_down_and_others_are_not() {
        let mut intake = Intake::default();
        for i in 0..10 {
            assert_eq!(intake.admit(at(i * 10), &name(1)), Ok(()), "{i}");
            intake.withdrawn(at(i * 10), &name(1));
        }
        assert_eq!(intake.admit(at(100), &name(1)), Err(RefusalReason::HeldDown));
        assert_eq!(intake.admit(at(100), &name(2)), Ok(()));
        assert_eq!(intake.admit(at(9_900), &name(1)), Err(RefusalReason::HeldDown));
        assert_eq!(intake.admit(at(10_100), &name(1)), Ok(()));
    }

    #[test]
    fn now_and_then_is_no_flapping() {
        let mut intake = Intake::default();
        for i in 0..1000 {
            assert_eq!(intake.admit(at(i * 2000), &name(1)), Ok(()), "{i}");
            intake.withdrawn(at(i * 2000 + 500), &name(1));
        }
        assert!(!intake.is_idle(at(1000 * 2000)));
        assert!(intake.is_idle(at(1000 * 2000 + 10_000)));
    }

    /// WIRE.md section 21 and the code say the same figures.
    #[test]
    fn figures_are_those_of_the_specification() {
        use crate::lsdb::{FRAGMENTS_PER_ORIGIN, NAMES_PER_ORIGIN};
        let (text, limits) = (include_str!("../../../WIRE.md"), crate::auth::registrar::Limits::default());
        let counts = WITHDRAWAL_COUNTS_FOR.as_millis();
        for row in [
            format!("| ours: {} of one pod, {} in all (pools count);", limits.names_per_pod, limits.names),
            format!("| ours: {NEW_NAMES_BURST} at once, then {NEW_NAMES_PER_SECOND} each second |"),
            format!("counts for {counts} ms; *hold-down from* {HELD_DOWN_FROM}, *hold-down to* {HELD_DOWN_TO} |"),
            format!("fragments 0 to {}, {NAMES_PER_ORIGIN} prefixes", FRAGMENTS_PER_ORIGIN - 1),
            format!("| ours: {} of one pod, 65536 in all;", crate::auth::authority::GRANTS_PER_POD),
        ] {
            assert!(text.contains(&row), "{row}");
        }
    }

    #[test]
    fn memory_is_bounded_by_tokens() {
        let mut intake = Intake::default();
        for i in 0..100_000_u32 {
            let now = at(u64::from(i));
            if intake.admit(now, &name(i)).is_ok() {
                intake.withdrawn(now, &name(i));
            }
        }
        assert!(intake.withdrawn.len() <= 2 * 2048, "{}", intake.withdrawn.len());
    }
}
