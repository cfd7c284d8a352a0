//! Measurement of one path by an SG: to one target, plain or along one label.

use core::time::Duration;
use std::collections::VecDeque;

use damc_mgmt::config::Timers;
use damc_wire::Timestamp;
use damc_wire::message::Probe;

use super::estimator::{Bandwidth, DelayEstimator, LossWindow, PathJitter, Stamps, Train, train_budget};
use super::threshold::PathMetrics;

/// Longest time that a reflector may claim to have held a probe, ns. Any longer time counts as path delay: callers wait
/// for it too, and a target cannot make its path look fast by claiming more (CON-04).
const MAX_HELD_NS: u64 = 20_000_000;
/// Time after which a reflection is not a sample any more.
const FORGET: Duration = Duration::from_secs(10);
/// Longest time for an answer while the path's round trip is unknown.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// A probe in progress.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    sequence: u32,
    sent_at: Timestamp,
    /// Whether it was counted as lost; its reflection may still come.
    missed: bool,
}

/// One probed path.
#[derive(Clone, Debug)]
pub(super) struct PathProbe {
    /// Test number of the path's probes.
    pub test: u64,
    /// Flow of all probes, so that they keep to one of several equal paths.
    pub flow: u32,
    /// Earliest time of the next train.
    pub next_train: Timestamp,
    sequence: u32,
    outstanding: VecDeque<Outstanding>,
    train: Option<(u32, Train)>,
    since_train: u32,
    delay: DelayEstimator,
    jitter: PathJitter,
    loss: LossWindow,
    bandwidth: Bandwidth,
    misses: u32,
    /// Time of the newest answer or miss.
    newest: Timestamp,
}

impl PathProbe {
    pub(super) fn new(test: u64, flow: u32, now: Timestamp, first: Timestamp) -> Self {
        Self {
            test,
            flow,
            next_train: first,
            sequence: 0,
            outstanding: VecDeque::new(),
            train: None,
            since_train: 0,
            delay: DelayEstimator::default(),
            jitter: PathJitter::default(),
            loss: LossWindow::default(),
            bandwidth: Bandwidth::default(),
            misses: 0,
            newest: now,
        }
    }

    /// Whether a train is due instead of a single probe.
    pub(super) fn wants_train(&self, now: Timestamp, timers: &Timers) -> bool {
        timers.train_every > 0 && self.since_train + 1 >= timers.train_every && now >= self.next_train
    }

    /// The single probe to send now.
    pub(super) fn single(&mut self, now: Timestamp) -> Probe {
        self.since_train = self.since_train.saturating_add(1);
        self.depart(now);
        self.probe(now, 0, 1, 0)
    }

    /// The train to send now.
    pub(super) fn train(&mut self, now: Timestamp, timers: &Timers, padding: u16) -> Vec<Probe> {
        self.since_train = 0;
        self.next_train = now + train_budget(timers.train_length, timers.train_bytes, self.bandwidth.value());
        self.depart(now);
        self.train = Some((self.sequence, Train::new(now, timers.train_length)));
        (0..timers.train_length).map(|i| self.probe(now, i, timers.train_length, padding)).collect()
    }

    fn depart(&mut self, now: Timestamp) {
        self.sequence = self.sequence.wrapping_add(1);
        self.outstanding.push_back(Outstanding { sequence: self.sequence, sent_at: now, missed: false });
    }

    fn probe(&self, now: Timestamp, train_index: u16, train_length: u16, padding: u16) -> Probe {
        let (test, sequence) = (self.test, self.sequence);
        Probe { test, sequence, train_index, train_length, t1: now.nanos(), t2: 0, t3: 0, padding }
    }

    /// Longest time for which the train in progress keeps the path busy, so that other probes keep clear of it.
    pub(super) fn train_duration(&self, timers: &Timers) -> Duration {
        const UNKNOWN_BPS: u64 = 100_000_000;
        let rate = self.bandwidth.value().unwrap_or(UNKNOWN_BPS);
        let twentieth = train_budget(timers.train_length, timers.train_bytes, Some(rate)) / 20;
        twentieth.min(Duration::from_millis(timers.probe_interval_ms) / 2)
    }

    /// Handles a reflection. The sender's own record of the departure counts, not the returned stamp.
    pub(super) fn reflected(&mut self, received_at: Timestamp, reply: &Probe, timers: &Timers) {
        let Some(at) = self.outstanding.iter().position(|o| o.sequence == reply.sequence) else {
            self.train_reflected(reply, timers);
            return;
        };
        let probe = self.outstanding[at];
        if !probe.missed {
            self.loss.push(true);
        }
        self.outstanding.remove(at);
        self.misses = 0;
        self.newest = self.newest.max(received_at);
        if reply.train_length > 1 {
            self.train_reflected(reply, timers);
            return;
        }
        let held = reply.t3.saturating_sub(reply.t2).min(MAX_HELD_NS);
        let stamps = Stamps {
            t1: probe.sent_at.nanos(),
            t2: reply.t2,
            t3: reply.t2.saturating_add(held),
            t4: received_at.nanos(),
        };
        if let Some(delay) = stamps.two_way_delay() {
            self.jitter.push(&stamps);
            self.delay.push(delay, self.jitter.worse().unwrap_or(0));
        }
    }

    fn train_reflected(&mut self, reply: &Probe, timers: &Timers) {
        let Some((sequence, train)) = &mut self.train else { return };
        if *sequence != reply.sequence || reply.train_length < 2 {
            return;
        }
        train.push(reply.train_index, reply.t2);
        if train.is_complete() {
            self.finish_train(timers);
        }
    }

    fn finish_train(&mut self, timers: &Timers) {
        if let Some((_, train)) = self.train.take()
            && let Some(bps) = train.bandwidth(timers.train_bytes)
        {
            self.bandwidth.push(bps);
        }
    }

    /// Whether a train is in progress.
    pub(super) const fn train_under_way(&self) -> bool {
        self.train.is_some()
    }

    /// Counts probes that were not answered in time, and ends a train that takes too long.
    pub(super) fn expire(&mut self, now: Timestamp, timers: &Timers) {
        let reply_timeout = self.reply_timeout(timers);
        let mut missed = 0;
        for probe in self.outstanding.iter_mut().filter(|o| !o.missed && now >= o.sent_at + reply_timeout) {
            probe.missed = true;
            missed += 1;
        }
        for _ in 0..missed {
            self.miss(now);
        }
        while self.outstanding.front().is_some_and(|o| now >= o.sent_at + FORGET) {
            self.outstanding.pop_front();
        }
        if self.train.as_ref().is_some_and(|(_, t)| now >= t.sent_at + self.reply_timeout(timers)) {
            self.finish_train(timers);
        }
    }

    /// Handles a negative reply: a node on the path could not forward a probe.
    pub(super) fn undeliverable(&mut self, now: Timestamp) {
        if let Some(probe) = self.outstanding.iter_mut().rev().find(|o| !o.missed) {
            probe.missed = true;
            self.miss(now);
        }
    }

    fn miss(&mut self, now: Timestamp) {
        self.loss.push(false);
        self.jitter.interrupt();
        self.misses = self.misses.saturating_add(1);
        self.newest = self.newest.max(now);
    }

    /// Longest time for an answer: twice the round trip, but at least a probe period.
    fn reply_timeout(&self, timers: &Timers) -> Duration {
        let period = Duration::from_millis(timers.probe_interval_ms);
        let round_trips = self.delay.value().map_or(FIRST_ANSWER, |d| Duration::from_nanos(d.saturating_mul(4)));
        period.max(round_trips).min(FORGET)
    }

    /// Time at which [`Self::expire`] has something to do.
    pub(super) fn next_expiry(&self, timers: &Timers) -> Option<Timestamp> {
        let reply_timeout = self.reply_timeout(timers);
        let probe = self.outstanding.iter().find(|o| !o.missed).map(|o| o.sent_at + reply_timeout);
        let train = self.train.as_ref().map(|(_, t)| t.sent_at + reply_timeout);
        probe.into_iter().chain(train).min()
    }

    /// Whether the path answers.
    pub(super) const fn answers(&self, timers: &Timers) -> bool {
        self.misses < timers.miss_limit
    }

    /// Forgets the delay: after an outage the path may be another one.
    pub(super) fn lost(&mut self) {
        self.delay.clear();
    }

    /// Metrics of the path. Along a label only the forward direction follows the label's path, so only its jitter
    /// counts.
    pub(super) fn metrics(&self, labelled: bool, available: bool) -> PathMetrics {
        let known = |v: Option<u64>| v.filter(|_| available);
        PathMetrics {
            bandwidth_bps: known(self.bandwidth.value()),
            delay_ns: known(self.delay.value()),
            jitter_ns: known(if labelled { self.jitter.forward() } else { self.jitter.worse() }),
            available,
        }
    }

    /// Lost probes in parts per million.
    pub(super) fn loss_ppm(&self) -> u32 {
        self.loss.ppm()
    }

    /// Time of the newest answer or miss.
    pub(super) const fn newest(&self) -> Timestamp {
        self.newest
    }
}
