//! The `qos` section: probes and thresholds.

use damc_mgmt::config::Thresholds;

use super::decode::Reader;
use super::document::Yaml;
use super::mistake::MistakeKind as Kind;
use super::validate::Located;
use crate::topology::Qos;

/// Thresholds as far as they are written.
#[derive(Clone, Copy, Default)]
struct Preset {
    bandwidth_bps: Option<u64>,
    delay_ns: Option<u64>,
    jitter_ns: Option<u64>,
}

impl Preset {
    fn over(self, base: Self) -> Thresholds {
        Thresholds {
            bandwidth_bps: self.bandwidth_bps.or(base.bandwidth_bps).unwrap_or(0),
            delay_ns: self.delay_ns.or(base.delay_ns).unwrap_or(u64::MAX),
            jitter_ns: self.jitter_ns.or(base.jitter_ns).unwrap_or(u64::MAX),
        }
    }
}

impl Reader<'_> {
    pub(super) fn qos<'y>(&mut self, value: &'y Yaml) -> Located<'y, Qos> {
        let mut qos = Located { at: &value.span, value: Qos::default(), parts: Vec::new() };
        let Some(fields) = self.fields(value, "qos", &["probe", "thresholds"]) else { return qos };
        if let Some(fields) = fields.get("probe").and_then(|value| self.fields(value, "probe", &["interval"])) {
            qos.value.probe_interval_ns = fields.get("interval").and_then(|value| self.probe_interval(value));
        }
        let Some(thresholds) = fields.get("thresholds") else { return qos };
        let entries = self.map(thresholds, "thresholds").unwrap_or_default();
        let mut default = Preset::default();
        if let Some((_, _, value)) = entries.iter().find(|(key, ..)| *key == "default") {
            default = self.preset(value);
            qos.value.default = Some(default.over(default));
        }
        let mut found = Vec::new();
        for (text, key, value) in entries.into_iter().filter(|(key, ..)| *key != "default") {
            let preset = self.preset(value);
            if let Some(prefix) = self.name_of(text, key, "threshold") {
                found.push((prefix, preset.over(default), &key.span));
            }
        }
        // Places in the order in which the map will give its prefixes.
        found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        qos.parts = found.iter().map(|(_, _, at)| *at).collect();
        qos.value.by_prefix = found.into_iter().map(|(prefix, thresholds, _)| (prefix, thresholds)).collect();
        qos
    }

    fn probe_interval(&mut self, value: &Yaml) -> Option<u64> {
        let interval = self.time(value, "interval")?;
        if interval < 1_000_000 {
            let help = "probe every 1ms to 60s, such as `interval: 200ms`";
            self.mistake(Kind::OutOfRange, value, "interval: shorter than 1ms", help);
            return None;
        }
        Some(interval)
    }

    fn preset(&mut self, value: &Yaml) -> Preset {
        let Some(fields) = self.fields(value, "thresholds", &["bandwidth", "delay", "jitter"]) else {
            return Preset::default();
        };
        Preset {
            bandwidth_bps: fields.get("bandwidth").and_then(|value| self.rate(value, "bandwidth")),
            delay_ns: fields.get("delay").and_then(|value| self.time(value, "delay")),
            jitter_ns: fields.get("jitter").and_then(|value| self.time(value, "jitter")),
        }
    }
}
