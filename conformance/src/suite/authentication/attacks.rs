//! Announcements and grants in the hands of those whom they do not belong to.

use damc_wire::lsa::{LsaContent, LsaId, LsaKey, PrefixLsa, Proof};
use damc_wire::message::AuthResult;
use damc_wire::security::Grant;
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, Name, RefusalReason, Role};

use super::{has, wait_told};
use crate::case::{Findings, Stop};
use crate::testbed::Testbed;
use crate::testbed::witness::{advertises, lsas_in, parse};
use crate::trace::Seen;

pub(super) async fn stolen_announcement(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let thief = testbed.of_kind(&[Role::Pod]).into_iter().find(|p| testbed.sg_of(p).is_ok_and(|other| other != sg));
    let thief = thief.ok_or_else(|| Stop::NotApplicable("no pod on another SG".into()))?;
    let other = testbed.sg_of(&thief)?;
    let name = testbed.fresh_name(&pod);
    let wanted = parse(&name)?;
    let from = testbed.now_ns();
    testbed.register(&pod, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let own_words =
        |s: &Seen| s.is_sent_by(&pod, &sg) && matches!(s.message(), Message::Announce(a) if has(&a.add, &wanted));
    let recorded = testbed.wait_frame("the announcement", from, testbed.t_conv(), own_words).await?;

    let before = testbed.dropped(&other, DropReason::BadMac).await?;
    testbed.inject(&thief, &other, &recorded.pdu).await?;
    testbed.wait_dropped(&other, DropReason::BadMac, before, 1).await?;
    findings.check(true, format!("{thief} replays {pod}'s frame byte for byte: {other} drops it for its MAC"));

    let before = testbed.dropped(&other, DropReason::NotAuthorised).await?;
    testbed.inject_as(&thief, &other, recorded.message().clone()).await?;
    testbed.wait_dropped(&other, DropReason::NotAuthorised, before, 1).await?;
    let told = wait_told(testbed, &other, &thief, &name, from).await?;
    findings.check_eq(
        &told,
        &Some(RefusalReason::BadIdentity),
        format!("{other} refuses the announcement under {thief}'s own MAC"),
    );

    let before = testbed.dropped(&sg, DropReason::Replayed).await?;
    testbed.inject(&pod, &sg, &recorded.pdu).await?;
    testbed.wait_dropped(&sg, DropReason::Replayed, before, 1).await?;
    findings.check(true, format!("replayed on {pod}'s own link: {sg} drops it as already seen"));

    let (other_id, _) = testbed.role(&other)?;
    let frames = testbed.frames(from).await?;
    let stolen = frames.iter().flat_map(lsas_in).filter(|l| l.key.origin == other_id && advertises(l, &wanted)).count();
    findings.none(&stolen, format!("{other} never advertises {name}"));
    testbed.unregister(&[name]).await
}

pub(super) async fn false_answers(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let spa = testbed.spa_of(&sg)?;
    let name = testbed.fresh_name(&pod);
    let wanted = parse(&name)?;
    let begin = testbed.now_ns();
    testbed.register(&pod, &name).await?;
    testbed.wait_everywhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    let granted = |s: &Seen| {
        let fits = |r: &AuthResult| matches!(r, AuthResult::Granted(g) if g.prefix == wanted);
        s.is_sent_by(&spa, &sg) && matches!(s.message(), Message::AuthReply(r) if fits(&r.result))
    };
    let answer = testbed.wait_frame("the positive answer", begin, testbed.t_conv(), granted).await?;
    testbed.revoke_licence(&pod, &name).await?;
    testbed.wait_nowhere(std::slice::from_ref(&name), testbed.t_conv()).await?;
    findings.check(true, format!("the licence is revoked: {name} leaves every FIB"));
    let from = testbed.now_ns();
    let mut flipped = answer.pdu.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let unsigned =
        Frame::hop_local(answer.message().clone()).encode().map_err(|e| Stop::Inconclusive(e.to_string()))?;
    let stranger = damc_wire::frame::seal(unsigned.clone(), u64::MAX / 2, |_| [0x5a; 16]);
    let throws: [(&str, Vec<u8>, &[DropReason]); 4] = [
        ("the old answer, byte for byte", answer.pdu.clone(), &[DropReason::Replayed]),
        // A flipped bit may damage a length or a name, which is found before the MAC is checked.
        ("with one bit flipped", flipped, &[DropReason::BadMac, DropReason::Malformed, DropReason::BadName]),
        ("without a MAC", unsigned, &[DropReason::MissingMac]),
        ("under a stranger's MAC", stranger, &[DropReason::BadMac]),
    ];
    for (what, pdu, reasons) in throws {
        let before = sum(testbed, &sg, reasons).await?;
        testbed.inject(&spa, &sg, &pdu).await?;
        let reasons_text = reasons.iter().map(|r| r.label()).collect::<Vec<_>>().join(" or ");
        testbed
            .wait(&format!("{sg} drops {what}"), testbed.t_conv(), || async {
                let now = sum(testbed, &sg, reasons).await?;
                Ok(if now > before { Ok(()) } else { Err(format!("not counted as {reasons_text}")) })
            })
            .await?;
        findings.check(true, format!("{what}: dropped as {reasons_text}"));
    }
    let before = testbed.dropped(&sg, DropReason::Unsolicited).await?;
    testbed.inject_as(&spa, &sg, answer.message().clone()).await?;
    testbed.wait_dropped(&sg, DropReason::Unsolicited, before, 1).await?;
    findings.check(true, "an answer in the SPA's own name, long after the request, is dropped as unsolicited");
    findings.none(&testbed.advertised(&name, from).await?, format!("no LSA advertises {name} again"));
    findings.none(&testbed.known_at(&name).await?, format!("no SG or SR knows {name}"));
    testbed.stop_service(&pod, &name).await
}

pub(super) async fn sum(
    testbed: &Testbed,
    node: &str,
    reasons: &[DropReason],
) -> Result<u64, damc_testbed::WorldError> {
    let counters = testbed.lab.counters(node).await?;
    Ok(reasons.iter().map(|r| counters.dropped.get(*r)).sum())
}

pub(super) async fn rogue_gateway(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let (sg, pod) = testbed.sg_with_pod()?;
    let ((sg_id, _), (pod_id, _)) = (testbed.role(&sg)?, testbed.role(&pod)?);
    let sr = testbed.beside(&sg, Role::Sr)?.into_iter().next();
    let sr = sr.ok_or_else(|| Stop::NotApplicable(format!("{sg} has no SR")))?;
    let honest = testbed.service_of(&pod)?;
    let grants = grants_of(testbed, &honest).await?;
    let own = grants.iter().find(|g| g.sg == sg_id).cloned();
    let own = own.ok_or_else(|| Stop::Inconclusive(format!("no grant for {honest} was recorded")))?;
    let foreign = foreign_grant(testbed, &sg_id).await?;
    let name = parse(&testbed.fresh_name(&pod))?;
    let keys = testbed.forge.keys(&sg_id, Role::Sg);
    let forged = Grant { prefix: name.clone(), ..own.clone() };
    let mut tries: Vec<(&str, Name, Grant, DropReason)> = vec![
        ("the grant of another prefix", name.clone(), own, DropReason::NotAuthorised),
        ("a grant altered to its prefix", name.clone(), forged.clone(), DropReason::BadSignature),
        ("a grant it signed itself", name.clone(), keys.sign_grant(forged), DropReason::WrongRole),
    ];
    if let Some(foreign) = foreign {
        tries.push(("a genuine grant of another SG", foreign.prefix.clone(), foreign, DropReason::NotAuthorised));
    }
    let from = testbed.now_ns();
    for (what, prefix, grant, reason) in &tries {
        let key = LsaKey { origin: sg_id.clone(), id: LsaId::Prefix(prefix.clone(), pod_id.clone()) };
        let content =
            PrefixLsa { metric: 0, weight: 1, exact: grant.exact, instance: None, proof: Proof::Grant(grant.clone()) };
        let lsa = keys.sign_lsa(key, 1 << 32, Millis(60_000), LsaContent::Prefix(content));
        let before = testbed.dropped(&sr, *reason).await?;
        testbed.inject_as(&sg, &sr, Message::LsUpdate(vec![lsa.clone()])).await?;
        testbed.wait_dropped(&sr, *reason, before, 1).await?;
        findings.check(true, format!("{sr} refuses {sg}'s LSA of {prefix} with {what}: {reason}"));
        let spread = testbed.frames(from).await?;
        let spread = spread.iter().filter(|s| s.sent && s.node != sg && lsas_in(s).iter().any(|l| l == &lsa)).count();
        findings.none(&spread, format!("no node but {sg} spreads it"));
        for node in testbed.routers() {
            let lsdb = testbed.lab.lsdb(&node).await?;
            let held = lsdb.lsas.iter().any(|l| l.origin == sg && l.id == prefix.to_string() && !l.purged);
            if held {
                findings.check_saw(
                    false,
                    format!("no node installs {sg}'s LSA of {prefix}"),
                    format!("{node} holds it"),
                );
            }
        }
    }
    let fibs = testbed.fibs().await?;
    let kept = fibs.values().filter(|fib| fib.entries.iter().any(|e| e.prefix == honest)).count();
    findings.check_eq(&kept, &fibs.len(), format!("{sg}'s honest prefix {honest} stays at every node"));
    Ok(())
}

/// The grants for a name in recorded LSAs.
pub(super) async fn grants_of(testbed: &Testbed, name: &str) -> Result<Vec<Grant>, Stop> {
    let name = parse(name)?;
    let frames = testbed.history(|t| t == MessageType::LsUpdate).await?;
    let lsas = frames.iter().flat_map(lsas_in).filter(|l| advertises(l, &name));
    Ok(lsas.filter_map(grant_in).collect())
}

pub(super) fn grant_in(lsa: &damc_wire::lsa::Lsa) -> Option<Grant> {
    match &lsa.content {
        LsaContent::Prefix(PrefixLsa { proof: Proof::Grant(grant), .. }) => Some(grant.clone()),
        _ => None,
    }
}

/// A grant for another SG than this one, from a recorded LSA.
pub(super) async fn foreign_grant(testbed: &Testbed, not: &damc_wire::NodeId) -> Result<Option<Grant>, Stop> {
    let frames = testbed.history(|t| t == MessageType::LsUpdate).await?;
    Ok(frames.iter().flat_map(lsas_in).filter_map(grant_in).find(|g| g.sg != *not && !g.exact))
}
