//! Hop security: the key two neighbours share, and the window that refuses what was seen.

use damc_wire::NodeId;
use damc_wire::frame::LinkKey;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The key of one adjacency: bound to both nodes and both sessions, so that nothing recorded in an earlier session
/// verifies in this one.
#[derive(Clone)]
pub struct HopKey {
    key: [u8; 32],
}

impl HopKey {
    /// Derives the key from the X25519 shared secret.
    ///
    /// `HMAC-SHA256(shared, "damc hop v1" 0 ‖ lower id 0 ‖ its session ‖ higher id 0 ‖ its session)`, ids ordered by
    /// bytes, sessions as 8 bytes big endian (`nodes/WIRE.md`, "Hop security").
    #[must_use]
    pub(crate) fn derive(shared: &[u8; 32], a: (&NodeId, u64), b: (&NodeId, u64)) -> Self {
        let (lower, higher) = if a.0 <= b.0 { (a, b) } else { (b, a) };
        let mut mac = hmac(shared);
        mac.update(b"damc hop v1\0");
        for (node, session) in [lower, higher] {
            mac.update(node.as_str().as_bytes());
            mac.update(&[0]);
            mac.update(&session.to_be_bytes());
        }
        Self { key: mac.finalize().into_bytes().into() }
    }

    /// The MAC over `covered` sent by `sender`: the first 16 bytes of HMAC-SHA256 over sender id, a zero byte and
    /// `covered`. The sender in front keeps a frame from being reflected to where it came from.
    #[must_use]
    pub fn mac(&self, sender: &NodeId, covered: &[u8]) -> [u8; 16] {
        let full = self.full(sender, covered).finalize().into_bytes();
        let mut out = [0; 16];
        out.copy_from_slice(&full[..16]);
        out
    }

    /// Whether `mac` is that of `covered` sent by `sender`; in constant time.
    #[must_use]
    pub fn verify(&self, sender: &NodeId, covered: &[u8], mac: &[u8; 16]) -> bool {
        self.full(sender, covered).verify_truncated_left(mac).is_ok()
    }

    /// The key of the link MACs of routed PDUs that `sender` sends: `HMAC-SHA256(hop key, "damc link v1" 0 ‖ sender id)`.
    /// One for each direction, so that nothing comes back to where it is from.
    #[must_use]
    pub fn link_key(&self, sender: &NodeId) -> LinkKey {
        let mut mac = hmac(&self.key);
        mac.update(b"damc link v1\0");
        mac.update(sender.as_str().as_bytes());
        LinkKey::new(&mac.finalize().into_bytes().into())
    }

    fn full(&self, sender: &NodeId, covered: &[u8]) -> Hmac<Sha256> {
        let mut m = hmac(&self.key);
        m.update(sender.as_str().as_bytes());
        m.update(&[0]);
        m.update(covered);
        m
    }
}

impl core::fmt::Debug for HopKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HopKey(..)")
    }
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("invariant: HMAC takes keys of any length")
}

/// Sliding window over the counters of one session: accepts each counter once, in any order within 64.
///
/// A window and not a strict order, because links of a testbed reorder on purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayWindow {
    highest: u64,
    /// Bit `i`: counter `highest - i` was seen.
    seen: u64,
}

impl ReplayWindow {
    /// Takes `counter` if it is new; call it only after the MAC has verified.
    #[must_use]
    pub fn accept(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let shift = counter - self.highest;
            self.seen = if shift < 64 { self.seen << shift } else { 0 };
            self.seen |= 1;
            self.highest = counter;
            return true;
        }
        let behind = self.highest - counter;
        if behind >= 64 || counter == 0 {
            return false;
        }
        let bit = 1 << behind;
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checklist_20_window_takes_each_counter_once_in_any_order() {
        let mut w = ReplayWindow::default();
        assert!(!w.accept(0), "counters start at 1");
        for c in [3, 1, 2, 70, 69, 10] {
            assert!(w.accept(c), "{c} is new");
            assert!(!w.accept(c), "{c} is a replay");
        }
        assert!(!w.accept(6), "64 behind is too old to tell");
        assert!(w.accept(7));
        assert!(w.accept(u64::MAX));
        assert!(!w.accept(70));
    }

    #[test]
    fn both_ends_derive_one_key_and_directions_differ() {
        let (a, b) = (NodeId::new("a").unwrap(), NodeId::new("b").unwrap());
        let k1 = HopKey::derive(&[7; 32], (&a, 1), (&b, 2));
        let k2 = HopKey::derive(&[7; 32], (&b, 2), (&a, 1));
        let mac = k1.mac(&a, b"hello");
        assert!(k2.verify(&a, b"hello", &mac));
        assert!(!k2.verify(&b, b"hello", &mac), "reflection");
        assert!(!k2.verify(&a, b"hellp", &mac));
        let later = HopKey::derive(&[7; 32], (&a, 1), (&b, 3));
        assert!(!later.verify(&a, b"hello", &mac), "another session");
    }

    /// The vector of `nodes/WIRE.md`, section 5, made with another implementation.
    #[test]
    fn specified_vector() {
        let (sg, sr) = (NodeId::new("sg-1").unwrap(), NodeId::new("sr-left").unwrap());
        let key = HopKey::derive(&[7; 32], (&sr, 2), (&sg, 1));
        assert_eq!(
            damc_wire::hex::to_hex(&key.key),
            "53f922c6d29f580bbe76247bca99c8ac7e8ab4c3e8257c801a264b1f125327ef"
        );
        assert_eq!(damc_wire::hex::to_hex(&key.mac(&sr, b"hello")), "81665b90d1f784735b086d4aeaeed0a4");
        let bytes =
            damc_wire::hex::from_hex("c2faf56b6b1cd7b70bbb7b731e4b539e689112327ad11044796cf29b77df67ce").unwrap();
        assert_eq!(key.link_key(&sr), LinkKey::new(&bytes.try_into().unwrap()));
        assert_ne!(key.link_key(&sr), key.link_key(&sg), "each direction has its own");
    }
}
