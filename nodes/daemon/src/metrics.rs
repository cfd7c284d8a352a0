//! `/metrics`: the counters in Prometheus' text format.

use std::fmt::Write as _;

use damc_mgmt::counts::Counts;
use damc_mgmt::view::CountersView;

/// Renders the counters. Label values are our own identifiers: letters, digits, `-`, `_` and `.` need no escapes.
pub(crate) fn render(view: &CountersView) -> String {
    let mut text = String::new();
    let node = &view.node;
    family(&mut text, node, ("damc_frames_received_total", "Frames received."), "type", &view.received);
    family(&mut text, node, ("damc_frames_sent_total", "Frames sent."), "type", &view.sent);
    family(&mut text, node, ("damc_frames_dropped_total", "Frames dropped."), "reason", &view.dropped);
    let protocol = ("damc_protocol_total", "Protocol counters of the node's role.");
    family(&mut text, node, protocol, "counter", &view.protocol);
    for (name, help, value) in [
        ("damc_frames_forwarded_total", "Routed frames sent on for others.", view.forwarded),
        ("damc_frames_delivered_total", "Routed frames for this node.", view.delivered),
        (
            "damc_control_overflow_total",
            "Frames that the kernel dropped because the control thread was behind.",
            view.control_overflow,
        ),
    ] {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name}{{node=\"{node}\"}} {value}");
    }
    text
}

fn family<K>(text: &mut String, node: &str, (name, help): (&str, &str), label: &str, counts: &Counts<K>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for (key, value) in counts.iter() {
        let _ = writeln!(text, "{name}{{node=\"{node}\",{label}=\"{key}\"}} {value}");
    }
}

#[cfg(test)]
mod tests {
    use damc_wire::DropReason;

    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let view = CountersView {
            node: "sg-1".into(),
            dropped: Counts::from_iter([(DropReason::NoRoute, 3)]),
            forwarded: 9,
            ..CountersView::default()
        };
        let text = render(&view);
        assert!(text.contains("damc_frames_dropped_total{node=\"sg-1\",reason=\"no-route\"} 3\n"), "{text}");
        assert!(text.contains("damc_frames_forwarded_total{node=\"sg-1\"} 9\n"), "{text}");
        assert!(text.lines().all(|l| l.starts_with("# ") || l.starts_with("damc_") && l.contains("} ")), "{text}");
    }
}
