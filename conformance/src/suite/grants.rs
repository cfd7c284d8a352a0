//! Grants that do not fit the LSA that carries them, each wrong in one respect only.

use std::time::Duration;

use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey, PrefixLsa, Proof, TopologyLsa};
use damc_wire::message::AuthResult;
use damc_wire::security::Grant;
use damc_wire::{Message, MessageType, Millis, Name, NodeId, Role};

use super::forged::{edge, flood, ghost, holders, wait_held};
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;

const LIMIT: Duration = Duration::from_secs(30);

/// Cases of grants.
pub const CASES: &[Case] = &[case!(
    "aut-09-grants",
    "A grant for another SG, pod or prefix, or beyond the certificate of its SPA, carries no LSA",
    ["AUT-09", "GAP-08"],
    Guest,
    unfitting
)];

/// In what respect a grant does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Sg,
    Pod,
    Prefix,
    Certificate,
}

impl Wrong {
    const EACH: [Self; 4] = [Self::Sg, Self::Pod, Self::Prefix, Self::Certificate];

    /// What such a grant is for.
    const fn label(self) -> &'static str {
        match self {
            Self::Sg => "another SG",
            Self::Pod => "another pod",
            Self::Prefix => "another prefix",
            Self::Certificate => "a name beyond the certificate of its SPA",
        }
    }

    /// An LSA under such a grant, with its origin.
    fn lsa(self, testbed: &Testbed, spa: &str, term: (Millis, Millis)) -> Result<(NodeId, Lsa), Stop> {
        let (origin, pod, other) = (ghost(testbed)?, ghost(testbed)?, ghost(testbed)?);
        let fresh = testbed.fresh_name(pod.as_str());
        // No certificate has a name that begins so.
        let advertised = if self == Self::Certificate { format!("/beyond{fresh}") } else { fresh };
        let granted = if self == Self::Prefix { format!("{advertised}-not") } else { advertised.clone() };
        let to_sg = if self == Self::Sg { &other } else { &origin };
        let to_pod = if self == Self::Pod { &other } else { &pod };
        let proof = Proof::Grant(grant(testbed, (spa, to_sg, to_pod), parse(&granted)?, term)?);
        let body = PrefixLsa { metric: 1, weight: 1, exact: false, instance: None, proof };
        let key = LsaKey { origin: origin.clone(), id: LsaId::Prefix(parse(&advertised)?, pod) };
        let keys = testbed.forge.keys(&origin, Role::Sg);
        Ok((origin, keys.sign_lsa(key, 1, term.1, LsaContent::Prefix(body))))
    }
}

async fn unfitting(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, sr) = edge(testbed)?;
    let spa = testbed.spa_of(&sg)?;
    let lifetime = Millis(u64::try_from(testbed.t_conv().as_millis()).unwrap_or(60_000));
    let term = (clock_of(testbed, &spa).await?, lifetime);
    let mut origins = Vec::new();
    for wrong in Wrong::EACH {
        let (origin, lsa) = wrong.lsa(testbed, &spa, term)?;
        flood(testbed, (&sg, &sr), &lsa).await?;
        origins.push((wrong, origin));
    }
    // An LSA behind them shows that they were read.
    let witness = ghost(testbed)?;
    let key = LsaKey { origin: witness.clone(), id: LsaId::Topology(0) };
    let content = LsaContent::Topology(TopologyLsa::default());
    flood(testbed, (&sg, &sr), &testbed.forge.keys(&witness, Role::Sr).sign_lsa(key, 1, lifetime, content)).await?;
    wait_held(testbed, &witness, true, lifetime.duration()).await?;
    for (wrong, origin) in &origins {
        let holders = holders(testbed, origin).await?;
        findings.none(&holders, format!("no node holds an LSA under a grant for {}", wrong.label()));
    }
    wait_held(testbed, &witness, false, lifetime.duration() + testbed.t_conv()).await
}

/// A lower bound of the clock of an SPA: when it issued its newest recorded grant, and the time since.
pub(super) async fn clock_of(testbed: &Testbed, spa: &str) -> Result<Millis, Stop> {
    let replies = testbed.history(|t| t == MessageType::AuthReply).await?;
    let newest = replies.iter().filter(|s| s.sent && s.node == spa).filter_map(|s| match s.message() {
        Message::AuthReply(reply) => match &reply.result {
            AuthResult::Granted(grant) => Some((grant.issued_at.0, s.at_ns)),
            AuthResult::Refused(_) => None,
        },
        _ => None,
    });
    let (issued, at) = newest.max().ok_or_else(|| Stop::Inconclusive(format!("no grant of {spa} was recorded")))?;
    Ok(Millis(issued + testbed.now_ns().saturating_sub(at) / 1_000_000))
}

/// A grant of an SPA to a pod at an SG, by the clock of the SPA.
pub(super) fn grant(
    testbed: &Testbed,
    (spa, sg, pod): (&str, &NodeId, &NodeId),
    prefix: Name,
    (issued_at, lifetime): (Millis, Millis),
) -> Result<Grant, Stop> {
    let (spa, role) = testbed.role(spa)?;
    let keys = testbed.forge.keys(&spa, role);
    Ok(keys.sign_grant(Grant {
        prefix,
        exact: false,
        depth: 255,
        pod: pod.clone(),
        pod_key: testbed.forge.keys(pod, Role::Pod).certificate().signing_key,
        sg: sg.clone(),
        issued_at,
        expires_at: Millis(issued_at.0 + lifetime.0),
        serial: u64::MAX - testbed.unique(),
        certificate: keys.certificate().clone(),
        signature: [0; 64],
    }))
}
