//! Calls as clients of the management interface write them, and their outcomes as they read them.

use core::time::Duration;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_wire::{Name, NodeId, RefusalReason, TraceContext};

use crate::io::{CallOutcome, Order};

/// Longest name of a method, in bytes.
const LONGEST_METHOD: usize = 64;

/// The order that makes a call.
///
/// # Errors
/// A field makes no sense; says which, for people.
pub fn order(handle: u64, request: CallRequest) -> Result<Order, String> {
    let source = request.source.map(|source| name("source", &source)).transpose()?;
    let context = request.traceparent.map(|text| traceparent(&text)).transpose()?;
    if !(1..=LONGEST_METHOD).contains(&request.method.len()) {
        return Err(format!("method: a method name has 1 to {LONGEST_METHOD} bytes"));
    }
    Ok(Order::Call {
        handle,
        name: name("name", &request.name)?,
        method: request.method,
        payload: request.args.join(" ").into_bytes(),
        deadline: Duration::from_millis(request.deadline_ms),
        trace: request.trace,
        source,
        flow: request.flow,
        context,
    })
}

/// What the client reads of a call that took `elapsed_ns`.
#[must_use]
pub fn reply(elapsed_ns: u64, outcome: CallOutcome) -> CallReply {
    let (path, return_path) = (texts(&outcome.path), texts(&outcome.return_path));
    let (result, error, detail) = match outcome.result {
        Ok(bytes) => (Some(String::from_utf8_lossy(&bytes).into_owned()), None, None),
        Err((reason, detail)) => {
            let error = reason.map_or("timeout", RefusalReason::label).to_owned();
            (None, Some(error), Some(detail).filter(|d| !d.is_empty()))
        }
    };
    let call = outcome.correlation.map(|correlation| format!("{correlation:016x}"));
    let traceparent = outcome.context.map(|context| context.to_string());
    CallReply { result, error, detail, elapsed_ns, path, return_path, call, traceparent }
}

/// Nodes as text.
#[must_use]
pub fn texts(nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(ToString::to_string).collect()
}

fn traceparent(text: &str) -> Result<TraceContext, String> {
    text.parse().map_err(|e| format!("traceparent: {text:?}: {e}"))
}

fn name(field: &str, text: &str) -> Result<Name, String> {
    text.parse().map_err(|e| format!("{field}: {text:?} is no name: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, method: &str) -> CallRequest {
        CallRequest {
            name: name.into(),
            method: method.into(),
            args: vec!["2".into(), "3".into()],
            deadline_ms: 70,
            trace: false,
            source: None,
            flow: Some(9),
            traceparent: None,
        }
    }

    #[test]
    fn a_request_becomes_an_order_or_says_which_field_is_wrong() {
        let Ok(Order::Call { payload, deadline, flow, .. }) = order(1, request("/A/1", "add")) else { panic!() };
        assert_eq!((&payload[..], deadline, flow), (&b"2 3"[..], Duration::from_millis(70), Some(9)));
        assert!(order(1, request("A", "add")).unwrap_err().starts_with("name: "));
        assert!(order(1, request("/A", "")).unwrap_err().starts_with("method: "));
        let source = CallRequest { source: Some("//".into()), ..request("/A", "add") };
        assert!(order(1, source).unwrap_err().starts_with("source: "));
        let traced = |text: &str| CallRequest { traceparent: Some(text.into()), ..request("/A", "add") };
        assert!(order(1, traced("00-12")).unwrap_err().starts_with("traceparent: "));
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let Ok(Order::Call { context, .. }) = order(1, traced(text)) else { panic!() };
        assert_eq!(context.map(|context| context.to_string()).as_deref(), Some(text));
    }
}
