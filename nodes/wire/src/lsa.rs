//! Link-state advertisements (class 2; drafts section 5 (3) and (4)).
//!
//! An LSA is a fragment of a node's *topology* (its adjacencies), a *prefix* behind one port of a node, or the *purge*
//! of either. Its origin signs it. It is flooded unchanged, except for `remaining`.

use crate::security::{Attachment, Certificate, Grant, Signature};
use crate::{Millis, Name, NodeId};

pub use crate::codec::SUMMARY_BODY_LEN;

/// Kind of an LSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LsaKind {
    /// Adjacencies of a node.
    Topology = 1,
    /// A prefix behind a port of a node.
    Prefix = 2,
}

impl LsaKind {
    /// The value of a code point, if it is assigned.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Topology),
            2 => Some(Self::Prefix),
            _ => None,
        }
    }
}

/// Identifier of an LSA among those of its origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LsaId {
    /// Topology, fragment number from 0.
    Topology(u16),
    /// A prefix and the port (named after the attached node) it lies behind.
    Prefix(Name, NodeId),
}

impl LsaId {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> LsaKind {
        match self {
            Self::Topology(_) => LsaKind::Topology,
            Self::Prefix(..) => LsaKind::Prefix,
        }
    }
}

/// As in events: `topology 0`, `/A/1 at pod-1`.
impl core::fmt::Display for LsaId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Topology(fragment) => write!(f, "topology {fragment}"),
            Self::Prefix(prefix, port) => write!(f, "{prefix} at {port}"),
        }
    }
}

/// Key of an LSA in the LSDB.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsaKey {
    /// The node that originated and signed it.
    pub origin: NodeId,
    /// Which of its LSAs.
    pub id: LsaId,
}

/// The short form for summaries, requests and acknowledgements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LsaHeader {
    /// Which LSA.
    pub key: LsaKey,
    /// Sequence number; higher is newer.
    pub sequence: u64,
    /// Tells two LSAs of one sequence number apart: the first eight bytes of the signature, but for the highest bit, which
    /// is set for a purge. So a purge is newer than what else has its number, and a last number can be purged.
    pub digest: u64,
    /// Time left to live.
    pub remaining: Millis,
}

impl LsaHeader {
    /// Total order of the instances of one key: by sequence number, then by digest. Age does not matter.
    #[must_use]
    pub fn version(&self) -> (u64, u64) {
        (self.sequence, self.digest)
    }
}

/// A link-state advertisement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lsa {
    /// Which LSA.
    pub key: LsaKey,
    /// Sequence number; higher is newer. Starts at 1.
    pub sequence: u64,
    /// Lifetime at origination; bounds `remaining`. Holders count at most [`MAX_LIFETIME`].
    pub lifetime: Millis,
    /// Its content.
    pub content: LsaContent,
    /// Certificate of the key that signed it.
    pub certificate: Certificate,
    /// Signature by the origin's signing key over all fields except `remaining`, context `damc lsa v1`.
    pub signature: Signature,
    /// Time left to live; every holder counts it down, and every hop reduces it by at least 1 ms. Not signed.
    pub remaining: Millis,
}

impl Lsa {
    /// Its header: the short form.
    #[must_use]
    pub fn header(&self) -> LsaHeader {
        let mut digest = [0; 8];
        digest.copy_from_slice(&self.signature[..8]);
        LsaHeader {
            key: self.key.clone(),
            sequence: self.sequence,
            digest: u64::from_be_bytes(digest) & !PURGE_BIT | if self.is_purge() { PURGE_BIT } else { 0 },
            remaining: self.remaining,
        }
    }

    /// What a prefix LSA stands on.
    #[must_use]
    pub const fn proof(&self) -> Option<&Proof> {
        match &self.content {
            LsaContent::Prefix(prefix) => Some(&prefix.proof),
            LsaContent::Topology(_) | LsaContent::Purge => None,
        }
    }

    /// Whether this is a purge.
    #[must_use]
    pub const fn is_purge(&self) -> bool {
        matches!(self.content, LsaContent::Purge)
    }
}

/// Content of an LSA.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all LSAs are prefixes: a box would save nothing")]
pub enum LsaContent {
    /// Adjacencies.
    Topology(TopologyLsa),
    /// A prefix.
    Prefix(PrefixLsa),
    /// The LSA with this key is withdrawn by its origin.
    Purge,
}

/// One fragment of the adjacencies of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologyLsa {
    /// The node is not to be used for transit now (overload bit, GAP-22).
    pub overload: bool,
    /// The node is never used for transit (SGs, unless configured; CON-07).
    pub stub: bool,
    /// Full adjacencies with SGs and SRs.
    pub links: Vec<LinkEntry>,
}

/// One adjacency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEntry {
    /// The other end; ports are named after it.
    pub neighbour: NodeId,
    /// Cost of sending to it, 1 to [`MAX_COST`].
    pub cost: u32,
}

/// The digest bit that says purge.
const PURGE_BIT: u64 = 1 << 63;

/// Longest lifetime of an LSA, whatever it says of itself: so long can one that a captured key signed do harm.
pub const MAX_LIFETIME: Millis = Millis(3_600_000);

/// Highest cost of a link.
pub const MAX_COST: u32 = 0x00ff_ffff;

/// Metric of a prefix that is still its pod's, but that the pod's link does not reach (after LSInfinity, RFC 2328).
pub const UNREACHABLE: u32 = u32::MAX;

/// A prefix behind a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixLsa {
    /// Added to the cost of reaching the origin; [`UNREACHABLE`]: not reachable there now.
    pub metric: u32,
    /// Share of the traffic among equal instances of a pool at one SG.
    pub weight: u16,
    /// The prefix is a pool name: it matches exactly, names below it are not served.
    pub exact: bool,
    /// The instance behind a pool name.
    pub instance: Option<Name>,
    /// Proof that the origin may advertise it.
    pub proof: Proof,
}

/// Proof that an origin may advertise a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// An SPA granted it.
    Grant(Grant),
    /// The SCSC is attached there; the prefix is its reserved name `/damc/<domain>/<node>`.
    Attached(Attachment),
}

impl Proof {
    /// The node that issued it, by whose clock it ends.
    #[must_use]
    pub const fn issuer(&self) -> &NodeId {
        match self {
            Self::Grant(grant) => &grant.certificate.node,
            Self::Attached(attachment) => &attachment.certificate.node,
        }
    }

    /// When it ends, on the clock of its issuer.
    #[must_use]
    pub const fn expires_at(&self) -> Millis {
        match self {
            Self::Grant(grant) => grant.expires_at,
            Self::Attached(attachment) => attachment.expires_at,
        }
    }
}
