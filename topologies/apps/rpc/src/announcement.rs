//! The bytes that a pod signs to announce, made here and not taken from the gateway: whoever signs what somebody else
//! hands out has said whatever that one wanted (`nodes/WIRE.md`, sections 4, 6 and 26).

use crate::class1::{AnnounceRequest, Challenge};

/// What signed announcements begin with.
const CONTEXT: &[u8] = b"damc announce v1\0";
/// Type of an Announcement TLV.
const ANNOUNCEMENT: u8 = 0x88;
/// Kinds of announcements.
const WITHDRAW: u8 = 0;
const ADD: u8 = 1;
const ADD_TO_POOL: u8 = 2;

/// The bytes for this request and the gateway's answer to Prepare.
///
/// # Errors
/// A name or an identity that is too long, or a weight over 65535.
pub fn signed_bytes(request: &AnnounceRequest, challenge: &Challenge) -> Result<Vec<u8>, String> {
    let mut bytes = CONTEXT.to_vec();
    bytes.extend(challenge.request.to_be_bytes());
    put_short(&mut bytes, request.pod.as_bytes())?;
    put_short(&mut bytes, challenge.sg.as_bytes())?;
    bytes.extend(challenge.session.to_be_bytes());
    for entry in &request.add {
        let weight = u16::try_from(entry.weight.max(1)).map_err(|_| format!("weight {}", entry.weight))?;
        let mut value = vec![if entry.pool.is_empty() { ADD } else { ADD_TO_POOL }];
        put_name(&mut value, &entry.prefix)?;
        value.extend(weight.to_be_bytes());
        if !entry.pool.is_empty() {
            put_name(&mut value, &entry.pool)?;
        }
        put_announcement(&mut bytes, &value)?;
    }
    for name in &request.withdraw {
        let mut value = vec![WITHDRAW];
        put_name(&mut value, name)?;
        put_announcement(&mut bytes, &value)?;
    }
    Ok(bytes)
}

/// A type, a length of two bytes, a value.
fn put_announcement(bytes: &mut Vec<u8>, value: &[u8]) -> Result<(), String> {
    let length = u16::try_from(value.len()).map_err(|_| "an announcement is too long".to_owned())?;
    bytes.push(ANNOUNCEMENT);
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
    Ok(())
}

/// `/A/1`: each component behind its length, and all of them behind theirs.
fn put_name(bytes: &mut Vec<u8>, name: &str) -> Result<(), String> {
    let components = name.strip_prefix('/').ok_or_else(|| format!("{name} does not begin with a /"))?;
    let mut wire = Vec::new();
    for component in components.split('/') {
        put_short(&mut wire, component.as_bytes())?;
    }
    put_short(bytes, &wire)
}

/// Bytes behind their length of one byte.
fn put_short(bytes: &mut Vec<u8>, what: &[u8]) -> Result<(), String> {
    let length = u8::try_from(what.len()).map_err(|_| format!("{} bytes are too many", what.len()))?;
    bytes.push(length);
    bytes.extend(what);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::Value;

    use super::*;
    use crate::class1::Entry;

    const VECTORS: &str = include_str!("../../../../nodes/class1/vectors/announcements.json");

    fn text(value: &Value) -> String {
        value.as_str().unwrap_or_default().to_owned()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn request(vector: &Value) -> AnnounceRequest {
        let entry = |entry: &Value| Entry {
            prefix: text(&entry["prefix"]),
            pool: text(&entry["pool"]),
            weight: u32::try_from(entry["weight"].as_u64().unwrap_or(0)).unwrap(),
        };
        AnnounceRequest {
            pod: text(&vector["pod"]),
            add: vector["add"].as_array().unwrap().iter().map(entry).collect(),
            withdraw: vector["withdraw"].as_array().unwrap().iter().map(text).collect(),
            ..AnnounceRequest::default()
        }
    }

    #[test]
    fn the_vectors_are_met() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let secret: [u8; 32] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(text(&vectors["secret"]), hex(&secret));
        let key = SigningKey::from_bytes(&secret);
        let announcements = vectors["announcements"].as_array().unwrap();
        assert!(announcements.len() >= 4);
        for vector in announcements {
            let number = |member: &str| text(&vector[member]).parse().unwrap();
            let challenge =
                Challenge { request: number("request"), sg: text(&vector["sg"]), session: number("session") };
            let bytes = signed_bytes(&request(vector), &challenge).unwrap();
            assert_eq!(hex(&bytes), text(&vector["sign"]), "{}", vector["title"]);
            assert_eq!(hex(&key.sign(&bytes).to_bytes()), text(&vector["signature"]), "{}", vector["title"]);
        }
    }

    #[test]
    fn what_has_no_bytes_is_refused() {
        let wrong = |prefix: &str, weight| {
            let add = vec![Entry { prefix: prefix.to_owned(), pool: String::new(), weight }];
            signed_bytes(&AnnounceRequest { add, ..AnnounceRequest::default() }, &Challenge::default()).unwrap_err()
        };
        assert!(wrong("A", 1).contains("does not begin"));
        assert!(wrong("/A", 70_000).contains("70000"));
        assert!(wrong(&format!("/{}", "a".repeat(256)), 1).contains("256 bytes"));
    }
}
