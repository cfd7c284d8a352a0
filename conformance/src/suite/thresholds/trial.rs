//! A path whose first link is impaired: what is done to it, and how far from its thresholds.

use std::cell::Cell;
use std::time::Duration;

use damc_impair::DirectionChange;
use damc_mgmt::view::PathView;
use damc_mgmt::words::Metric;
use damc_testbed::Direction;
use futures::future::try_join_all;

use super::SLACK_NS;
use crate::case::Stop;
use crate::testbed::Testbed;
use crate::testbed::quality::Leg;

/// What is done to the first link of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Jitter,
    Delay,
    Rate,
    All,
}

impl Fault {
    pub(super) const EACH: [Self; 4] = [Self::Jitter, Self::Delay, Self::Rate, Self::All];

    /// The metrics that it takes beyond their thresholds.
    pub(super) const fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Jitter => &[Metric::Jitter],
            Self::Delay => &[Metric::Delay],
            Self::Rate => &[Metric::Bandwidth],
            Self::All => &[Metric::Bandwidth, Metric::Delay, Metric::Jitter],
        }
    }
}

/// A leg, its fault, and the part of its delay that lies beyond its first link.
pub(super) struct Trial {
    pub(super) leg: Leg,
    pub(super) fault: Fault,
    pub(super) beyond_ns: u64,
}

impl Trial {
    /// The legs of the topology, each with a fault. Jitter needs some delay, so it goes to the leg with the widest
    /// delay limit.
    pub(super) async fn deal(testbed: &Testbed) -> Result<Vec<Self>, Stop> {
        let mut legs = testbed.legs(Fault::EACH.len())?;
        legs.sort_by_key(|leg| std::cmp::Reverse(leg.limits.delay_ns));
        let rests = try_join_all(legs.iter().map(|leg| testbed.rest(leg))).await?;
        let dealt = legs.into_iter().zip(Fault::EACH).zip(rests);
        Ok(dealt.map(|((leg, fault), beyond_ns)| Self { leg, fault, beyond_ns }).collect())
    }

    pub(super) fn path(&self) -> (&str, &str) {
        (&self.leg.sg, &self.leg.target)
    }

    /// Delay of the link in both directions with which the path has `percent` of its limit.
    pub(super) const fn delay(&self, percent: u64) -> DirectionChange {
        self.path_delay(self.leg.limits.delay_ns / 100 * percent)
    }

    /// Delay of the link in both directions with which the path has a delay of `ns`.
    pub(super) const fn path_delay(&self, ns: u64) -> DirectionChange {
        delay_of(ns.saturating_sub(self.beyond_ns))
    }

    /// Corrects the part beyond the first link by a measurement with the path near its limit: nodes take a little
    /// longer for probes that arrive together, and on a short path more of them do.
    pub(super) async fn tune(&mut self, testbed: &Testbed) -> Result<(), Stop> {
        let (near, limit) = (self.delay(80), self.leg.limits.delay_ns);
        testbed.impair((&self.leg.sg, &self.leg.far), Direction::Both, near).await?;
        let holds = |v: &PathView| v.delay_ns.is_some_and(|d| d > limit / 100 * 60);
        let measured = testbed.steady(&self.leg, "a steady delay near the limit", holds).await?;
        self.beyond_ns = measured.saturating_sub(near.delay_ns.unwrap_or(0));
        Ok(())
    }

    /// Forward jitter of the link with which the path has `percent` of its limit. A uniform deviation of ±d has an
    /// RFC 3550 jitter of 2d/3. The delay makes room for the deviation.
    pub(super) const fn jitter(&self, percent: u64) -> DirectionChange {
        let deviation = self.leg.limits.jitter_ns / 100 * percent * 3 / 2;
        DirectionChange { jitter_ns: Some(deviation), delay_ns: Some(deviation), ..NOTHING }
    }

    /// Forward rate of the link, `percent` of the path's limit.
    pub(super) const fn rate(&self, percent: u64) -> DirectionChange {
        DirectionChange { rate_bps: Some(self.leg.limits.bandwidth_bps / 100 * percent), ..NOTHING }
    }

    pub(super) async fn set(&self, testbed: &Testbed, inside: bool) -> Result<(), Stop> {
        let link = (self.leg.sg.as_str(), self.leg.far.as_str());
        let (limit, margin) = (self.leg.limits.delay_ns, margin(testbed, &self.leg));
        let delay = self.path_delay(if inside { limit - margin } else { limit + margin });
        let jitter = self.jitter(if inside { 55 } else { 160 });
        // A train is a short measurement: a brief stall of a node costs it a fifth, and nodes of a slow host do stall.
        let headroom = testbed.host.more(25).min(75);
        let rate = self.rate(if inside { 100 + headroom } else { 60 });
        if matches!(self.fault, Fault::Delay | Fault::All) {
            testbed.impair(link, Direction::Both, delay).await?;
        }
        match self.fault {
            Fault::Delay => {}
            Fault::Jitter => testbed.impair(link, Direction::Forward, jitter).await?,
            Fault::Rate => testbed.impair(link, Direction::Forward, rate).await?,
            // Inside all three limits at once, the delay must leave room for the deviation of the jitter.
            Fault::All if inside => {
                let both = DirectionChange { rate_bps: rate.rate_bps, ..self.delay(60) };
                testbed.impair(link, Direction::Both, both).await?;
            }
            Fault::All => {
                let jittered = DirectionChange { jitter_ns: jitter.jitter_ns, ..rate };
                testbed.impair(link, Direction::Forward, jittered).await?;
            }
        }
        Ok(())
    }

    /// Whether the SCSC sees what was set just inside the limits.
    pub(super) fn arrived_inside(&self, testbed: &Testbed, view: &PathView) -> bool {
        let limits = &self.leg.limits;
        let delay = |percent| view.delay_ns.is_some_and(|d| d > limits.delay_ns / 100 * percent);
        let rate = view.bandwidth_bps.is_some_and(|b| b < limits.bandwidth_bps * 2);
        match self.fault {
            Fault::Delay => view.delay_ns.is_some_and(|d| d + margin(testbed, &self.leg) > limits.delay_ns / 100 * 93),
            Fault::Jitter => view.jitter_ns.is_some_and(|j| j > limits.jitter_ns * 35 / 100),
            Fault::Rate => rate,
            Fault::All => delay(50) && rate,
        }
    }
}

/// Distance from its threshold at which a delay is surely on its side, ns: nodes of a slow host add a varying delay.
pub(super) fn margin(testbed: &Testbed, leg: &Leg) -> u64 {
    let limit = leg.limits.delay_ns;
    let margin = testbed.host.stretched(Duration::from_nanos(limit / 100 * 8));
    u64::try_from(margin.as_nanos()).unwrap_or(limit).min(limit / 4)
}

pub(super) const NOTHING: DirectionChange = DirectionChange {
    delay_ns: None,
    jitter_ns: None,
    distribution: None,
    loss: None,
    duplicate: None,
    corrupt: None,
    reorder: None,
    rate_bps: None,
    limit: None,
    silent: None,
};

pub(super) const fn delay_of(ns: u64) -> DirectionChange {
    DirectionChange { delay_ns: Some(ns), ..NOTHING }
}

impl Testbed {
    /// Delay of a leg's plain path without its first link, ns, measured once all estimates are calm.
    pub(super) async fn rest(&self, leg: &Leg) -> Result<u64, Stop> {
        let first = self.lab.link_status(&leg.sg, &leg.far).await?.forward.delay_ns;
        let mut configured = 0;
        for w in leg.plain.windows(2) {
            configured += self.lab.link_status(&w[0], &w[1]).await?.forward.delay_ns;
        }
        let home = leg.plain.last().map_or("", String::as_str);
        configured += self.lab.link_status(home, &self.pod_of(home)?).await?.forward.delay_ns;
        // The effects of earlier cases must fade first; those on trains and jitter last longest.
        let limits = leg.limits;
        let calm = |v: &PathView| {
            v.violated.is_empty()
                && v.delay_ns.is_some_and(|d| d < configured + configured / 4 + SLACK_NS)
                && v.jitter_ns.is_some_and(|j| j < limits.jitter_ns * 2 / 5)
                && v.bandwidth_bps.is_some_and(|b| b > limits.bandwidth_bps * 2)
        };
        Ok(self.steady(leg, "a calm measurement", calm).await?.saturating_sub(first))
    }

    /// The measured delay of a leg, ns, once `holds` is true and some more probes do not change it.
    pub(super) async fn steady(&self, leg: &Leg, what: &str, holds: impl Fn(&PathView) -> bool) -> Result<u64, Stop> {
        let span_ms = 4 * self.timers.probe_interval_ms + 2 * self.timers.telemetry_interval_ms;
        let lasting = Cell::new(None);
        let lasts = |v: &PathView| {
            let (delay, now) = (v.delay_ns.unwrap_or(0), self.now_ns());
            let (was, since) = lasting.get().unwrap_or((delay, now));
            let same = holds(v) && delay.abs_diff(was) <= margin(self, leg) / 4;
            lasting.set(same.then_some((was, since)));
            same && now - since >= span_ms * 1_000_000
        };
        let view = self.wait_quality((&leg.sg, &leg.target), what, self.t_return(), lasts).await?;
        Ok(view.delay_ns.unwrap_or(0))
    }
}
