//! The JSON of the management interface, pinned by examples: what is read is written again, member by member.
//!
//! The examples name every word that a field can hold and every member that can be absent.

use std::fmt::Debug;
use std::path::Path;

use damc_mgmt::call::{CallReply, CallRequest};
use damc_mgmt::command::{Command, PathAnswer};
use damc_mgmt::event::Event;
use damc_mgmt::view::{
    AnnouncementsView, CountersView, FibView, LsdbView, NeighborsView, PoliciesView, RibView, ServicesView,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Reads the example as `T` and writes it again.
fn holds<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str) -> T {
    let json = example(name);
    // By way of text, as on the socket: keys of maps are read differently from a `Value`.
    let read: T = serde_json::from_str(&json.to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(serde_json::to_value(&read).expect("JSON"), json, "{name}");
    read
}

#[test]
fn views_are_read_and_written_as_documented() {
    holds::<FibView>("fib");
    holds::<RibView>("rib");
    holds::<LsdbView>("lsdb");
    holds::<NeighborsView>("neighbors");
    holds::<PoliciesView>("policies");
    holds::<CountersView>("counters");
    holds::<ServicesView>("services");
    holds::<AnnouncementsView>("announcements");
}

#[test]
fn calls_and_orders_are_read_and_written_as_documented() {
    holds::<Vec<CallRequest>>("call_requests");
    holds::<Vec<CallReply>>("call_replies");
    holds::<Vec<Command>>("orders");
    holds::<Vec<PathAnswer>>("path_answers");
}

#[test]
fn events_are_read_and_written_as_documented() {
    holds::<Vec<Event>>("events");
}

#[test]
fn what_a_call_leaves_out_has_its_default() {
    let call: CallRequest = serde_json::from_str(r#"{"name": "/A", "method": "echo"}"#).expect("enough");
    assert_eq!((call.deadline_ms, call.trace, call.args.len()), (2000, false, 0));
}

#[test]
fn orders_with_members_nobody_knows_are_refused() {
    let order = r#"{"order": "overload", "on": true, "until": 7}"#;
    let refused = serde_json::from_str::<Command>(order).expect_err("a misspelt member must not be ignored");
    assert!(refused.to_string().contains("until"), "{refused}");
}

#[test]
fn names_in_orders_are_names() {
    let order = r#"{"order": "add-licence", "pod": "pod-1", "prefix": "A/1"}"#;
    let refused = serde_json::from_str::<Command>(order).expect_err("no name").to_string();
    assert!(refused.contains("A/1") && refused.contains("starts with '/'"), "{refused}");
}
