//! Loads: requests at fixed times, whatever becomes of the ones before.
//!
//! The time of a request counts from when it was due, not from when it could be sent: a network that stalls does not hide
//! what those who came meanwhile had to wait (coordinated omission).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_testbed::timeline::Due;
use damc_testbed::{ONCE, WorldError};
use damc_topology::timeline::{Load, Percentile};
use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::{FuturesUnordered, StreamExt as _};
use hdrhistogram::Histogram;

use super::Play;
use crate::case::Findings;

/// Columns of the table of requests.
const HEADER: &str = "due_ms,latency_ms,outcome\n";
/// Significant digits of latencies.
const DIGITS: u8 = 3;

/// What became of the requests of a load.
#[derive(Debug)]
pub(super) struct Loaded {
    /// From when a request was due until it was answered, ns.
    latencies: Histogram<u64>,
    sent: u64,
    /// Requests without an answer, by what their pod says.
    lost: BTreeMap<String, u64>,
    /// Last nodes of the mesh on the way, with the number of requests that they passed to a pod.
    by_way_of: BTreeMap<String, u64>,
    /// Lines of the table of requests.
    table: String,
}

/// A request that has come to its end.
struct Ended {
    due_ns: u64,
    took_ns: u64,
    reply: Result<CallReply, WorldError>,
}

impl Loaded {
    fn new() -> Self {
        let latencies = Histogram::new(DIGITS).expect("invariant: three digits are accepted");
        let table = HEADER.to_owned();
        Self { latencies, sent: 0, lost: BTreeMap::new(), by_way_of: BTreeMap::new(), table }
    }

    fn take(&mut self, ended: &Ended) {
        let outcome = match &ended.reply {
            Ok(reply) if reply.result.is_some() => {
                // It grows with what it is given.
                let _ = self.latencies.record(ended.took_ns);
                if let Some(last) = reply.path.last() {
                    *self.by_way_of.entry(last.clone()).or_default() += 1;
                }
                "answered"
            }
            Ok(reply) => self.lose(reply.error.as_deref().unwrap_or("no reason")),
            // A pod that does not run cannot ask.
            Err(_) => self.lose("the pod does not answer"),
        };
        // Writing into a string cannot fail.
        let _ = writeln!(self.table, "{},{},{outcome}", ms(ended.due_ns), ms(ended.took_ns));
    }

    /// Adds what became of requests before.
    fn merge(&mut self, before: &Self) {
        // Both count with the same precision, and neither has a bound.
        let _ = self.latencies.add(&before.latencies);
        self.sent += before.sent;
        for (counts, before) in [(&mut self.lost, &before.lost), (&mut self.by_way_of, &before.by_way_of)] {
            for (key, count) in before {
                *counts.entry(key.clone()).or_default() += count;
            }
        }
        let rows = self.table.split_off(HEADER.len());
        self.table.clone_from(&before.table);
        self.table.push_str(&rows);
    }

    fn lose<'a>(&mut self, reason: &'a str) -> &'a str {
        *self.lost.entry(reason.to_owned()).or_default() += 1;
        reason
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    pub(super) fn answered(&self) -> u64 {
        self.latencies.len()
    }

    /// A percentile of the latencies, ns; none where nothing was answered.
    pub(super) fn percentile(&self, percentile: Percentile) -> Option<u64> {
        (self.answered() > 0).then(|| self.latencies.value_at_percentile(percentile.percent()))
    }

    /// Figures and observations for the report.
    pub(super) fn tell(&self, findings: &mut Findings) {
        findings.figure("sent", self.sent as f64, "");
        findings.figure("answered", self.answered() as f64, "");
        findings.figure("lost", self.lost() as f64, "");
        for percentile in Percentile::ALL {
            if let Some(ns) = self.percentile(percentile) {
                findings.figure(percentile.label(), ms(ns), "ms");
            }
        }
        if self.answered() > 0 {
            findings.figure("max", ms(self.latencies.max()), "ms");
        }
        findings.note(format_args!("{} sent, {} answered, {} lost", self.sent, self.answered(), self.lost()));
        for (reason, count) in &self.lost {
            findings.note(format_args!("{count} lost: {reason}"));
        }
        for (node, count) in &self.by_way_of {
            findings.figure(format!("answered behind {node}"), *count as f64, "");
        }
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

impl Play<'_> {
    /// Makes the requests of one time of a load, and waits for the end of each.
    pub(super) async fn load(&self, due: Due, load: &Load, lasts_ns: u64) {
        let mut number = self.loads.borrow().get(&due.entry).map_or(0, |before| before.sent);
        let mut outstanding: FuturesUnordered<LocalBoxFuture<'_, Ended>> = FuturesUnordered::new();
        let mut times = load.due(lasts_ns).map(|at| due.at_ns + at).peekable();
        let mut loaded = Loaded::new();
        loop {
            while let Some(due_ns) = times.next_if(|at| *at <= self.now()) {
                loaded.sent += 1;
                outstanding.push(Box::pin(self.one(load, self.request(load, (due.entry, number)), due_ns)));
                number += 1;
            }
            let ended = match times.peek() {
                None if outstanding.is_empty() => break,
                None => outstanding.next().await,
                Some(at) if outstanding.is_empty() => {
                    self.until(*at).await;
                    None
                }
                Some(at) => match select(outstanding.next(), std::pin::pin!(self.until(*at))).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(_) => None,
                },
            };
            if let Some(ended) = ended {
                loaded.take(&ended);
            }
        }
        if let Some(before) = self.loads.borrow_mut().remove(&due.entry) {
            loaded.merge(&before);
        }
        let event = &self.events[due.entry];
        let name = event.label.clone().unwrap_or_else(|| format!("line-{}", event.line));
        let mut files = self.files.borrow_mut();
        let file = format!("loads/{name}.csv");
        files.retain(|(known, _)| *known != file);
        files.push((file, loaded.table.clone().into_bytes()));
        self.loads.borrow_mut().insert(due.entry, loaded);
    }

    /// A request of so many bytes. Where they are enough they tell it from all others.
    fn request(&self, load: &Load, (entry, number): (usize, u64)) -> CallRequest {
        let mark = format!("{ONCE}{entry:x}-{number:x}-");
        let mark = if mark.len() > load.size { String::new() } else { mark };
        let argument = format!("{mark}{}", "x".repeat(load.size - mark.len()));
        CallRequest {
            name: load.to.to_string(),
            method: "echo".into(),
            args: vec![argument],
            deadline_ms: self.testbed.call_deadline_ms(),
            // A pool has several instances, and who answers is of interest.
            trace: self.is_pool(load),
            source: None,
            flow: None,
            traceparent: None,
        }
    }

    fn is_pool(&self, load: &Load) -> bool {
        let services = self.testbed.topology.nodes().values().flat_map(|node| &node.services);
        services.into_iter().any(|service| service.pool.as_ref() == Some(&load.to))
    }

    async fn one(&self, load: &Load, request: CallRequest, due_ns: u64) -> Ended {
        let reply = self.testbed.lab.call(load.from.as_str(), &request).await;
        Ended { due_ns, took_ns: self.now().saturating_sub(due_ns), reply }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(due_ms: u64, took_ms: u64, answered: bool) -> Ended {
        let reply = CallReply {
            call: None,
            result: answered.then(|| "x".to_owned()),
            error: (!answered).then(|| "timeout".to_owned()),
            detail: None,
            elapsed_ns: 1,
            path: vec!["sg-1".into(), "sg-4".into()],
            return_path: Vec::new(),
            traceparent: None,
        };
        Ended { due_ns: due_ms * 1_000_000, took_ns: took_ms * 1_000_000, reply: Ok(reply) }
    }

    #[test]
    fn latencies_lost_requests_and_ways_are_counted() {
        let mut loaded = Loaded::new();
        for number in 1..=100 {
            loaded.take(&ended(number, number, number != 7));
        }
        assert_eq!((loaded.answered(), loaded.lost()), (99, 1));
        let percentile = |p| loaded.percentile(p).unwrap() / 1_000_000;
        assert_eq!(percentile(Percentile::P50), 51);
        assert_eq!(percentile(Percentile::P999), 100);
        assert_eq!(loaded.lost, BTreeMap::from([("timeout".to_owned(), 1)]));
        assert_eq!(loaded.by_way_of, BTreeMap::from([("sg-4".to_owned(), 99)]));
        assert_eq!(loaded.table.lines().nth(7), Some("7,7,timeout"));
        assert_eq!(Loaded::new().percentile(Percentile::P99), None);
        let mut later = Loaded::new();
        later.take(&ended(101, 5, true));
        later.merge(&loaded);
        assert_eq!((later.answered(), later.lost(), later.table.lines().count()), (100, 1, 102));
        assert_eq!(later.table.lines().last(), Some("101,5,answered"));
    }
}
