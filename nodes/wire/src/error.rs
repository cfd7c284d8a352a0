//! Errors: why bytes do not decode, and where; why a value cannot be encoded.

use crate::name::NameError;
use crate::node_id::NodeIdError;
use crate::registry::DropReason;

/// A decoding error, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct DecodeError {
    /// Offset from the first byte of the PDU (or of the item that was decoded alone).
    pub offset: usize,
    /// What is wrong.
    pub kind: DecodeErrorKind,
}

/// What can be wrong with bytes from the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// Bytes are missing.
    #[error("{what} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// Bytes are left over, or a count is over its bound.
    #[error("{what} is too long")]
    Oversized {
        /// What is too long.
        what: &'static str,
    },
    /// A version other than ours.
    #[error("version {0} is not supported")]
    BadVersion(u8),
    /// Unassigned message type.
    #[error("message type {0:#04x} is not assigned")]
    UnknownType(u8),
    /// Unknown TLV with the critical bit.
    #[error("unknown critical TLV {0:#04x}")]
    UnknownCriticalTlv(u8),
    /// A required TLV is missing.
    #[error("TLV {0} is missing")]
    MissingTlv(&'static str),
    /// A TLV occurs a second time, or out of place.
    #[error("TLV {0} is not allowed here")]
    UnexpectedTlv(&'static str),
    /// A field with a value outside its range.
    #[error("{what} has the impossible value {value}")]
    BadValue {
        /// Which field.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// The end-to-end checksum does not match.
    #[error("the end-to-end checksum does not match")]
    BadChecksum,
    /// A name that breaks the rules.
    #[error("bad name: {0}")]
    BadName(#[from] NameError),
    /// A node identity that breaks the rules.
    #[error("bad node identity: {0}")]
    BadNodeId(#[from] NodeIdError),
}

impl DecodeError {
    /// The drop reason to count.
    #[must_use]
    pub const fn drop_reason(&self) -> DropReason {
        match self.kind {
            DecodeErrorKind::Truncated { .. } => DropReason::Truncated,
            DecodeErrorKind::Oversized { .. } => DropReason::Oversized,
            DecodeErrorKind::BadVersion(_) => DropReason::BadVersion,
            DecodeErrorKind::UnknownType(_) => DropReason::UnknownType,
            DecodeErrorKind::UnknownCriticalTlv(_) => DropReason::UnknownCriticalTlv,
            DecodeErrorKind::BadChecksum => DropReason::BadChecksum,
            DecodeErrorKind::BadName(_) => DropReason::BadName,
            DecodeErrorKind::MissingTlv(_)
            | DecodeErrorKind::UnexpectedTlv(_)
            | DecodeErrorKind::BadValue { .. }
            | DecodeErrorKind::BadNodeId(_) => DropReason::Malformed,
        }
    }
}

/// Why a value cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The PDU would be longer than [`crate::registry::MAX_PDU`].
    #[error("the PDU would have {len} bytes")]
    TooLarge {
        /// Its length in bytes, including a HopMac TLV where it needs one.
        len: usize,
    },
    /// A field with a value outside its range.
    #[error("{what} has the impossible value {value}")]
    BadValue {
        /// Which field.
        what: &'static str,
        /// The value.
        value: u64,
    },
}
