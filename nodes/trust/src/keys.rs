//! Secrets of a node and of the domain root, and the signatures they make.

use damc_wire::lsa::{Lsa, LsaContent, LsaKey};
use damc_wire::message::{Announce, AnnounceEntry, Hello, Signed};
use damc_wire::security::{AgreementKey, Attachment, Certificate, CertifiedName, Grant, PublicKey, Signature};
use damc_wire::{Millis, Name, NodeId, Role, hex};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use x25519_dalek::StaticSecret;

use crate::{HopKey, TrustError};

/// The domain root's public key: what every node believes certificates under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKey(pub(crate) VerifyingKey);

impl RootKey {
    /// From 32 bytes.
    ///
    /// # Errors
    /// The bytes are no valid Ed25519 key.
    pub fn from_bytes(bytes: &PublicKey) -> Result<Self, TrustError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| TrustError::BadCertificate("the root".into()))?;
        if key.is_weak() {
            return Err(TrustError::BadCertificate("the root (a weak key)".into()));
        }
        Ok(Self(key))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> PublicKey {
        self.0.to_bytes()
    }
}

/// The domain root's secret; only the emulator holds one.
pub struct RootSecret(SigningKey);

impl RootSecret {
    /// From a seed of 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> RootKey {
        RootKey(self.0.verifying_key())
    }

    /// Certifies a node. An SPA that is certified so may grant nothing.
    #[must_use]
    pub fn issue(&self, domain: &NodeId, node: &NodeId, role: Role, secrets: &NodeSecrets) -> Certificate {
        self.certify(domain, node, role, secrets, Vec::new())
    }

    /// Certifies an SPA that may grant these names.
    #[must_use]
    pub fn issue_spa(
        &self,
        domain: &NodeId,
        node: &NodeId,
        secrets: &NodeSecrets,
        names: Vec<CertifiedName>,
    ) -> Certificate {
        self.certify(domain, node, Role::Spa, secrets, names)
    }

    fn certify(
        &self,
        domain: &NodeId,
        node: &NodeId,
        role: Role,
        secrets: &NodeSecrets,
        names: Vec<CertifiedName>,
    ) -> Certificate {
        let mut certificate = Certificate {
            domain: domain.clone(),
            node: node.clone(),
            role,
            signing_key: secrets.signing_public(),
            agreement_key: secrets.agreement_public(),
            names,
            signature: [0; 64],
        };
        certificate.signature = self.0.sign(&certificate.signed_part()).to_bytes();
        certificate
    }
}

/// The two secrets of a node.
#[derive(Clone)]
pub struct NodeSecrets {
    /// Ed25519.
    pub signing: [u8; 32],
    /// X25519.
    pub agreement: [u8; 32],
}

impl NodeSecrets {
    /// Derives both from the run's seed and the node's identity: one seed, one set of keys.
    #[must_use]
    pub fn derive(seed: &[u8; 32], node: &NodeId) -> Self {
        let half = |purpose: &[u8]| -> [u8; 32] {
            let mut h = Sha256::new();
            h.update(purpose);
            h.update(seed);
            h.update(node.as_str().as_bytes());
            h.finalize().into()
        };
        Self { signing: half(b"damc signing secret\0"), agreement: half(b"damc agreement secret\0") }
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn signing_public(&self) -> PublicKey {
        SigningKey::from_bytes(&self.signing).verifying_key().to_bytes()
    }

    /// The X25519 public key.
    #[must_use]
    pub fn agreement_public(&self) -> AgreementKey {
        x25519_dalek::PublicKey::from(&StaticSecret::from(self.agreement)).to_bytes()
    }
}

/// What a node signs and agrees with.
#[derive(Clone)]
pub struct NodeKeys {
    signing: SigningKey,
    agreement: StaticSecret,
    certificate: Certificate,
}

impl core::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "NodeKeys({})", self.certificate.node)
    }
}

impl NodeKeys {
    /// Puts secrets and certificate together.
    ///
    /// # Errors
    /// The certificate is for other keys.
    pub fn new(secrets: &NodeSecrets, certificate: Certificate) -> Result<Self, TrustError> {
        if certificate.signing_key != secrets.signing_public()
            || certificate.agreement_key != secrets.agreement_public()
        {
            return Err(TrustError::BadCertificate(certificate.node.to_string()));
        }
        Ok(Self {
            signing: SigningKey::from_bytes(&secrets.signing),
            agreement: StaticSecret::from(secrets.agreement),
            certificate,
        })
    }

    /// Own certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, signed_part: &[u8]) -> Signature {
        self.signing.sign(signed_part).to_bytes()
    }

    /// Signs a hello; its certificate is set to our own.
    #[must_use]
    pub fn sign_hello(&self, mut hello: Hello) -> Hello {
        hello.certificate = self.certificate.clone();
        hello.signature = self.sign(&hello.signed_part());
        hello
    }

    /// Originates an LSA with the whole lifetime remaining.
    #[must_use]
    pub fn sign_lsa(&self, key: LsaKey, sequence: u64, lifetime: Millis, content: LsaContent) -> Lsa {
        let mut lsa = Lsa {
            key,
            sequence,
            lifetime,
            content,
            certificate: self.certificate.clone(),
            signature: [0; 64],
            remaining: lifetime,
        };
        lsa.signature = self.sign(&lsa.signed_part());
        lsa
    }

    /// Signs a pod's announcement for one SG and session.
    #[must_use]
    pub fn sign_announce(
        &self,
        request: u64,
        sg: (NodeId, u64),
        add: Vec<AnnounceEntry>,
        withdraw: Vec<Name>,
    ) -> Announce {
        let mut announce = Announce {
            request,
            pod: self.certificate.node.clone(),
            sg: sg.0,
            sg_session: sg.1,
            add,
            withdraw,
            signature: [0; 64],
        };
        announce.signature = self.sign(&announce.signed_part());
        announce
    }

    /// Signs a grant; its certificate is set to our own.
    #[must_use]
    pub fn sign_grant(&self, mut grant: Grant) -> Grant {
        grant.certificate = self.certificate.clone();
        grant.signature = self.sign(&grant.signed_part());
        grant
    }

    /// Signs an attachment; its certificate is set to our own.
    #[must_use]
    pub fn sign_attachment(&self, router: NodeId, issued_at: Millis, expires_at: Millis) -> Attachment {
        let certificate = self.certificate.clone();
        let mut attachment = Attachment { router, issued_at, expires_at, certificate, signature: [0; 64] };
        attachment.signature = self.sign(&attachment.signed_part());
        attachment
    }

    /// Signs a routed signalling message.
    #[must_use]
    pub fn sign_routed<T: damc_wire::message::SignedBody>(
        &self,
        destination: &Name,
        source: &Name,
        body: T,
    ) -> Signed<T> {
        let mut signed = Signed { body, certificate: self.certificate.clone(), signature: [0; 64] };
        signed.signature = self.sign(&signed.signed_part(destination, source));
        signed
    }

    /// The key of the adjacency with the holder of `theirs`.
    ///
    /// # Errors
    /// Their agreement key is a small-order point, which would make the key predictable.
    pub fn hop_key(&self, session: u64, theirs: &Certificate, their_session: u64) -> Result<HopKey, TrustError> {
        let shared = self.agreement.diffie_hellman(&x25519_dalek::PublicKey::from(theirs.agreement_key));
        if !shared.was_contributory() {
            return Err(TrustError::BadCertificate(theirs.node.to_string()));
        }
        Ok(HopKey::derive(shared.as_bytes(), (&self.certificate.node, session), (&theirs.node, their_session)))
    }
}

/// Bytes of a hexadecimal text; `what` names the field in the error.
///
/// # Errors
/// Odd length or a character that is no digit.
pub fn from_hex(what: &'static str, text: &str) -> Result<Vec<u8>, TrustError> {
    hex::from_hex(text).map_err(|why| TrustError::BadHex { what, why: why.to_string() })
}

/// A certificate as configuration files carry it.
#[must_use]
pub fn certificate_to_hex(certificate: &Certificate) -> String {
    hex::to_hex(&certificate.encode())
}

/// A certificate out of a configuration file; not verified yet.
///
/// # Errors
/// Not hexadecimal, or no certificate.
pub fn certificate_from_hex(text: &str) -> Result<Certificate, TrustError> {
    let bytes = from_hex("certificate", text)?;
    Certificate::decode(&bytes).map_err(|e| TrustError::BadHex { what: "certificate", why: e.to_string() })
}
