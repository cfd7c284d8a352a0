//! Certificates and grants as values; `damc-trust` verifies them.

use crate::{Millis, Name, NodeId, Role};

/// Raw Ed25519 public key.
pub type PublicKey = [u8; 32];
/// Raw X25519 public key.
pub type AgreementKey = [u8; 32];
/// Raw Ed25519 signature.
pub type Signature = [u8; 64];

/// Certificate of a node: identity, role and keys, signed by the domain's root key.
///
/// Encoded form of the signed part: `domain` (length byte + text), `node` (length byte + text), role (1), signing key
/// (32), agreement key (32), and of an SPA the names it may grant. The signature covers the ASCII context `damc certificate v1`, a zero byte and that part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// Trust domain, 1 to 32 bytes of the node identity alphabet.
    pub domain: NodeId,
    /// The node.
    pub node: NodeId,
    /// Its one role.
    pub role: Role,
    /// Ed25519 key that signs its hellos, LSAs, grants, announcements, telemetry or policies.
    pub signing_key: PublicKey,
    /// X25519 key for the agreement on hop MAC keys.
    pub agreement_key: AgreementKey,
    /// What an SPA may grant; empty for all other roles. At most [`MAX_NAMES_LEN`] bytes encoded.
    pub names: Vec<CertifiedName>,
    /// By the domain's root key.
    pub signature: Signature,
}

impl Certificate {
    /// Whether an SPA with this certificate may grant `prefix`, with `exact` as a pool.
    #[must_use]
    pub fn may_grant(&self, prefix: &Name, exact: bool) -> bool {
        self.names.iter().any(|certified| certified.covers(prefix, exact))
    }
}

/// An SCSC's statement that it is attached to a router, which alone may advertise its name.
///
/// Times are on the SCSC's own clock, and are compared like those of a [`Grant`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// The router.
    pub router: NodeId,
    /// When it was issued.
    pub issued_at: Millis,
    /// When it expires.
    pub expires_at: Millis,
    /// The SCSC that issued it.
    pub certificate: Certificate,
    /// Signature by the SCSC's signing key, context `damc attachment v1`.
    pub signature: Signature,
}

/// Bytes that the names in a certificate have at most, encoded: an LSA carries two certificates.
pub const MAX_NAMES_LEN: usize = 256;

/// A name in the certificate of an SPA.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertifiedName {
    /// The name.
    pub name: Name,
    /// Only a pool of exactly this name may be granted; else the name and all below it, instances and pools.
    pub exact: bool,
}

impl CertifiedName {
    /// Whether a grant of `prefix`, with `exact` as a pool, is within it.
    #[must_use]
    pub fn covers(&self, prefix: &Name, exact: bool) -> bool {
        if self.exact { exact && self.name == *prefix } else { self.name.is_prefix_of(prefix) }
    }

    /// Bytes of its encoding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        2 + self.name.wire().len()
    }
}

/// An SPA's statement that a pod may have a prefix at an SG.
///
/// Times are on the SPA's own clock, in milliseconds since an origin of its choice. Verifiers never compare them with a
/// wall clock. They compare them with the latest `issued_at` from that SPA, advanced by their own monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The prefix.
    pub prefix: Name,
    /// The prefix is a pool name: only the name itself is covered, no name below it.
    pub exact: bool,
    /// How many components a covered name may have below the prefix (255: any number).
    pub depth: u8,
    /// The pod.
    pub pod: NodeId,
    /// The pod's signing key.
    pub pod_key: PublicKey,
    /// The only SG that may advertise it.
    pub sg: NodeId,
    /// When it was issued.
    pub issued_at: Millis,
    /// When it expires.
    pub expires_at: Millis,
    /// Rises with every grant of this SPA.
    pub serial: u64,
    /// The SPA that issued it.
    pub certificate: Certificate,
    /// Signature by the SPA's signing key, context `damc grant v1`.
    pub signature: Signature,
}
