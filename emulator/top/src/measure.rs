//! Rates, delays and losses between two looks, and how they are written in few columns.

use damc_impair::{DirectionCounters, DirectionSpec, Loss};
use damc_lab::control::{LinkStatus, Shaped};
use damc_mgmt::view::CountersView;
use damc_mgmt::words::ProtocolCounter;

use crate::look::Look;

/// What one direction of a link is told to do, or does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Triple {
    /// bit/s; none where it is unlimited, or not known.
    pub rate_bps: Option<f64>,
    /// ns; none where it is not known.
    pub delay_ns: Option<f64>,
    /// Share of frames, 0 to 1; none where it is not known.
    pub loss: Option<f64>,
}

impl Triple {
    /// What is asked of a direction. A loss in bursts has no single share.
    pub(crate) fn asked(spec: &DirectionSpec) -> Self {
        let loss = match spec.loss {
            _ if spec.silent => Some(1.0),
            Loss::None => Some(0.0),
            Loss::Random { probability } => Some(probability),
            Loss::GilbertElliott { .. } => None,
        };
        Self { rate_bps: spec.rate_bps.map(|rate| rate as f64), delay_ns: Some(spec.delay_ns as f64), loss }
    }

    /// Rate, delay and loss, `-` for what is not there.
    pub(crate) fn text(&self) -> String {
        let said = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        format!("{} {} {}", said(self.rate_bps.map(rate)), said(self.delay_ns.map(delay)), said(self.loss.map(share)))
    }
}

/// What both directions of a link did between two looks: what `a` sent, what `b` sent.
pub(crate) fn measured(before: &LinkStatus, after: &LinkStatus, look: &Look) -> [Triple; 2] {
    let ms = after.relayed_ms.zip(before.relayed_ms).map(|(after, before)| after.saturating_sub(before));
    let (a, b) = (after.a.as_str(), after.b.as_str());
    let ways = [
        ((before.forward_relayed, after.forward_relayed), (before.forward_counted, after.forward_counted), (a, b)),
        ((before.backward_relayed, after.backward_relayed), (before.backward_counted, after.backward_counted), (b, a)),
    ];
    ways.map(|(relayed, counted, (node, port))| {
        let of_relay = relayed.0.zip(relayed.1).zip(ms).map(|((before, after), ms)| of_relay(&before, &after, ms));
        let of_kernel = || counted.0.zip(counted.1).map(|(before, after)| of_kernel(before, after));
        let found = of_relay.or_else(of_kernel).unwrap_or_default();
        // Where no frame tells the delay, the echoes of the two nodes do.
        let echoes = || look.delay_ns(node, port).map(|ns| ns as f64);
        Triple { delay_ns: found.delay_ns.or_else(echoes).filter(|_| after.up), ..found }
    })
}

fn of_relay(before: &DirectionCounters, after: &DirectionCounters, ms: u64) -> Triple {
    let since = |of: fn(&DirectionCounters) -> u64| of(after).saturating_sub(of(before));
    let (delivered, offered) = (since(|c| c.delivered), since(|c| c.received + c.duplicated));
    let lost = since(|c| c.lost + c.lost_silent + c.lost_limit + c.lost_interface);
    let seconds = ms as f64 / 1e3;
    Triple {
        rate_bps: (ms > 0).then(|| since(|c| c.delivered_bytes) as f64 * 8.0 / seconds),
        delay_ns: (delivered > 0).then(|| since(|c| c.delay_ns) as f64 / delivered as f64),
        loss: (offered > 0).then(|| lost as f64 / offered as f64),
    }
}

fn of_kernel(before: Shaped, after: Shaped) -> Triple {
    let dropped = after.dropped.saturating_sub(before.dropped) as f64;
    let all = dropped + after.shaped.saturating_sub(before.shaped) as f64;
    Triple { loss: (all > 0.0).then(|| dropped / all), ..Triple::default() }
}

/// What a node did in a second, between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PerSecond {
    /// Calls that a pod executed.
    pub calls: f64,
    /// Frames forwarded and delivered.
    pub frames: f64,
    /// Frames dropped.
    pub drops: f64,
}

impl PerSecond {
    /// Of a node; none where one of the looks does not have its counters, or it was started meanwhile.
    pub(crate) fn of(before: &Look, after: &Look, node: &str) -> Option<Self> {
        let starts = |look: &Look| look.node(node).map(|node| node.starts);
        if starts(before) != starts(after) {
            return None;
        }
        let (from, to) = (before.counters(node)?, after.counters(node)?);
        let seconds = after.at_ns.saturating_sub(before.at_ns) as f64 / 1e9;
        let rate = |of: fn(&CountersView) -> u64| of(to).saturating_sub(of(from)) as f64 / seconds;
        (seconds > 0.0).then(|| Self {
            calls: rate(|counters| counters.protocol.get(ProtocolCounter::Invocations)),
            frames: rate(|counters| counters.forwarded + counters.delivered),
            drops: rate(|counters| counters.dropped.iter().map(|(_, count)| count).sum()),
        })
    }
}

/// A rate in bit/s, in five columns.
fn rate(bps: f64) -> String {
    let (value, unit) = match bps {
        bps if bps < 1e3 => (bps, ""),
        bps if bps < 1e6 => (bps / 1e3, "k"),
        bps if bps < 1e9 => (bps / 1e6, "M"),
        bps => (bps / 1e9, "G"),
    };
    format!("{}{unit}", short(value))
}

/// A delay in ns, in six columns.
fn delay(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{}ns", short(ns)),
        ns if ns < 1e6 => format!("{}µs", short(ns / 1e3)),
        ns if ns < 1e9 => format!("{}ms", short(ns / 1e6)),
        ns => format!("{}s", short(ns / 1e9)),
    }
}

/// A share in percent.
fn share(share: f64) -> String {
    format!("{}%", short(share * 100.0))
}

/// A count for each second.
pub(crate) fn count(per_second: f64) -> String {
    rate(per_second)
}

/// A number below 1000 in three digits.
fn short(value: f64) -> String {
    let decimals = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        assert_eq!([0.0, 12.0, 1234.0, 99_999_000.0, 1e9].map(rate), ["0", "12", "1.23k", "100M", "1G"]);
        assert_eq!([800.0, 42_000.0, 5_020_000.0, 2e9].map(delay), ["800ns", "42µs", "5.02ms", "2s"]);
        assert_eq!([0.0, 0.01, 0.123_4, 1.0].map(share), ["0%", "1%", "12.3%", "100%"]);
    }

    #[test]
    fn a_direction_is_measured_between_two_looks() {
        let zero = DirectionCounters {
            received: 0,
            received_bytes: 0,
            delivered: 0,
            delivered_bytes: 0,
            duplicated: 0,
            corrupted: 0,
            reordered: 0,
            lost: 0,
            lost_silent: 0,
            lost_limit: 0,
            lost_interface: 0,
            delay_ns: 0,
            delay_min_ns: 0,
            delay_max_ns: 0,
            late_ns: 0,
            late_max_ns: 0,
            late_frames: 0,
        };
        let before = DirectionCounters { received: 100, delivered: 100, delivered_bytes: 1000, delay_ns: 7, ..zero };
        let after = DirectionCounters {
            received: 200,
            delivered: 190,
            delivered_bytes: 126_000,
            delay_ns: 450_000_007,
            lost: 8,
            lost_limit: 2,
            ..zero
        };
        let found = of_relay(&before, &after, 2000);
        assert_eq!(found, Triple { rate_bps: Some(500_000.0), delay_ns: Some(5_000_000.0), loss: Some(0.1) });
        assert_eq!(found.text(), "500k 5ms 10%");
        assert_eq!(of_relay(&after, &after, 1000).text(), "0 - -");
        let counted =
            of_kernel(Shaped { shaped: 10, dropped: 0, bypassed: 0 }, Shaped { shaped: 19, dropped: 1, bypassed: 0 });
        assert_eq!(counted.text(), "- - 10%");
    }

    #[test]
    fn what_is_asked() {
        let spec = DirectionSpec {
            delay_ns: 80_000_000,
            loss: Loss::Random { probability: 0.01 },
            ..DirectionSpec::default()
        };
        assert_eq!(Triple::asked(&spec).text(), "- 80ms 1%");
        assert_eq!(Triple::asked(&DirectionSpec { silent: true, ..spec }).text(), "- 80ms 100%");
    }
}
