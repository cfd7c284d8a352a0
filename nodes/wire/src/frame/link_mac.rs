//! The MAC of a routed PDU on one link: a field of its header that every hop checks and writes anew.

use core::fmt;

use highway::{HighwayHash as _, HighwayHasher, Key};

use crate::registry::{DropReason, HEADER_LEN};

/// Bytes of the field.
pub const LINK_MAC_LEN: usize = 16;
/// Bytes of the header of a routed PDU: the fixed header, then the link MAC.
pub const ROUTED_HEADER_LEN: usize = HEADER_LEN + LINK_MAC_LEN;

/// The key of one direction of a link.
///
/// The MAC is HighwayHash-128 under this key, of the whole PDU but the field itself. It is a keyed hash that stays far below
/// what the kernel needs for a frame: a router computes it twice for each.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkKey([u64; 4]);

impl LinkKey {
    /// From 32 bytes that only the two ends of the link know: four integers, little endian.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        let mut key = [0; 4];
        for (word, bytes) in key.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        Self(key)
    }

    /// The MAC of a routed PDU, whatever its field holds. Bytes of less than a header are covered as they are.
    #[must_use]
    pub fn mac(&self, pdu: &[u8]) -> [u8; LINK_MAC_LEN] {
        let mut hasher = HighwayHasher::new(Key(self.0));
        hasher.append(pdu.get(..HEADER_LEN).unwrap_or(pdu));
        hasher.append(pdu.get(ROUTED_HEADER_LEN..).unwrap_or_default());
        let [low, high] = hasher.finalize128();
        let mut mac = [0; LINK_MAC_LEN];
        mac[..8].copy_from_slice(&low.to_le_bytes());
        mac[8..].copy_from_slice(&high.to_le_bytes());
        mac
    }

    /// Writes the MAC into a routed PDU: the last thing that is done to it before it leaves.
    pub fn seal(&self, pdu: &mut [u8]) {
        let mac = self.mac(pdu);
        if let Some(field) = pdu.get_mut(HEADER_LEN..ROUTED_HEADER_LEN) {
            field.copy_from_slice(&mac);
        }
    }

    /// Checks the MAC of a routed PDU.
    ///
    /// # Errors
    /// [`DropReason::MissingMac`] where the field is 0 or not there, [`DropReason::BadMac`] where it is another.
    pub fn check(&self, pdu: &[u8]) -> Result<(), DropReason> {
        let carried = link_mac(pdu).ok_or(DropReason::MissingMac)?;
        // All bits before the one decision: how long it takes says nothing about where they differ.
        let (carried, computed) = (u128::from_ne_bytes(carried), u128::from_ne_bytes(self.mac(pdu)));
        if carried ^ computed == 0 { Ok(()) } else { Err(DropReason::BadMac) }
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// The link MAC that a routed PDU carries; none where the field is 0, as on a frame that has not left its source.
pub(super) fn link_mac(pdu: &[u8]) -> Option<[u8; LINK_MAC_LEN]> {
    let field = pdu.get(HEADER_LEN..ROUTED_HEADER_LEN)?.first_chunk().copied()?;
    (field != [0; LINK_MAC_LEN]).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;
    use crate::message::{Message, Task};

    fn pdu() -> Vec<u8> {
        let task = Message::Task(Task { task: 7 });
        Frame::plain("/B/4".parse().unwrap(), "/A/1".parse().unwrap(), 9, task).encode().unwrap()
    }

    #[test]
    fn no_byte_changes_unnoticed_and_each_key_is_its_own() {
        let (key, other) = (LinkKey::new(&[7; 32]), LinkKey::new(&[8; 32]));
        let mut pdu = pdu();
        assert_eq!(key.check(&pdu), Err(DropReason::MissingMac));
        key.seal(&mut pdu);
        assert_eq!((key.check(&pdu), other.check(&pdu)), (Ok(()), Err(DropReason::BadMac)));
        for at in 0..pdu.len() {
            let mut changed = pdu.clone();
            changed[at] ^= 0x10;
            assert_eq!(key.check(&changed), Err(DropReason::BadMac), "byte {at}");
        }
        for end in 0..pdu.len() {
            assert!(key.check(&pdu[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn sealing_again_replaces_what_the_last_hop_wrote() {
        let mut pdu = pdu();
        LinkKey::new(&[7; 32]).seal(&mut pdu);
        LinkKey::new(&[8; 32]).seal(&mut pdu);
        assert_eq!(LinkKey::new(&[8; 32]).check(&pdu), Ok(()));
    }

    /// Published test vectors of HighwayHash: key 0, 1, 2, …, 31, and one, two and three bytes 0, 1, 2.
    #[test]
    fn the_hash_is_the_published_one() {
        let key: [u8; 32] = core::array::from_fn(|i| u8::try_from(i).unwrap());
        let mut seen = Vec::new();
        for length in [0, 1, 2, 3] {
            let data: Vec<u8> = (0..length).collect();
            seen.push(HighwayHasher::new(Key(LinkKey::new(&key).0)).hash64(&data));
        }
        assert_eq!(seen, [0x907A_56DE_22C2_6E53, 0x7EAB_43AA_C7CD_DD78, 0xB8D0_569A_B0B5_3D62, 0x5C6B_EFAB_8A46_3D80]);
    }
}
