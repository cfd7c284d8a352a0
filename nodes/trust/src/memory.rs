//! Signatures that verified, remembered for many verifiers at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use damc_wire::security::{PublicKey, Signature};
use sha2::{Digest as _, Sha256};

/// For simulations of many nodes in one process: what one node has verified in full, the others look up.
///
/// Key, signature and all bytes it covers go into the look-up (SHA-256), so that nothing passes that would not verify. What
/// is shared is the work and no verdict on content: roles, names and expiry are still checked by every node for itself. A
/// node in a process of its own has none.
#[derive(Clone, Debug, Default)]
pub struct SignatureMemory(Arc<Mutex<HashSet<[u8; 32]>>>);

impl SignatureMemory {
    /// Whether this verified before, or else does now by `verify`.
    pub(crate) fn verify(
        &self,
        key: &PublicKey,
        signature: &Signature,
        signed_part: &[u8],
        verify: impl FnOnce() -> bool,
    ) -> bool {
        let parts: [&[u8]; 3] = [key, signature, signed_part];
        let digest: [u8; 32] = parts.into_iter().fold(Sha256::new(), sha2::Digest::chain_update).finalize().into();
        // A set of what verified stays true whoever panicked while it was held.
        let known = |memory: &Self| memory.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest);
        if known(self) {
            return true;
        }
        let verified = verify();
        if verified {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        }
        verified
    }

    /// Number of different signatures that verified.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing was verified yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_is_remembered_and_failures_never() {
        let memory = SignatureMemory::default();
        assert!(!memory.verify(&[1; 32], &[2; 64], b"text", || false));
        assert!(memory.is_empty());
        assert!(memory.verify(&[1; 32], &[2; 64], b"text", || true));
        assert!(memory.verify(&[1; 32], &[2; 64], b"text", || false), "remembered");
        assert!(!memory.verify(&[1; 32], &[2; 64], b"other", || false));
        assert!(!memory.verify(&[1; 32], &[3; 64], b"text", || false));
        assert!(!memory.verify(&[9; 32], &[2; 64], b"text", || false));
        assert_eq!(memory.len(), 1);
    }
}
