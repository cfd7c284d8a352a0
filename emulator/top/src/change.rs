//! What changed lately, in one line each.

use damc_explain::change_text;
use damc_mgmt::event::{Event, EventKind};
use damc_testbed::{Act, Deed};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, `CLOCK_MONOTONIC`, ns.
    pub at_ns: u64,
    /// Where: a node, or the lab.
    pub place: String,
    /// What.
    pub what: String,
    /// It is bad news.
    pub bad: bool,
}

impl Change {
    /// Of an event of a node; none where it only follows from others, as an LSA that is handed on does.
    #[must_use]
    pub fn of_event(node: &str, event: &Event) -> Option<Self> {
        let (bad, what) = told(&event.kind)?;
        Some(Self { at_ns: event.at_ns, place: node.to_owned(), what, bad })
    }

    /// Of what somebody did to the lab.
    #[must_use]
    pub fn of_act(act: &Act) -> Self {
        let (place, what) = match &act.deed {
            Deed::Link { a, b, change } => (format!("{a}–{b}"), format!("link set: {}", change_text(change))),
            Deed::Node { node, action } => (node.clone(), format!("told to {}", action.label())),
            Deed::Injected { node, port, frames } => (node.clone(), format!("{frames} frames put into port {port}")),
        };
        Self { at_ns: act.at_ns, place, what, bad: false }
    }
}

/// Whether it is bad news, and the news.
fn told(kind: &EventKind) -> Option<(bool, String)> {
    Some(match kind {
        EventKind::Ready => (false, "ready".to_owned()),
        EventKind::Adjacency { port, state, reason } => {
            let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            (reason.is_some(), format!("adjacency {port} {state}{why}"))
        }
        EventKind::Carrier { port, up } => (!up, format!("carrier of {port} {}", if *up { "back" } else { "lost" })),
        EventKind::Fib { set, gone, .. } if set.is_empty() && gone.is_empty() => return None,
        EventKind::Fib { set, gone, .. } => (false, format!("FIB{}{}", names("set", set), names("gone", gone))),
        EventKind::Announced { pod, prefix, withdrawn } => {
            (false, format!("{pod} {} {prefix}", if *withdrawn { "withdraws" } else { "announces" }))
        }
        EventKind::Authenticated { pod, prefix, refusal: Some(reason), .. }
        | EventKind::AnnouncementRefused { pod, prefix, reason } => {
            (true, format!("{prefix} of {pod} refused: {reason}"))
        }
        EventKind::AuthUnanswered { prefix, .. } => (true, format!("no SPA answers about {prefix}")),
        EventKind::GrantExpired { prefix, .. } => (true, format!("grant of {prefix} expired")),
        EventKind::Revoked { pod, prefix } => (true, format!("grant of {prefix} of {pod} revoked")),
        EventKind::Violation { source, target, metrics } if metrics.is_empty() => {
            (false, format!("{source} → {target} keeps its conditions again"))
        }
        EventKind::Violation { source, target, metrics } => {
            let metrics: Vec<&str> = metrics.iter().map(|metric| metric.label()).collect();
            (true, format!("{source} → {target} violates {}", metrics.join(", ")))
        }
        EventKind::Policy { label, prefix, action, active, reason, .. } => {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let state = if *active { "active" } else { "not active" };
            (reason.is_some(), format!("policy {label} {action} for {prefix} {state}{why}"))
        }
        EventKind::Dropped { port, reason, detail } => (true, format!("frame at {port} dropped: {reason} {detail}")),
        EventKind::Availability { target, available } => {
            (!available, format!("{target} {}", if *available { "answers probes" } else { "does not answer probes" }))
        }
        EventKind::Service { prefix, running, detail } => {
            (!running, format!("service {prefix} {}: {detail}", if *running { "runs" } else { "ended" }))
        }
        EventKind::Ordered { order } => {
            (false, format!("ordered: {}", serde_json::to_string(order).unwrap_or_default()))
        }
        EventKind::CallFailed { name, reason, detail, call, .. } => {
            let why = reason.map_or_else(|| "no answer in time".to_owned(), |reason| reason.to_string());
            (true, format!("call {call} to {name} failed: {why} {detail}"))
        }
        // What follows from other changes, or happens all the time.
        EventKind::Authenticated { refusal: None, .. }
        | EventKind::LsaOriginated { .. }
        | EventKind::LsaAccepted { .. }
        | EventKind::LsaRefused { .. }
        | EventKind::LsaExpired { .. }
        | EventKind::Computed { .. } => return None,
    })
}

/// A list of names, the first of them and how many more.
fn names(what: &str, names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => format!(" {what} {one}"),
        [first, more @ ..] => format!(" {what} {first} and {} more", more.len()),
    }
}
