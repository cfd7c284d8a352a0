//! `nodes/WIRE.md` and the code say the same numbers.

use damc_mgmt::config::Timers;
use damc_wire::{Class, DropReason, MessageType, RefusalReason, Role, frame, message, name, node_id, registry};

const TEXT: &str = include_str!("../../WIRE.md");

/// The part of the specification under a heading.
fn section(heading: &str) -> &'static str {
    let level = heading.split(' ').next().unwrap();
    let (_, after) = TEXT.split_once(&format!("\n{heading}")).unwrap_or_else(|| panic!("no section {heading:?}"));
    let end = after.find(&format!("\n{level} ")).or_else(|| after.find("\n## ")).unwrap_or(after.len());
    &after[..end]
}

/// Code and label of every row of a registry table.
fn rows(heading: &str) -> Vec<(u8, String)> {
    let cells = |line: &str| line.split('|').map(|c| c.trim().to_owned()).collect::<Vec<_>>();
    let code = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    section(heading)
        .lines()
        .filter(|l| l.starts_with('|'))
        .filter_map(|l| {
            let cells = cells(l);
            Some((code(&cells[1])?, cells[2].clone()))
        })
        .collect()
}

macro_rules! registries {
    ($($test:ident: $heading:literal, $t:ty;)*) => {$(
        #[test]
        fn $test() {
            let ours: Vec<(u8, String)> = <$t>::ALL.iter().map(|v| (v.code(), v.label().to_owned())).collect();
            assert_eq!(rows($heading), ours);
            for v in <$t>::ALL {
                assert_eq!(<$t>::from_code(v.code()), Some(*v));
                assert_eq!(<$t>::from_label(v.label()), Some(*v));
            }
        }
    )*};
}

registries! {
    roles: "### 23.1", Role;
    classes: "### 23.2", Class;
    message_types: "### 23.3", MessageType;
    tlv_types: "### 23.4", registry::TlvType;
    refusal_reasons: "### 23.5", RefusalReason;
    drop_reasons: "### 23.6", DropReason;
}

#[test]
fn every_message_has_a_layout() {
    let layouts = section("## 6.");
    for t in MessageType::ALL {
        assert!(layouts.contains(&format!("({:#04X})", t.code()).replace("0X", "0x")), "{t} has no layout");
    }
}

#[test]
fn timers() {
    let table = section("## 20.");
    let timers = serde_json::to_value(Timers::default()).unwrap();
    for (key, value) in timers.as_object().unwrap() {
        let unit = if key.ends_with("_ms") { " ms" } else { "" };
        assert!(table.contains(&format!("| `{key}` | {value}{unit} |")), "{key} = {value}");
    }
}

#[test]
fn bounds() {
    let table = section("## 21.");
    for (what, bound) in [
        ("PDU", format!("{} to {} bytes", registry::HEADER_LEN, registry::MAX_PDU)),
        ("TLVs of a hop-local message", format!("{} bytes", frame::HOP_LOCAL_ROOM)),
        (
            "Name",
            format!(
                "{} components, {} bytes each, {} bytes",
                name::MAX_COMPONENTS,
                name::MAX_COMPONENT_LEN,
                name::MAX_WIRE_LEN
            ),
        ),
        ("Node identity", format!("{} bytes", node_id::MAX_NODE_ID)),
        ("Names in a certificate", format!("{} bytes", damc_wire::security::MAX_NAMES_LEN)),
        ("Method", format!("{} bytes", message::MAX_METHOD_LEN)),
        ("Body of a routed message", format!("{} bytes", frame::MAX_BODY)),
        ("LSA lifetime cap", format!("{} ms;", damc_wire::lsa::MAX_LIFETIME.0)),
        ("Link cost", format!("1 to {}", damc_wire::lsa::MAX_COST)),
    ] {
        let row = table.lines().find(|l| l.starts_with(&format!("| {what}"))).unwrap_or_default();
        assert!(row.contains(&bound), "{what}: {bound} is not in {row:?}");
    }
}

#[test]
fn signature_contexts() {
    use damc_wire::lsa::Lsa;
    use damc_wire::message::{Announce, Hello, Policy, Signed};
    use damc_wire::security::{Attachment, Certificate, Grant};
    let table = section("## 4.");
    for context in [
        Certificate::CONTEXT,
        Grant::CONTEXT,
        Attachment::CONTEXT,
        Lsa::CONTEXT,
        Hello::CONTEXT,
        Announce::CONTEXT,
        Signed::<Policy>::CONTEXT,
    ] {
        assert!(table.contains(&format!("| `{context}` |")), "{context}");
    }
}
