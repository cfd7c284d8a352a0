//! What is expected, and looking whether it is so.

use std::collections::BTreeSet;
use std::time::Duration;

use damc_mgmt::call::CallReply;
use damc_testbed::WorldError;
use damc_topology::Time;
use damc_topology::timeline::{Expected, FibState, Hold, Percentile, TimelineEvent};
use damc_wire::{Message, Name, NodeId};
use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::{FuturesUnordered, StreamExt as _};

use super::Play;
use crate::case::{Findings, Stop};

/// From one look to the next, where something has to become true.
const LOOK_WITHIN: Duration = Duration::from_millis(10);
/// The same, where a look is one at every node; longer after a longer time in vain.
const LOOK_AT_ALL: Duration = Duration::from_millis(200);
/// A pause between looks at every node is such a part of the time so far.
const SHARE: u64 = 8;
/// From one look to the next, where something has to stay true.
const LOOK_THROUGHOUT: Duration = Duration::from_millis(50);
/// Later than everything, ns.
const FOREVER: u64 = u64::MAX / 4;
/// Most looks that wait for their answers.
const OUTSTANDING: usize = 256;

/// What a look saw: that it is as expected, or not, in words.
struct Look {
    began_ns: u64,
    ended_ns: u64,
    saw: Result<Result<String, String>, WorldError>,
}

impl Look {
    /// When what was seen was so. Nobody knows when a call that has no answer was lost; it was after it was sent.
    const fn moment(&self, what: &Expected) -> u64 {
        if matches!(what, Expected::Unreachable { .. }) { self.began_ns } else { self.ended_ns }
    }

    fn text(&self) -> String {
        match &self.saw {
            Ok(Ok(saw) | Err(saw)) => saw.clone(),
            Err(error) => error.one_line(),
        }
    }

    const fn is_good(&self) -> bool {
        matches!(self.saw, Ok(Ok(_)))
    }
}

impl Play<'_> {
    /// Judges one time of an expectation.
    pub(super) async fn judge(&self, entry: usize, event: &TimelineEvent, what: &Expected, hold: Hold) {
        let began = self.now();
        let mut findings = Findings::default();
        let outcome = self.judged(event, what, hold, &mut findings).await;
        let mut found = self.found.borrow_mut();
        let judged = found.entry(entry).or_default();
        judged.findings.append(findings);
        judged.stop = judged.stop.take().or_else(|| outcome.err());
        judged.took += Duration::from_nanos(self.now() - began);
    }

    async fn judged(
        &self,
        event: &TimelineEvent,
        what: &Expected,
        hold: Hold,
        findings: &mut Findings,
    ) -> Result<(), Stop> {
        match what {
            Expected::Lost { of, at_most } => self.lost(*of, *at_most, findings),
            Expected::Latency { of, percentile, at_most_ns } => self.latency(*of, *percentile, *at_most_ns, findings),
            Expected::SilentLink { .. } | Expected::SilentNode { .. } => {
                self.silence(what, event.lasts_ns.unwrap_or(0), findings).await
            }
            _ => {
                match hold {
                    Hold::Now => {
                        let look = self.look(what).await;
                        findings.check_saw(look.is_good(), what, look.text());
                    }
                    Hold::Within(within_ns) => self.within(what, within_ns, findings).await,
                    Hold::Throughout => self.throughout(event, what, findings).await?,
                }
                if matches!(what, Expected::Invariants) {
                    self.witnessed(findings);
                }
                Ok(())
            }
        }
    }

    /// Looks again and again, also while answers to earlier looks are awaited: a lost call is not to hide that the next
    /// one arrives.
    async fn within(&self, what: &Expected, within_ns: u64, findings: &mut Findings) {
        let began = self.now();
        let ends = began + within_ns;
        let mut last = "no answer in time".to_owned();
        let mut looks: FuturesUnordered<LocalBoxFuture<'_, Look>> = FuturesUnordered::new();
        let mut next = began;
        loop {
            if next <= self.now() && next <= ends && looks.len() < OUTSTANDING {
                looks.push(Box::pin(self.look(what)));
                next += pause(what, next - began);
            }
            let over = self.now() > ends;
            // Whether the last calls are lost is known only later, and counts where they were sent in time.
            if over && (looks.is_empty() || !matches!(what, Expected::Unreachable { .. })) {
                findings.check_saw(false, format_args!("{what} within {}", Time(within_ns)), last);
                return;
            }
            let wait = if over || looks.len() >= OUTSTANDING { FOREVER } else { next.min(ends + 1) };
            let Some(look) = self.one_of(&mut looks, wait).await else { continue };
            if look.is_good() && look.moment(what) <= ends {
                let took = Duration::from_nanos(look.moment(what).saturating_sub(began));
                findings.within(took, Duration::from_nanos(within_ns), format_args!("{what}, {}", look.text()));
                findings.figure("took", took.as_secs_f64() * 1e3, "ms");
                return;
            }
            last = look.text();
        }
    }

    async fn throughout(&self, event: &TimelineEvent, what: &Expected, findings: &mut Findings) -> Result<(), Stop> {
        let began = self.now();
        let ends = self.ends_at(event, began);
        let is_over = || ends.map_or_else(|| self.over.get(), |ends| self.now() >= ends);
        let mut looks: FuturesUnordered<LocalBoxFuture<'_, Look>> = FuturesUnordered::new();
        let (mut next, mut good, mut bad) = (began, 0_u64, Vec::new());
        while !is_over() || !looks.is_empty() {
            if next <= self.now() && !is_over() && looks.len() < OUTSTANDING {
                looks.push(Box::pin(self.look(what)));
                next += ns(LOOK_THROUGHOUT);
            }
            let full = looks.len() >= OUTSTANDING;
            let wait = if is_over() || full { FOREVER } else { ends.unwrap_or(FOREVER).min(next) };
            match self.one_of(&mut looks, wait).await {
                Some(look) if look.is_good() => good += 1,
                Some(look) => bad.push(look),
                None => {}
            }
        }
        findings.figure("looks", (good + bad.len() as u64) as f64, "");
        findings.figure("looks that failed", bad.len() as f64, "");
        let expected = format!("{what} at each of {} looks", good + bad.len() as u64);
        match bad.first() {
            None if good == 0 => Err(Stop::Inconclusive("it had no time: nothing was looked at".into())),
            None => {
                findings.check_saw(true, expected, "so it was");
                Ok(())
            }
            Some(first) => {
                let at = Time(first.began_ns / 1_000_000 * 1_000_000);
                let saw = format!("{} looks failed, the first at {at}: {}", bad.len(), first.text());
                findings.check_saw(false, expected, saw);
                Ok(())
            }
        }
    }

    /// The next look that ends before this time; none where none does.
    async fn one_of<'b>(&'b self, looks: &mut FuturesUnordered<LocalBoxFuture<'b, Look>>, until: u64) -> Option<Look> {
        if looks.is_empty() {
            self.until(until).await;
            return None;
        }
        match select(looks.next(), std::pin::pin!(self.until(until))).await {
            Either::Left((look, _)) => look,
            Either::Right(_) => None,
        }
    }

    async fn look(&self, what: &Expected) -> Look {
        let began_ns = self.now();
        let saw = self.saw(what).await;
        Look { began_ns, ended_ns: self.now(), saw }
    }

    async fn saw(&self, what: &Expected) -> Result<Result<String, String>, WorldError> {
        let lab = &self.testbed.lab;
        Ok(match what {
            Expected::Reachable { from, name } => self.called(from, name).await?.map(|_| "answered".to_owned()),
            Expected::Unreachable { from, name } => match self.called(from, name).await? {
                Ok(reply) => Err(format!("answered by way of {}", reply.path.join(" → "))),
                Err(reason) => Ok(reason),
            },
            Expected::Path { from, name, nodes, exact } => {
                let went = self.called(from, name).await?;
                went.and_then(|reply| {
                    let right = if *exact { same(&reply.path, nodes) } else { passes(&reply.path, nodes) };
                    let path = reply.path.join(" → ");
                    if right { Ok(path) } else { Err(path) }
                })
            }
            Expected::Fib { node, prefix, entry } => {
                let (prefix, fib) = (prefix.to_string(), lab.fib(node.as_str()).await?);
                let plain = fib.entries.iter().find(|row| row.prefix == prefix && row.label.is_none());
                let hops = plain.into_iter().flat_map(|row| &row.next_hops).map(|hop| hop.node.as_str());
                fib_is(entry, &hops.collect())
            }
            Expected::Policy { node, prefix, present } => {
                let (prefix, view) = (prefix.to_string(), lab.policies(node.as_str()).await?);
                let found = view.policies.iter().find(|policy| policy.prefix == prefix && policy.active);
                let saw = found.map_or_else(
                    || "no policy in force".to_owned(),
                    |policy| format!("policy {} version {} of {}", policy.label, policy.version, policy.source),
                );
                if found.is_some() == *present { Ok(saw) } else { Err(saw) }
            }
            Expected::Invariants => self.invariants().await?,
            Expected::Lost { .. }
            | Expected::Latency { .. }
            | Expected::SilentLink { .. }
            | Expected::SilentNode { .. } => Err("this is no matter of a look".to_owned()),
        })
    }

    /// A traced call: its reply, or why it has no result.
    pub(super) async fn called(&self, from: &NodeId, name: &Name) -> Result<Result<CallReply, String>, WorldError> {
        let reply = self.testbed.call(from.as_str(), &name.to_string(), "echo", &["expected"]).await?;
        Ok(match &reply.error {
            None => Ok(reply),
            Some(error) => {
                let detail = reply.detail.as_ref().map_or_else(String::new, |detail| format!(" ({detail})"));
                Err(format!("{error}{detail}"))
            }
        })
    }

    fn lost(&self, of: usize, at_most: u64, findings: &mut Findings) -> Result<(), Stop> {
        let loads = self.loads.borrow();
        let loaded = loads.get(&of).ok_or_else(no_load)?;
        let requests = loaded.answered() + loaded.lost();
        let saw = format!("{} of {requests}", loaded.lost());
        findings.check_saw(loaded.lost() <= at_most, format_args!("at most {at_most} requests lost"), saw);
        Ok(())
    }

    fn latency(&self, of: usize, percentile: Percentile, most: u64, findings: &mut Findings) -> Result<(), Stop> {
        let loads = self.loads.borrow();
        let loaded = loads.get(&of).ok_or_else(no_load)?;
        match loaded.percentile(percentile) {
            Some(ns) => {
                let samples = usize::try_from(loaded.answered()).unwrap_or(usize::MAX);
                findings.bound(ns as f64 / 1e6, most as f64 / 1e6, "ms", samples, percentile.label());
            }
            None => findings.check_saw(
                false,
                format_args!("{} at most {}", percentile.label(), Time(most)),
                "no answer at all",
            ),
        }
        Ok(())
    }

    /// Waits, and looks at what was recorded meanwhile.
    async fn silence(&self, what: &Expected, lasts_ns: u64, findings: &mut Findings) -> Result<(), Stop> {
        let (from, ends) = (self.testbed.now_ns(), self.now() + lasts_ns);
        self.until(ends).await;
        let until = from + lasts_ns;
        let seen = match what {
            Expected::SilentNode { node } => self.testbed.raw_sent_by(node.as_str(), from).await?.len(),
            Expected::SilentLink { a, b } => {
                let mut frames = self.testbed.all_sent(from, a.as_str(), b.as_str()).await?;
                frames.extend(self.testbed.all_sent(from, b.as_str(), a.as_str()).await?);
                let of_users = |message: &Message| matches!(message, Message::Data(_) | Message::Packet(_));
                frames.iter().filter(|seen| seen.at_ns <= until && of_users(&seen.frame.message)).count()
            }
            _ => 0,
        };
        if !self.testbed.recording_is_complete() {
            return Err(Stop::Inconclusive("the recording has gaps".into()));
        }
        findings.never(seen == 0, what, format_args!("{seen} frames in {}", Time(lasts_ns)));
        Ok(())
    }
}

/// From one look to the next, ns, after looking for so long.
fn pause(what: &Expected, so_far_ns: u64) -> u64 {
    match what {
        Expected::Invariants => ns(LOOK_AT_ALL).max(so_far_ns / SHARE),
        _ => ns(LOOK_WITHIN),
    }
}

fn no_load() -> Stop {
    Stop::Inconclusive("its load did not end".into())
}

fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn same(path: &[String], nodes: &[NodeId]) -> bool {
    path.iter().map(String::as_str).eq(nodes.iter().map(NodeId::as_str))
}

/// Whether a path passes these nodes in this order.
fn passes(path: &[String], nodes: &[NodeId]) -> bool {
    let mut path = path.iter();
    nodes.iter().all(|node| path.any(|passed| passed == node.as_str()))
}

fn fib_is(entry: &FibState, hops: &BTreeSet<&str>) -> Result<String, String> {
    let right = match entry {
        FibState::Present => !hops.is_empty(),
        FibState::Absent => hops.is_empty(),
        FibState::Through(nodes) => nodes.iter().map(NodeId::as_str).eq(hops.iter().copied()),
    };
    let saw = if hops.is_empty() {
        "no way".to_owned()
    } else {
        format!("by {}", hops.iter().copied().collect::<Vec<_>>().join(" and "))
    };
    if right { Ok(saw) } else { Err(saw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|name| NodeId::new(name).unwrap()).collect()
    }

    #[test]
    fn paths_are_the_same_or_pass() {
        let path = ["sg-1", "sr-left", "sg-3"].map(str::to_owned);
        assert!(same(&path, &nodes(&["sg-1", "sr-left", "sg-3"])));
        assert!(!same(&path, &nodes(&["sg-1", "sg-3"])));
        assert!(passes(&path, &nodes(&["sg-1", "sg-3"])));
        assert!(!passes(&path, &nodes(&["sg-3", "sg-1"])));
        assert!(!passes(&path, &nodes(&["sr-right"])));
    }

    #[test]
    fn a_table_has_a_way_none_or_this_one() {
        let (none, one) = (BTreeSet::new(), BTreeSet::from(["sg-1"]));
        let through = |names| FibState::Through(nodes(names).into_iter().collect());
        assert_eq!(fib_is(&FibState::Present, &one), Ok("by sg-1".into()));
        assert_eq!(fib_is(&FibState::Present, &none), Err("no way".into()));
        assert_eq!(fib_is(&FibState::Absent, &none), Ok("no way".into()));
        assert_eq!(fib_is(&FibState::Absent, &one), Err("by sg-1".into()));
        assert_eq!(fib_is(&through(&["sg-1"]), &one), Ok("by sg-1".into()));
        assert_eq!(fib_is(&through(&["sg-1", "sg-2"]), &one), Err("by sg-1".into()));
    }
}
