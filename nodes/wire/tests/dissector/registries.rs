//! The code points in the script, read as text, are those of the registry.

use std::collections::BTreeMap;
use std::path::PathBuf;

use damc_wire::registry::{ETHERTYPE, HEADER_LEN, MAX_PDU, TlvType, VERSION};
use damc_wire::{Class, DropReason, MessageType, RefusalReason, Role};

use super::{Result, same};

/// The script.
pub fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dissector/damc.lua")
}

/// A number as Lua writes it.
fn number(text: &str) -> Option<u64> {
    text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

/// The table `name` of the script: `[code] = "label"` entries.
fn table(text: &str, name: &str) -> Option<BTreeMap<u64, String>> {
    let (_, body) = text.split_once(&format!("local {name} = {{"))?;
    let (body, _) = body.split_once("\n}")?;
    let entry = |entry: &str| {
        let (code, rest) = entry.split_once("] = \"")?;
        Some((number(code)?, rest.split('"').next()?.to_owned()))
    };
    body.split('[').skip(1).map(entry).collect()
}

macro_rules! check {
    ($text:expr, $name:literal, $t:ty $(, $zero:literal)?) => {{
        let ours = <$t>::ALL.iter().map(|v| (u64::from(v.code()), v.label().to_owned()));
        let ours: BTreeMap<u64, String> = ours.chain([$((0, $zero.to_owned()))?]).collect();
        same($name, &Some(ours), &table($text, $name))?;
    }};
}

/// All of them.
pub fn agree() -> Result {
    let text = std::fs::read_to_string(script())?;
    check!(&text, "ROLES", Role);
    check!(&text, "CLASSES", Class);
    check!(&text, "MESSAGE_TYPES", MessageType);
    check!(&text, "TLV_TYPES", TlvType);
    check!(&text, "REFUSAL_REASONS", RefusalReason, "accepted");
    check!(&text, "DROP_REASONS", DropReason, "accepted");
    let constants = format!(
        "local VERSION, HEADER_LEN, MAX_PDU, MAX_BODY = {VERSION}, {HEADER_LEN}, {MAX_PDU}, {}\n",
        damc_wire::frame::MAX_BODY
    );
    same("constants", &true, &text.contains(&constants))?;
    same("EtherType", &true, &text.contains(&format!("local ETHERTYPE = {ETHERTYPE:#06x}\n")))
}
