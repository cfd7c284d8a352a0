//! Why something is not believed.

use damc_wire::DropReason;

/// A failed verification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The certificate's signature does not verify under the root key, or its key is no curve point.
    #[error("certificate of {0} does not verify under the domain key")]
    BadCertificate(String),
    /// The certificate is for another domain.
    #[error("certificate of {node} is for domain {theirs}, not {ours}")]
    WrongDomain {
        /// Its node.
        node: String,
        /// Its domain.
        theirs: String,
        /// Our domain.
        ours: String,
    },
    /// The role must not say this.
    #[error("{node} is {role}, which must not sign {what}")]
    WrongRole {
        /// Signer.
        node: String,
        /// Its certified role.
        role: &'static str,
        /// What it signed.
        what: &'static str,
    },
    /// The signature does not verify.
    #[error("signature of {node} over {what} does not verify")]
    BadSignature {
        /// Signer.
        node: String,
        /// What it signed.
        what: &'static str,
    },
    /// The signer is not the node it speaks for.
    #[error("{signer} speaks for {claimed}")]
    NotTheOrigin {
        /// Certified node.
        signer: String,
        /// Node the item belongs to.
        claimed: String,
    },
    /// The proof does not cover what is claimed.
    #[error("{origin} has no authorisation for {prefix}: {why}")]
    NotAuthorised {
        /// Who claims.
        origin: String,
        /// What.
        prefix: String,
        /// Why not.
        why: &'static str,
    },
    /// The grant is out of its validity by its SPA's clock.
    #[error("grant {serial} of {spa} for {prefix} has expired")]
    GrantExpired {
        /// Its SPA.
        spa: String,
        /// Its prefix.
        prefix: String,
        /// Its serial.
        serial: u64,
    },
    /// The attachment is out of its validity by its SCSC's clock.
    #[error("attachment of {scsc} to {router} has expired")]
    AttachmentExpired {
        /// Its SCSC.
        scsc: String,
        /// The router.
        router: String,
    },
    /// The item cannot be encoded (too large).
    #[error("{0} cannot be encoded")]
    Encoding(&'static str),
    /// Hexadecimal text that is none, or has the wrong length.
    #[error("{what}: {why}")]
    BadHex {
        /// Which field.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl TrustError {
    /// The drop reason to count.
    #[must_use]
    pub const fn drop_reason(&self) -> DropReason {
        match self {
            Self::BadCertificate(_) | Self::BadHex { .. } => DropReason::BadCertificate,
            Self::WrongDomain { .. } => DropReason::DomainMismatch,
            Self::WrongRole { .. } => DropReason::WrongRole,
            Self::BadSignature { .. } => DropReason::BadSignature,
            Self::NotTheOrigin { .. } | Self::NotAuthorised { .. } => DropReason::NotAuthorised,
            Self::GrantExpired { .. } | Self::AttachmentExpired { .. } => DropReason::GrantExpired,
            Self::Encoding(_) => DropReason::Oversized,
        }
    }
}
