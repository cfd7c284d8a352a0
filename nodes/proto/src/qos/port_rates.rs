//! What passes the ports of a node, in bit/s, out of byte counters that somebody else keeps.

use std::collections::BTreeMap;

use damc_wire::Timestamp;

use crate::io::{PortCount, PortId};

/// Rates of one port over the period between two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Sent, bit/s.
    pub tx_bps: u64,
    /// Received, bit/s.
    pub rx_bps: u64,
}

/// The newest count of each port and the rates up to it.
#[derive(Debug, Default)]
pub struct PortRates {
    ports: BTreeMap<PortId, (Timestamp, PortCount, Rates)>,
}

impl PortRates {
    /// Takes what the ports have counted by `now`. A port that is not among them is forgotten.
    pub fn count(&mut self, now: Timestamp, counts: &[PortCount]) {
        let before = std::mem::take(&mut self.ports);
        let entry = |count: &PortCount| {
            let rates = before.get(&count.port).map(|(at, earlier, _)| rates((*at, earlier), (now, count)));
            (count.port, (now, *count, rates.unwrap_or_default()))
        };
        self.ports = counts.iter().map(entry).collect();
    }

    /// Rates of a port in the last period; 0 before there was one.
    #[must_use]
    pub fn of(&self, port: PortId) -> Rates {
        self.ports.get(&port).map(|(_, _, rates)| *rates).unwrap_or_default()
    }
}

/// An interface that was made anew counts from 0: the period in which that happens shows nothing.
fn rates((at, earlier): (Timestamp, &PortCount), (now, later): (Timestamp, &PortCount)) -> Rates {
    let elapsed_ns = now.since(at).as_nanos();
    let bps = |before: u64, after: u64| {
        let bits = u128::from(after.saturating_sub(before)) * 8;
        let bps = (bits * 1_000_000_000).checked_div(elapsed_ns).unwrap_or(0);
        u64::try_from(bps).unwrap_or(u64::MAX)
    };
    Rates {
        tx_bps: bps(earlier.sent_bytes, later.sent_bytes),
        rx_bps: bps(earlier.received_bytes, later.received_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(port: u16, sent_bytes: u64, received_bytes: u64) -> PortCount {
        PortCount { port: PortId(port), sent_bytes, received_bytes }
    }

    #[test]
    fn rates_are_those_of_the_last_period() {
        let at = Timestamp::from_millis;
        let mut rates = PortRates::default();
        rates.count(at(1000), &[count(0, 5000, 100), count(1, 0, 0)]);
        assert_eq!(rates.of(PortId(0)), Rates::default(), "no period yet");
        rates.count(at(1200), &[count(0, 30_000, 100), count(1, 0, u64::MAX)]);
        assert_eq!(rates.of(PortId(0)), Rates { tx_bps: 1_000_000, rx_bps: 0 });
        assert_eq!(rates.of(PortId(1)), Rates { tx_bps: 0, rx_bps: u64::MAX }, "held, not wrapped");
        rates.count(at(1400), &[count(0, 10, 225)]);
        assert_eq!(rates.of(PortId(0)), Rates { tx_bps: 0, rx_bps: 5000 }, "its counter began again");
        assert_eq!(rates.of(PortId(1)), Rates::default());
        rates.count(at(1400), &[count(0, 99, 999)]);
        assert_eq!(rates.of(PortId(0)), Rates::default(), "no time has passed");
    }
}
