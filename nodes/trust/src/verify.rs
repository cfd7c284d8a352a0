//! Verification of everything that is signed, with caches for what comes again and again.

use std::collections::HashSet;
use std::ops::Deref;

use damc_wire::lsa::{Lsa, LsaContent, LsaId, PrefixLsa, Proof};
use damc_wire::message::{Announce, Hello, Signed, SignedBody};
use damc_wire::security::{Attachment, Certificate, Grant, PublicKey, Signature};
use damc_wire::{Millis, Name, NodeId, Role, Timestamp};
use ed25519_dalek::VerifyingKey;

use crate::{IssuerClock, RootKey, SignatureMemory, TrustError};

/// Something whose signature, and authorisation where it needs one, has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The value, no longer known to be verified.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Verified<Lsa> {
    /// Sets the time left, which no signature covers; never above the signed lifetime.
    pub fn set_remaining(&mut self, remaining: Millis) {
        self.0.remaining = remaining.min(self.0.lifetime);
    }
}

/// Certificates and grants that verified are remembered up to this many; then the memory is dropped and built anew.
const CACHE_LIMIT: usize = 16_384;

/// Verifies under one domain root.
#[derive(Clone, Debug)]
pub struct Verifier {
    root: RootKey,
    domain: NodeId,
    certificates: HashSet<Certificate>,
    /// Grants whose signatures verified: LSA refreshes carry them again and again.
    grants: HashSet<Grant>,
    clock: IssuerClock,
    /// What others verified, where they share it.
    memory: Option<SignatureMemory>,
}

impl Verifier {
    /// Believes what `root` certified for `domain`.
    #[must_use]
    pub fn new(root: RootKey, domain: NodeId) -> Self {
        Self {
            root,
            domain,
            certificates: HashSet::new(),
            grants: HashSet::new(),
            clock: IssuerClock::default(),
            memory: None,
        }
    }

    /// Shares the work of verifying signatures with all verifiers that have the same memory.
    pub fn share(&mut self, memory: &SignatureMemory) {
        self.memory = Some(memory.clone());
    }

    /// The clocks of SPAs and SCSC as far as they are known.
    #[must_use]
    pub const fn clock(&self) -> &IssuerClock {
        &self.clock
    }

    /// Checks a certificate: our domain, the root's signature.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify_certificate(&mut self, certificate: &Certificate) -> Result<(), TrustError> {
        if certificate.domain != self.domain {
            return Err(TrustError::WrongDomain {
                node: certificate.node.to_string(),
                theirs: certificate.domain.to_string(),
                ours: self.domain.to_string(),
            });
        }
        if self.certificates.contains(certificate) {
            return Ok(());
        }
        if !self.signed(&self.root.to_bytes(), &certificate.signed_part(), &certificate.signature) {
            return Err(TrustError::BadCertificate(certificate.node.to_string()));
        }
        // Thousands of nodes in one process would remember the same thousands of certificates each.
        if self.memory.is_none() {
            remember(&mut self.certificates, certificate.clone());
        }
        Ok(())
    }

    /// Checks a hello's certificate and signature. Freshness is the adjacency's business.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify_hello(&mut self, hello: &Hello) -> Result<(), TrustError> {
        self.verify_certificate(&hello.certificate)?;
        self.check(&hello.certificate, "a hello", &hello.signed_part(), &hello.signature)
    }

    /// Checks an announcement against the certificate of its pod.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify_announce(&mut self, announce: &Announce, certificate: &Certificate) -> Result<(), TrustError> {
        self.verify_certificate(certificate)?;
        require_role(certificate, &[Role::Pod], "an announcement")?;
        require_speaker(certificate, &announce.pod)?;
        self.check(certificate, "an announcement", &announce.signed_part(), &announce.signature)
    }

    /// Checks a grant: an SPA's certificate and signature, that its prefix is within the names in the certificate, and that it
    /// is not over.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify_grant(&mut self, now: Timestamp, grant: &Grant) -> Result<(), TrustError> {
        if !self.grants.contains(grant) {
            self.verify_certificate(&grant.certificate)?;
            require_role(&grant.certificate, &[Role::Spa], "a grant")?;
            self.check(&grant.certificate, "a grant", &grant.signed_part(), &grant.signature)?;
            if !grant.certificate.may_grant(&grant.prefix, grant.exact) {
                return Err(TrustError::NotAuthorised {
                    origin: grant.certificate.node.to_string(),
                    prefix: grant.prefix.to_string(),
                    why: "the name is not in the certificate of the SPA",
                });
            }
            remember(&mut self.grants, grant.clone());
        }
        let spa = &grant.certificate.node;
        self.clock.observe(now, spa, grant.issued_at);
        if self.clock.has_reached(now, spa, grant.expires_at) {
            return Err(TrustError::GrantExpired {
                spa: grant.certificate.node.to_string(),
                prefix: grant.prefix.to_string(),
                serial: grant.serial,
            });
        }
        Ok(())
    }

    /// Checks an attachment: an SCSC's certificate and signature, and that it is not over.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify_attachment(&mut self, now: Timestamp, attachment: &Attachment) -> Result<(), TrustError> {
        let certificate = &attachment.certificate;
        self.verify_certificate(certificate)?;
        require_role(certificate, &[Role::Scsc], "an attachment")?;
        self.check(certificate, "an attachment", &attachment.signed_part(), &attachment.signature)?;
        self.clock.observe(now, &certificate.node, attachment.issued_at);
        if self.clock.has_reached(now, &certificate.node, attachment.expires_at) {
            let (scsc, router) = (certificate.node.to_string(), attachment.router.to_string());
            return Err(TrustError::AttachmentExpired { scsc, router });
        }
        Ok(())
    }

    /// Checks an LSA: an SG's or SR's certificate, the origin's signature, and the proof of a prefix.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify_lsa(&mut self, now: Timestamp, lsa: Lsa) -> Result<Verified<Lsa>, TrustError> {
        self.verify_certificate(&lsa.certificate)?;
        require_role(&lsa.certificate, &[Role::Sg, Role::Sr], "an LSA")?;
        require_speaker(&lsa.certificate, &lsa.key.origin)?;
        self.check(&lsa.certificate, "an LSA", &lsa.signed_part(), &lsa.signature)?;
        if let (LsaContent::Prefix(content), LsaId::Prefix(prefix, port)) = (&lsa.content, &lsa.key.id) {
            self.verify_proof(now, &lsa.key.origin, prefix, port, content)?;
        }
        Ok(Verified(lsa))
    }

    /// Checks a routed signalling message and that its signer has one of `roles`.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn verify_routed<T: SignedBody>(
        &mut self,
        destination: &Name,
        source: &Name,
        signed: &Signed<T>,
        roles: &[Role],
    ) -> Result<(), TrustError> {
        let what = T::TYPE.label();
        self.verify_certificate(&signed.certificate)?;
        require_role(&signed.certificate, roles, what)?;
        self.check(&signed.certificate, what, &signed.signed_part(destination, source), &signed.signature)
    }

    /// Checks that `origin` may advertise `prefix` behind `port`: RPKI-like origin authorisation, at every node.
    fn verify_proof(
        &mut self,
        now: Timestamp,
        origin: &NodeId,
        prefix: &Name,
        port: &NodeId,
        content: &PrefixLsa,
    ) -> Result<(), TrustError> {
        let refuse =
            |why| Err(TrustError::NotAuthorised { origin: origin.to_string(), prefix: prefix.to_string(), why });
        match &content.proof {
            Proof::Grant(grant) => {
                self.verify_grant(now, grant)?;
                if grant.sg != *origin {
                    return refuse("the grant is for another SG");
                }
                if grant.pod != *port {
                    return refuse("the grant is for another pod");
                }
                if grant.prefix != *prefix || grant.exact != content.exact {
                    return refuse("the grant is for another prefix");
                }
                if prefix.is_reserved() {
                    return refuse("the name is reserved");
                }
                Ok(())
            }
            Proof::Attached(attachment) => {
                self.verify_attachment(now, attachment)?;
                let certificate = &attachment.certificate;
                let own = Name::of_node(certificate.domain.as_str(), &certificate.node);
                if own.as_ref() != Ok(prefix) || certificate.node != *port {
                    return refuse("the attachment is of another node");
                }
                if attachment.router != *origin {
                    return refuse("the attachment is to another router");
                }
                Ok(())
            }
        }
    }
}

impl Verifier {
    fn check(
        &self,
        certificate: &Certificate,
        what: &'static str,
        signed_part: &[u8],
        signature: &Signature,
    ) -> Result<(), TrustError> {
        if self.signed(&certificate.signing_key, signed_part, signature) {
            return Ok(());
        }
        Err(TrustError::BadSignature { node: certificate.node.to_string(), what })
    }

    fn signed(&self, key: &PublicKey, signed_part: &[u8], signature: &Signature) -> bool {
        let verify = || verify_with(key, signed_part, signature);
        match &self.memory {
            Some(memory) => memory.verify(key, signature, signed_part, verify),
            None => verify(),
        }
    }
}

fn remember<T: Eq + core::hash::Hash>(cache: &mut HashSet<T>, item: T) {
    if cache.len() >= CACHE_LIMIT {
        cache.clear();
    }
    cache.insert(item);
}

fn require_role(certificate: &Certificate, roles: &[Role], what: &'static str) -> Result<(), TrustError> {
    if roles.contains(&certificate.role) {
        return Ok(());
    }
    Err(TrustError::WrongRole { node: certificate.node.to_string(), role: certificate.role.label(), what })
}

fn require_speaker(certificate: &Certificate, claimed: &NodeId) -> Result<(), TrustError> {
    if certificate.node == *claimed {
        return Ok(());
    }
    Err(TrustError::NotTheOrigin { signer: certificate.node.to_string(), claimed: claimed.to_string() })
}

fn verify_with(key: &PublicKey, signed_part: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(signed_part, &(*signature).into()).is_ok())
}
