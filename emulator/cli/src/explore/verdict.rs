//! Running one trial, and what it showed.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use damc_conformance::runner::{self, Trial as Played};
use damc_sim::VirtualMaker;
use damc_topology::Topology;

thread_local! {
    /// What a panic of this thread said, and where it was.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its kind, in a word or two.
    pub rule: String,
    /// What was expected and seen.
    pub why: String,
}

/// Keeps panics quiet while trials run: they are what is looked for, and are told like everything else that is found.
pub fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let before = take_hook();
    set_hook(Box::new(|info| PANICKED.with_borrow_mut(|said| *said = Some(info.to_string()))));
    let result = work();
    set_hook(before);
    result
}

/// Plays a topology's timeline in virtual time.
pub fn play(topology: &Topology, seed: u64) -> (Played, Option<Broken>) {
    let maker = VirtualMaker::new(1.0);
    let played = catch_unwind(AssertUnwindSafe(|| damc_sim::block_on(&maker, runner::trial(&maker, topology, seed))));
    match played {
        Ok(Ok(played)) => {
            let broken = played.failures.first().map(|(case, why)| broken(case, why));
            (played, broken)
        }
        Ok(Err(error)) => (Played::default(), Some(Broken { rule: "set-up".into(), why: error.to_string() })),
        Err(panic) => (Played::default(), Some(Broken { rule: "panic".into(), why: said(panic.as_ref()) })),
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let told = PANICKED.with_borrow_mut(Option::take);
    let text = || panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned());
    told.unwrap_or_else(text).replace('\n', " ")
}

/// What kind of rule a failure breaks: what was seen begins with it.
fn broken(case: &str, why: &str) -> Broken {
    let saw = why.split_once("saw: ").map_or(case, |(_, saw)| saw);
    let rule = saw.split([':', ',']).next().unwrap_or(case);
    Broken { rule: rule.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_named_by_what_was_seen() {
        let rule = |why: &str| broken("expect-1", why).rule;
        assert_eq!(rule("expected: the invariants hold within 20 s; saw: tables: sg-1, /A: …"), "tables");
        assert_eq!(
            rule("expected, whatever the load: no loop; saw: executed twice, 3 in all, the first …"),
            "executed twice"
        );
        assert_eq!(broken("convergence", "never").rule, "convergence");
    }
}
