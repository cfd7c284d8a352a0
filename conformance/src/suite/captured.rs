//! What the key of a router signs in somebody else's hands: LSAs that nothing seems to outbid, too many of them, copies that
//! die early, links that only liars know of.

use std::time::Duration;

use damc_mgmt::view::{LsaView, LsdbView};
use damc_mgmt::words::ProtocolCounter;
use damc_testbed::WorldError;
use damc_trust::NodeKeys;
use damc_wire::frame::HOP_LOCAL_ROOM;
use damc_wire::lsa::{LinkEntry, Lsa, LsaContent, LsaId, LsaKey, MAX_LIFETIME, PrefixLsa, Proof, TopologyLsa};
use damc_wire::{DropReason, Message, Millis, Name, NodeId, Role};

use super::forged::{edge, flood, ghost, holders, sealed, updates, wait_held};
use super::grants::{clock_of, grant};
use super::hostile::Peace;
use crate::case::{Case, Findings, Impact, Stop, Suite};
use crate::oracle::{Failures, Oracle};
use crate::testbed::Testbed;
use crate::testbed::witness::parse;

const LIMIT: Duration = Duration::from_secs(60);

/// Cases of captured keys.
pub const CASES: &[Case] = &[
    case!(
        Insider,
        "insider-last-number",
        "An LSA with the last sequence number and without end removes a node for no longer than its tombstone stands",
        ["GOAL-06", "GAP-06"],
        Guest,
        last_number
    ),
    case!(
        Insider,
        "insider-short-life",
        "A router that shortens the time an LSA has left kills it nowhere: other neighbours know better",
        ["GOAL-06", "GAP-06"],
        Guest,
        short_life
    ),
    case!(
        Insider,
        "insider-fragments",
        "Of one origin 64 fragments are held, and a change of one of them costs what that one holds",
        ["GOAL-06"],
        Guest,
        fragments
    ),
    case!(
        Insider,
        "insider-collusion",
        "Two members that back each other's links attract nothing while no honest one lists them",
        ["GOAL-06", "RIB-02"],
        Guest,
        collusion
    ),
];

/// The longest lifetime that the wire format can say: 49.7 days.
const LONGEST: Millis = Millis(u32::MAX as u64);
/// How long the tombstone of the forged purge stands.
const STANDS: Millis = Millis(3000);
/// How much longer a node waits until it says again what was purged with the last number (`nodes/WIRE.md`, section 12).
const REST: Duration = Duration::from_secs(1);
/// Lifetime of an LSA of which a copy is shortened, and what that copy has left.
const WHOLE: Millis = Millis(120_000);
const SHORT: Millis = Millis(3000);
/// Fragments that are held of one origin (`nodes/WIRE.md`, section 21).
const FRAGMENTS: u16 = 64;
/// Links that a router may compare for the change of one link in one fragment; all fragments have 64.
const COMPARED: u64 = 16;

/// Puts a topology fragment of `origin` in words.
fn fragment_key(origin: &NodeId, fragment: u16) -> LsaKey {
    LsaKey { origin: origin.clone(), id: LsaId::Topology(fragment) }
}

fn topology(links: &[(&NodeId, u32)]) -> LsaContent {
    let entry = |(neighbour, cost): &(&NodeId, u32)| LinkEntry { neighbour: (*neighbour).clone(), cost: *cost };
    LsaContent::Topology(TopologyLsa { links: links.iter().map(entry).collect(), ..TopologyLsa::default() })
}

/// A purge that stands for as long as it takes to reach everybody.
fn purge(testbed: &Testbed, keys: &NodeKeys, key: LsaKey, sequence: u64) -> Lsa {
    let stands = Millis(u64::try_from(testbed.t_conv().as_millis()).unwrap_or(STANDS.0));
    keys.sign_lsa(key, sequence, stands, LsaContent::Purge)
}

fn row<'a>(lsdb: &'a LsdbView, key: &LsaKey) -> Option<&'a LsaView> {
    let LsaId::Topology(fragment) = key.id else { return None };
    let id = fragment.to_string();
    lsdb.lsas.iter().find(|l| l.port.is_none() && l.origin == key.origin.as_str() && l.id == id)
}

/// Waits until the LSA is at every SG and SR as `holds` wants it; `None` where a node has nothing of it.
async fn wait_rows(
    testbed: &Testbed,
    key: &LsaKey,
    (what, within): (&str, Duration),
    holds: impl Fn(Option<&LsaView>) -> bool,
) -> Result<(), Stop> {
    testbed
        .wait(what, within, || async {
            for node in testbed.routers() {
                let lsdb = testbed.lab.lsdb(&node).await?;
                let row = row(&lsdb, key);
                if !holds(row) {
                    let told = row.map(|l| format!("{} purged {} {} ms", l.sequence, l.purged, l.remaining_ms));
                    return Ok(Err(format!("{node} holds {told:?}")));
                }
            }
            Ok(Ok(()))
        })
        .await
}

/// Waits as long as an instance has to be old before a newer one is taken.
async fn min_arrival(testbed: &Testbed) {
    testbed.lab.sleep(2 * Duration::from_millis(testbed.timers.lsa_min_arrival_ms)).await;
}

/// Two pods of other SGs than `sg`: the first calls a service of the second whatever becomes of `sg`.
fn bystanders(testbed: &Testbed, sg: &str) -> Option<(String, String)> {
    let other = |pod: &String| testbed.sg_of(pod).is_ok_and(|of| of != sg);
    let mut pods = testbed.of_kind(&[Role::Pod]).into_iter().filter(other);
    let (caller, callee) = (pods.next()?, pods.find(|pod| testbed.service_of(pod).is_ok())?);
    Some((caller, testbed.service_of(&callee).ok()?))
}

async fn last_number(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, sr) = edge(testbed)?;
    let (id, role) = testbed.role(&sg)?;
    let keys = testbed.forge.keys(&id, role);
    // Nothing outbids a purge with the last number: its time left is all there is to wait for.
    let key = fragment_key(&id, 0);
    let last = keys.sign_lsa(key.clone(), u64::MAX, LONGEST, LsaContent::Purge);
    flood(testbed, (&sg, &sr), &Lsa { remaining: STANDS, ..last }).await?;
    let gone = format!("the forged purge of {sg} everywhere");
    wait_rows(testbed, &key, (&gone, testbed.t_conv()), |row| row.is_none_or(|l| l.purged)).await?;
    if let Some((caller, target)) = bystanders(testbed, &sg) {
        let reply = testbed.call(&caller, &target, "echo", &["meanwhile"]).await?;
        findings.check_eq(&reply.result.as_deref(), &Some("meanwhile"), format!("{caller} calls {target} meanwhile"));
    }
    let limit = STANDS.duration() + REST + 2 * testbed.t_conv();
    let back = format!("{sg} speaks for itself again, with numbers from the beginning, at every node");
    let speaks = |row: Option<&LsaView>| row.is_some_and(|l| !l.purged && l.sequence < u64::MAX);
    wait_rows(testbed, &key, (&back, limit), speaks).await?;
    findings.check(true, &back);
    testbed.settled(&Failures::default(), "FIBs of the whole graph").await?;
    capped(testbed, (&sg, &sr), findings).await?;
    // What is no purge, the node outbids by one with the same number.
    let unused = fragment_key(&id, 40 + u16::try_from(testbed.unique() % 20).unwrap_or(0));
    let forged = keys.sign_lsa(unused.clone(), u64::MAX, LONGEST, topology(&[(&ghost(testbed)?, 1)]));
    flood(testbed, (&sg, &sr), &forged).await?;
    let purged = format!("{sg} purges everywhere what it did not say, though it has the last number");
    let purged_by = |row: Option<&LsaView>| row.is_some_and(|l| l.purged && l.remaining_ms <= WHOLE.0);
    wait_rows(testbed, &unused, (&purged, testbed.t_conv()), purged_by).await?;
    findings.check(true, purged);
    before.still(testbed, findings).await
}

/// Nobody contradicts a member that is not there: what is forged in its name ends by the cap.
async fn capped(testbed: &Testbed, (sg, sr): (&str, &str), findings: &mut Findings) -> Result<(), Stop> {
    let origin = ghost(testbed)?;
    let (keys, key) = (testbed.forge.keys(&origin, Role::Sr), fragment_key(&origin, 0));
    flood(testbed, (sg, sr), &keys.sign_lsa(key.clone(), u64::MAX, LONGEST, topology(&[]))).await?;
    wait_held(testbed, &origin, true, testbed.t_conv()).await?;
    let mut longest = 0;
    for node in testbed.routers() {
        let lsdb = testbed.lab.lsdb(&node).await?;
        longest = longest.max(row(&lsdb, &key).map_or(0, |l| l.remaining_ms));
    }
    let (rule, most) = ("an LSA that gives itself 49.7 days has an hour at most, in s", MAX_LIFETIME.0);
    findings.never(longest > 0 && longest <= most, rule, longest as f64 / 1e3);
    min_arrival(testbed).await;
    flood(testbed, (sg, sr), &purge(testbed, &keys, key, u64::MAX)).await?;
    wait_held(testbed, &origin, false, testbed.t_conv()).await
}

/// An SG, an SR beside it that lies, another SR beside it, and a neighbour of that one that is neither.
fn two_ways(testbed: &Testbed) -> Result<(String, String, (String, String)), Stop> {
    for sg in testbed.of_kind(&[Role::Sg]) {
        let routers = testbed.beside(&sg, Role::Sr)?;
        let Some(liar) = routers.first() else { continue };
        for honest in routers.iter().skip(1) {
            let mut near = testbed.beside(honest, Role::Sg)?;
            near.extend(testbed.beside(honest, Role::Sr)?);
            if let Some(beyond) = near.into_iter().find(|n| *n != sg && n != liar) {
                return Ok((sg, liar.clone(), (beyond, honest.clone())));
            }
        }
    }
    Err(Stop::NotApplicable("no SG has two SRs, one of them with a third neighbour".into()))
}

async fn short_life(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, liar, (beyond, honest)) = two_ways(testbed)?;
    let origin = ghost(testbed)?;
    let (keys, key) = (testbed.forge.keys(&origin, Role::Sr), fragment_key(&origin, 0));
    let whole = keys.sign_lsa(key.clone(), 1, WHOLE, topology(&[]));
    let short = Lsa { remaining: SHORT, ..whole.clone() };
    // The liar is first: all have the short copy when the sound one comes.
    testbed.inject_as(&liar, &sg, Message::LsUpdate(vec![short.clone()])).await?;
    wait_held(testbed, &origin, true, SHORT.duration()).await?;
    flood(testbed, (&beyond, &honest), &whole).await?;
    let sound = |row: Option<&LsaView>| row.is_some_and(|l| !l.purged && l.remaining_ms > WHOLE.0 / 2);
    let what = format!("every LSDB gives the LSA the time that its origin gave it, and not the one of {liar}");
    wait_rows(testbed, &key, (&what, testbed.t_conv()), sound).await?;
    findings.check(true, what);
    // Now all have the sound one, and the liar tries again.
    let from = testbed.now_ns();
    testbed.inject_as(&liar, &sg, Message::LsUpdate(vec![short])).await?;
    let answer = format!("{sg} answers {liar} with its own copy");
    testbed.wait_frame(&answer, from, testbed.t_conv(), |s| updates(s, (&sg, &liar), &key)).await?;
    findings.check(true, answer);
    testbed.lab.sleep(SHORT.duration() + testbed.t_conv()).await;
    let holders = holders(testbed, &origin).await?;
    let all = testbed.routers();
    findings.check_saw(
        holders == all,
        "every LSDB holds it when the shortened time is over",
        format!("{} of {}", holders.len(), all.len()),
    );
    flood(testbed, (&beyond, &honest), &purge(testbed, &keys, key, 2)).await?;
    wait_held(testbed, &origin, false, testbed.t_conv()).await?;
    before.still(testbed, findings).await
}

/// Gives LSAs to both ends of a link, several in a frame.
async fn flood_all(testbed: &Testbed, (a, b): (&str, &str), lsas: &[Lsa]) -> Result<(), Stop> {
    let mut frames: Vec<Vec<Lsa>> = Vec::new();
    let mut room = 0;
    for lsa in lsas {
        let length = lsa.encoded_len();
        if length > room {
            frames.push(Vec::new());
            room = HOP_LOCAL_ROOM;
        }
        room -= length.min(room);
        frames.last_mut().into_iter().for_each(|frame| frame.push(lsa.clone()));
    }
    for (from, to) in [(a, b), (b, a)] {
        let mut pdus = Vec::new();
        for frame in &frames {
            pdus.push(sealed(testbed, from, to, Message::LsUpdate(frame.clone())).await?);
        }
        testbed.inject_all(from, to, &pdus).await?;
    }
    Ok(())
}

/// Waits until every SG and SR holds so many fragments of `origin` in force.
async fn wait_fragments(testbed: &Testbed, origin: &NodeId, count: usize) -> Result<(), Stop> {
    testbed
        .wait(&format!("{count} fragments of {origin} in every LSDB"), testbed.t_conv() * 4, || async {
            for node in testbed.routers() {
                let lsdb = testbed.lab.lsdb(&node).await?;
                let held = lsdb.lsas.iter().filter(|l| l.origin == origin.as_str() && !l.purged).count();
                if held != count {
                    return Ok(Err(format!("{node} holds {held}")));
                }
            }
            Ok(Ok(()))
        })
        .await
}

async fn compared(testbed: &Testbed) -> Result<Vec<u64>, WorldError> {
    let mut counts = Vec::new();
    for node in testbed.routers() {
        counts.push(testbed.protocol(&node, ProtocolCounter::LinksCompared).await?);
    }
    Ok(counts)
}

async fn fragments(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, sr) = edge(testbed)?;
    let (origin, far) = (ghost(testbed)?, ghost(testbed)?);
    let keys = testbed.forge.keys(&origin, Role::Sg);
    let says = |fragment: u16, sequence, cost| {
        keys.sign_lsa(fragment_key(&origin, fragment), sequence, WHOLE, topology(&[(&far, cost)]))
    };
    let all: Vec<Lsa> = (0..FRAGMENTS).map(|fragment| says(fragment, 1, 10 + u32::from(fragment))).collect();
    flood_all(testbed, (&sg, &sr), &all).await?;
    wait_fragments(testbed, &origin, usize::from(FRAGMENTS)).await?;
    findings.check(true, format!("every LSDB holds {FRAGMENTS} fragments of {origin}"));
    min_arrival(testbed).await;
    let known = compared(testbed).await?;
    flood(testbed, (&sg, &sr), &says(5, 2, 5)).await?;
    let (key, changed) = (fragment_key(&origin, 5), format!("the change of fragment 5 of {origin} everywhere"));
    let second = |row: Option<&LsaView>| row.is_some_and(|l| l.sequence == 2);
    wait_rows(testbed, &key, (&changed, testbed.t_conv()), second).await?;
    let work = compared(testbed).await?.into_iter().zip(known).map(|(now, then)| now - then);
    let most = work.max().unwrap_or(0);
    findings.figure("links compared by one router for one changed link", most as f64, "links");
    findings.check_saw(
        most > 0 && most <= COMPARED,
        "a change of one fragment of 64 costs what that one holds",
        format!("{most} links compared"),
    );
    let dropped = testbed.dropped(&sr, DropReason::ResourceLimit).await?;
    testbed.inject_as(&sg, &sr, Message::LsUpdate(vec![says(FRAGMENTS, 1, 1)])).await?;
    testbed.wait_dropped(&sr, DropReason::ResourceLimit, dropped, 1).await?;
    findings.check(true, format!("{sr} refuses fragment {FRAGMENTS} of {origin}"));
    min_arrival(testbed).await;
    let gone: Vec<Lsa> =
        (0..FRAGMENTS).map(|fragment| purge(testbed, &keys, fragment_key(&origin, fragment), 3)).collect();
    flood_all(testbed, (&sg, &sr), &gone).await?;
    wait_fragments(testbed, &origin, 0).await?;
    before.still(testbed, findings).await
}

/// An SG and an SR that are nowhere attached. Each lists the other and honest nodes; the SG advertises a name under a grant
/// that an SPA has signed for it.
async fn collusion(testbed: &Testbed, findings: &mut Findings) -> Result<(), Stop> {
    let before = Peace::reached(testbed).await?;
    let (sg, sr) = edge(testbed)?;
    let (first, second, pod) = (ghost(testbed)?, ghost(testbed)?, ghost(testbed)?);
    let (honest_sg, honest_sr) = (testbed.role(&sg)?.0, testbed.role(&sr)?.0);
    let spa = testbed.spa_of(&sg)?;
    let name = testbed.fresh_name(pod.as_str());
    let proof = grant(testbed, (&spa, &first, &pod), parse(&name)?, (clock_of(testbed, &spa).await?, WHOLE))?;
    let body = PrefixLsa { metric: 0, weight: 1, exact: false, instance: None, proof: Proof::Grant(proof) };
    let keys = [testbed.forge.keys(&first, Role::Sg), testbed.forge.keys(&second, Role::Sr)];
    let named = LsaKey { origin: first.clone(), id: LsaId::Prefix(parse(&name)?, pod.clone()) };
    let links = [topology(&[(&second, 1), (&honest_sr, 1)]), topology(&[(&first, 1), (&honest_sg, 1)])];
    let [of_first, of_second] = links;
    for lsa in [
        keys[0].sign_lsa(fragment_key(&first, 0), 1, WHOLE, of_first),
        keys[1].sign_lsa(fragment_key(&second, 0), 1, WHOLE, of_second),
        keys[0].sign_lsa(named.clone(), 1, WHOLE, LsaContent::Prefix(body)),
    ] {
        flood(testbed, (&sg, &sr), &lsa).await?;
    }
    wait_held(testbed, &first, true, testbed.t_conv()).await?;
    wait_held(testbed, &second, true, testbed.t_conv()).await?;
    wait_fragments(testbed, &first, 2).await?;
    findings.check(true, format!("every LSDB holds the links of {first} and {second}, and {name}"));
    // Tables follow databases within the pacing of SPF.
    testbed.lab.sleep(testbed.t_conv()).await;
    let fibs = testbed.fibs().await?;
    let domain = testbed.topology.domain();
    let of_node = |node| Name::of_node(domain.as_str(), node).map(|name| name.to_string()).unwrap_or_default();
    let lies = [name.clone(), of_node(&first), of_node(&second)];
    let routed = fibs.iter().filter(|(_, fib)| fib.entries.iter().any(|e| lies.contains(&e.prefix)));
    let routed: Vec<&String> = routed.map(|(node, _)| node).collect();
    findings.none(&routed, format!("no node has a route to {name}, {first} or {second}"));
    let difference = Oracle::new(&testbed.topology, &Failures::default()).first_difference(&fibs);
    findings.check_eq(&difference, &None, "every other route is that of the honest graph");
    for lsa in [
        purge(testbed, &keys[0], named, 2),
        purge(testbed, &keys[0], fragment_key(&first, 0), 2),
        purge(testbed, &keys[1], fragment_key(&second, 0), 2),
    ] {
        flood(testbed, (&sg, &sr), &lsa).await?;
    }
    wait_held(testbed, &first, false, testbed.t_conv()).await?;
    wait_held(testbed, &second, false, testbed.t_conv()).await?;
    before.still(testbed, findings).await
}
