//! What programs sign: `vectors/announcements.json`, made apart from this code by hand from `nodes/WIRE.md`.

use damc_wire::hex::to_hex;
use damc_wire::message::{Announce, AnnounceEntry};
use damc_wire::{Name, NodeId};
use serde_json::Value;

const VECTORS: &str = include_str!("../../vectors/announcements.json");

fn name(value: &Value) -> Name {
    value.as_str().unwrap().parse().unwrap()
}

fn node(value: &Value) -> NodeId {
    NodeId::new(value.as_str().unwrap()).unwrap()
}

#[test]
fn reg_04_the_bytes_of_an_announcement_are_those_of_the_vectors() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let announcements = vectors["announcements"].as_array().unwrap();
    assert!(announcements.len() >= 4);
    for vector in announcements {
        let number = |member: &str| vector[member].as_str().unwrap().parse().unwrap();
        let entry = |entry: &Value| AnnounceEntry {
            prefix: name(&entry["prefix"]),
            pool: entry.get("pool").map(name),
            weight: entry["weight"].as_u64().map_or(1, |weight| u16::try_from(weight).unwrap()),
        };
        let announce = Announce {
            request: number("request"),
            pod: node(&vector["pod"]),
            sg: node(&vector["sg"]),
            sg_session: number("session"),
            add: vector["add"].as_array().unwrap().iter().map(entry).collect(),
            withdraw: vector["withdraw"].as_array().unwrap().iter().map(name).collect(),
            signature: [0; 64],
        };
        assert_eq!(to_hex(&announce.signed_part()), vector["sign"].as_str().unwrap(), "{}", vector["title"]);
    }
}
