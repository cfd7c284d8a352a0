//! What several cases forge: members that no link joins, messages under the MAC of an adjacency, LSAs for everybody.

use std::time::Duration;

use damc_testbed::WorldError;
use damc_wire::lsa::{Lsa, LsaId, LsaKey};
use damc_wire::message::{Policy, PolicyAction, Signed, SignedBody};
use damc_wire::{Frame, Message, MessageType, Millis, Name, NodeId, Role};

use crate::case::Stop;
use crate::testbed::Testbed;
use crate::testbed::witness::{lsas_in, parse};
use crate::trace::Seen;

/// An SG with a pod, and an SR beside it.
pub(super) fn edge(testbed: &Testbed) -> Result<(String, String), Stop> {
    let (sg, _) = testbed.sg_with_pod()?;
    let sr = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    Ok((sg, sr))
}

/// A member of the domain with valid keys and without a link. Nobody contradicts what is said in its name.
pub(super) fn ghost(testbed: &Testbed) -> Result<NodeId, Stop> {
    NodeId::new(&format!("ghost-{}", testbed.unique())).map_err(|e| Stop::Inconclusive(e.to_string()))
}

/// A hop-local message from `from` to `to` under the MAC of their present adjacency, ready to inject.
pub(super) async fn sealed(testbed: &Testbed, from: &str, to: &str, message: Message) -> Result<Vec<u8>, Stop> {
    let pdu = Frame::hop_local(message).encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let (near, far) = (testbed.role(from)?, testbed.role(to)?);
    // Every hello names the sessions: twice the dead interval has some of both ends.
    let since = testbed.now_ns().saturating_sub(2_000_000 * testbed.timers.dead_interval_ms);
    let mut frames = testbed.all_sent(since, from, to).await?;
    frames.extend(testbed.all_sent(since, to, from).await?);
    let sealed = testbed.forge.sealed(&frames, (&near.0, near.1), (&far.0, far.1), pdu);
    sealed.ok_or_else(|| Stop::Inconclusive(format!("no adjacency of {from} and {to} was recorded")))
}

/// Gives an LSA to both ends of a link. One of them would not tell the other, from which it seems to have it.
pub(super) async fn flood(testbed: &Testbed, (a, b): (&str, &str), lsa: &Lsa) -> Result<(), Stop> {
    testbed.inject_as(a, b, Message::LsUpdate(vec![lsa.clone()])).await?;
    testbed.inject_as(b, a, Message::LsUpdate(vec![lsa.clone()])).await
}

/// SGs and SRs whose LSDB holds an LSA of `origin` that is no purge.
pub(super) async fn holders(testbed: &Testbed, origin: &NodeId) -> Result<Vec<String>, WorldError> {
    let mut holders = Vec::new();
    for node in testbed.routers() {
        let lsdb = testbed.lab.lsdb(&node).await?;
        if lsdb.lsas.iter().any(|l| l.origin == origin.as_str() && !l.purged) {
            holders.push(node);
        }
    }
    Ok(holders)
}

/// Waits until every SG and SR holds an LSA of `origin`, or none does.
pub(super) async fn wait_held(testbed: &Testbed, origin: &NodeId, held: bool, within: Duration) -> Result<(), Stop> {
    let all = testbed.routers().len();
    let wanted = if held { all } else { 0 };
    let what = format!("{wanted} of {all} LSDBs with an LSA of {origin}");
    testbed
        .wait(&what, within, || async {
            let holders = holders(testbed, origin).await?;
            Ok(if holders.len() == wanted { Ok(()) } else { Err(format!("{} with one: {holders:?}", holders.len())) })
        })
        .await
}

/// The first topology fragment of a node as it sent it last. What others said in its name does not count.
pub(super) async fn newest_topology(testbed: &Testbed, node: &str) -> Result<Lsa, Stop> {
    let (origin, _) = testbed.role(node)?;
    let key = LsaKey { origin, id: LsaId::Topology(0) };
    let frames = testbed.history(|t| t == MessageType::LsUpdate).await?;
    let own = frames.iter().filter(|s| s.sent && s.node == node);
    let last = own.flat_map(lsas_in).rfind(|l| l.key == key).cloned();
    last.ok_or_else(|| Stop::Inconclusive(format!("no topology LSA of {node} was recorded")))
}

/// Whether a frame is an update from `sender` to `receiver` with an instance of this LSA.
pub(super) fn updates(frame: &Seen, (sender, receiver): (&str, &str), key: &LsaKey) -> bool {
    frame.is_sent_by(sender, receiver) && lsas_in(frame).iter().any(|l| l.key == *key)
}

/// A policy that lets an SG send its traffic to a name over a neighbour, as the SCSC would sign it.
pub(super) struct Steer<'a> {
    pub sg: &'a str,
    pub next_hop: &'a str,
    pub target: &'a str,
    pub label: u32,
    pub version: u64,
    pub expires_in: Duration,
}

impl Steer<'_> {
    /// Destination, source and signed body.
    pub(super) fn signed(&self, testbed: &Testbed) -> Result<(Name, Name, Signed<Policy>), Stop> {
        let (scsc, role) = testbed.role(&testbed.scsc()?)?;
        let (recipient, next_hop) = (testbed.role(self.sg)?.0, testbed.role(self.next_hop)?.0);
        let (to, by) = (name_of(testbed, &recipient)?, name_of(testbed, &scsc)?);
        let body = Policy {
            label: self.label,
            version: self.version,
            source: recipient.clone(),
            recipient,
            prefix: parse(self.target)?,
            action: PolicyAction::Ingress { next_hop },
            expires_in: Millis(u64::try_from(self.expires_in.as_millis()).unwrap_or(u64::MAX)),
        };
        let signed = testbed.forge.keys(&scsc, role).sign_routed(&to, &by, body);
        Ok((to, by, signed))
    }
}

/// The bytes of a signed policy.
pub(super) fn encoded((to, by, signed): (Name, Name, Signed<Policy>)) -> Result<Vec<u8>, Stop> {
    Frame::plain(to, by, 1, Message::Policy(signed)).encode().map_err(|e| Stop::Inconclusive(e.to_string()))
}

/// The bytes of a signalling message that `signer` sends to `to` by name.
pub(super) fn routed<T: SignedBody>(
    testbed: &Testbed,
    (signer, to): (&str, &str),
    body: T,
    wrap: impl FnOnce(Signed<T>) -> Message,
) -> Result<Vec<u8>, Stop> {
    let (id, role) = testbed.role(signer)?;
    let (to, by) = (name_of(testbed, &testbed.role(to)?.0)?, name_of(testbed, &id)?);
    let signed = testbed.forge.keys(&id, role).sign_routed(&to, &by, body);
    Frame::plain(to, by, 1, wrap(signed)).encode().map_err(|e| Stop::Inconclusive(e.to_string()))
}

fn name_of(testbed: &Testbed, node: &NodeId) -> Result<Name, Stop> {
    Name::of_node(testbed.topology.domain().as_str(), node).map_err(|e| Stop::Inconclusive(e.to_string()))
}
