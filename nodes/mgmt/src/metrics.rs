//! Counters in the text format of Prometheus.

use core::fmt::Write as _;

use crate::counts::Counts;
use crate::label::Label;
use crate::view::CountersView;
use crate::words::{GatewayCounter, ProtocolCounter};

/// A family of samples; each has the label `node`, and most a second one.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it rises only.
    pub rises: bool,
    /// The second label.
    pub label: Option<&'static str>,
    samples: fn(&CountersView, bool) -> Vec<(String, u64)>,
}

/// All families, in the order of their output.
pub const FAMILIES: [Family; 10] = [
    by_label("damc_frames_received_total", "Frames received.", true, "type", |view, _| all(&view.received)),
    by_label("damc_frames_sent_total", "Frames sent.", true, "type", |view, _| all(&view.sent)),
    by_label("damc_frames_dropped_total", "Frames dropped.", true, "reason", |view, _| all(&view.dropped)),
    one("damc_frames_forwarded_total", "Routed frames sent on for others.", |view, _| sample(view.forwarded)),
    one("damc_frames_delivered_total", "Routed frames for this node.", |view, _| sample(view.delivered)),
    one(
        "damc_control_overflow_total",
        "Frames that the kernel dropped because the control thread was behind.",
        |view, _| sample(view.control_overflow),
    ),
    by_label("damc_protocol_total", "What the node's role counts.", true, "counter", protocol),
    by_label("damc_protocol", "What the node's role has now.", false, "value", protocol),
    by_label("damc_gateway_total", "What an SG's gateway to programs counts.", true, "counter", gateway),
    by_label("damc_gateway", "What an SG's gateway to programs has now.", false, "value", gateway),
];

const fn by_label(
    name: &'static str,
    help: &'static str,
    rises: bool,
    label: &'static str,
    samples: fn(&CountersView, bool) -> Vec<(String, u64)>,
) -> Family {
    Family { name, help, rises, label: Some(label), samples }
}

const fn one(name: &'static str, help: &'static str, samples: fn(&CountersView, bool) -> Vec<(String, u64)>) -> Family {
    Family { name, help, rises: true, label: None, samples }
}

fn sample(value: u64) -> Vec<(String, u64)> {
    vec![(String::new(), value)]
}

fn all<K>(counts: &Counts<K>) -> Vec<(String, u64)> {
    counts.iter().map(|(label, count)| (label.to_owned(), count)).collect()
}

/// Those that rise, or the others. What another implementation counts beside ours is taken to rise.
fn split<K>(counts: &Counts<K>, now: &[&str], rises: bool) -> Vec<(String, u64)> {
    all(counts).into_iter().filter(|(label, _)| now.contains(&label.as_str()) != rises).collect()
}

fn protocol(view: &CountersView, rises: bool) -> Vec<(String, u64)> {
    let now = [
        ProtocolCounter::CallsPending,
        ProtocolCounter::CallsRemembered,
        ProtocolCounter::FibVersion,
        ProtocolCounter::Lsas,
        ProtocolCounter::TelemetryBacklog,
    ];
    split(&view.protocol, &now.map(Label::label), rises)
}

fn gateway(view: &CountersView, rises: bool) -> Vec<(String, u64)> {
    split(&view.gateway, &[GatewayCounter::Flows.label()], rises)
}

/// The counters of nodes. Every family is there with its description, also one without samples.
#[must_use]
pub fn render(views: &[CountersView]) -> String {
    let mut text = String::new();
    for family in &FAMILIES {
        let kind = if family.rises { "counter" } else { "gauge" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} {kind}", family.name, family.help);
        for view in views {
            for (label, value) in (family.samples)(view, family.rises) {
                let node = escaped(&view.node);
                let second = family.label.map(|name| format!(",{name}=\"{}\"", escaped(&label))).unwrap_or_default();
                let _ = writeln!(text, "{}{{node=\"{node}\"{second}}} {value}", family.name);
            }
        }
    }
    text
}

/// Ours are identifiers; those of another implementation may be anything.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use damc_wire::DropReason;

    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample_and_every_family_stands_together() {
        let mut one = CountersView { node: "sg-1".into(), forwarded: 9, ..CountersView::default() };
        one.dropped = Counts::from_iter([(DropReason::NoRoute, 3)]);
        one.gateway = Counts::from_iter([(GatewayCounter::Flows, 5), (GatewayCounter::FlowsBegun, 6)]);
        let other = CountersView { node: "their\"s".into(), forwarded: 1, ..CountersView::default() };
        let text = render(&[one, other]);
        for line in [
            "damc_frames_dropped_total{node=\"sg-1\",reason=\"no-route\"} 3",
            "damc_frames_forwarded_total{node=\"sg-1\"} 9\ndamc_frames_forwarded_total{node=\"their\\\"s\"} 1",
            "damc_gateway{node=\"sg-1\",value=\"flows\"} 5",
            "damc_gateway_total{node=\"sg-1\",counter=\"flows_begun\"} 6",
            "# TYPE damc_gateway gauge",
        ] {
            assert!(text.contains(line), "no {line} in\n{text}");
        }
        assert!(text.lines().all(|l| l.starts_with("# ") || l.starts_with("damc_") && l.contains("} ")), "{text}");
        assert_eq!(text.matches("# TYPE").count(), FAMILIES.len());
        assert!(!text.contains("damc_gateway_total{node=\"sg-1\",counter=\"flows\"}"), "{text}");
    }
}
