//! Attacks with valid keys: a captured node, a router that changes what no signature covers.

use core::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::view::LsdbView;
use damc_mgmt::words::ProtocolCounter;
use damc_proto::lsdb::{Limits, Lsdb};
use damc_sim::{Network, Sim};
use damc_trust::{RootKey, Verifier};
use damc_wire::lsa::{
    LinkEntry, Lsa, LsaContent, LsaHeader, LsaId, LsaKey, MAX_LIFETIME, PrefixLsa, Proof, TopologyLsa,
};
use damc_wire::message::AttachAck;
use damc_wire::security::Attachment;
use damc_wire::{DropReason, Message, Millis, Role, Timestamp};

use crate::belief::{grant, prefix_lsa};
use crate::puppet::{SEED, Stage, id, keys, root_key, topology_of};

const LONGEST: Millis = Millis(u32::MAX as u64);

/// What a captured key of `node` can sign: the last number there is, and the longest life.
fn last_word(node: &str, content: LsaContent) -> Lsa {
    let key = LsaKey { origin: id(node), id: LsaId::Topology(0) };
    keys(node, Role::Sr, SEED).sign_lsa(key, u64::MAX, LONGEST, content)
}

fn remaining(stage: &Stage, origin: &str, id: &str) -> Option<u64> {
    let view: LsdbView = stage.show();
    view.lsas.iter().find(|l| l.origin == origin && l.id == id).map(|l| l.remaining_ms)
}

fn left(lsa: &Lsa, ms: u64) -> Lsa {
    Lsa { remaining: Millis(ms), ..lsa.clone() }
}

// ===== the last sequence number =====

#[test]
fn nothing_lives_longer_than_the_cap_whatever_it_says_of_itself() {
    let mut stage = Stage::sr(2);
    let key = LsaKey { origin: id("p9"), id: LsaId::Topology(0) };
    let lsa = keys("p9", Role::Sr, SEED).sign_lsa(key, 1, LONGEST, LsaContent::Topology(TopologyLsa::default()));
    stage.flood(0, &lsa);
    assert_eq!(remaining(&stage, "p9", "0"), Some(MAX_LIFETIME.0));
    let copies = stage.puppets[1].updates();
    assert_eq!((copies.len(), copies[0].lifetime), (1, LONGEST), "it is signed");
    assert!(copies[0].remaining < MAX_LIFETIME);
}

#[test]
fn a_last_number_under_our_name_is_purged_and_we_start_again() {
    // The first bytes of the signature decide between two LSAs of one number: many instances, so that both cases occur.
    for links in 0..8 {
        let mut stage = Stage::sr(2);
        let link = |n| LinkEntry { neighbour: id("nobody"), cost: n };
        let links = (1..=links).map(link).collect();
        let forged = last_word("sr", LsaContent::Topology(TopologyLsa { links, ..TopologyLsa::default() }));
        stage.flood(0, &forged);
        for puppet in &stage.puppets {
            let said = puppet.updates();
            assert_eq!((said.len(), said[0].sequence, said[0].is_purge()), (1, u64::MAX, true));
            assert!(said[0].header().version() > forged.header().version(), "the purge wins everywhere");
        }
        stage.advance(60_900);
        assert_eq!(stage.puppets[0].updates().iter().filter(|l| l.key.origin == id("sr")).count(), 1, "it rests");
        stage.advance(200);
        let said = stage.puppets[0].updates();
        let again = said.iter().rfind(|l| l.key.origin == id("sr")).unwrap();
        let LsaContent::Topology(t) = &again.content else { panic!("{again:?}") };
        assert_eq!((again.sequence, t.links.len()), (1, 2), "what is true now, from the beginning");
    }
}

#[test]
fn a_last_purge_under_our_name_is_waited_for_and_no_longer() {
    let mut stage = Stage::sr(2);
    stage.flood(0, &left(&last_word("sr", LsaContent::Purge), 3000));
    assert_eq!(stage.puppets[1].updates().len(), 1, "nothing outbids it: it is passed on");
    stage.clear();
    // Meanwhile there is news, and a refresh would be due at some time: nothing is said under lower numbers.
    stage.input(damc_proto::io::Input::Command { handle: 0, command: &Command::Overload { on: true } });
    stage.advance(3900);
    assert_eq!(stage.puppets[0].updates(), []);
    stage.advance(200);
    let said = stage.puppets[0].updates();
    let LsaContent::Topology(t) = &said[0].content else { panic!("{said:?}") };
    assert_eq!((said[0].sequence, t.overload, t.links.len()), (1, true, 2));
}

// ===== grants at a router that has just started =====

#[test]
fn an_old_grant_is_judged_again_when_its_spa_is_heard() {
    let mut stage = Stage::sr(2);
    let granted = |prefix: &str, valid| prefix_lsa("p0", prefix, grant(("spa", Role::Spa), prefix, "p0", valid), 1);
    let (over, ending) = (granted("/old/1", (0, 600_000)), granted("/old/2", (1000, 905_000)));
    // A router that knows nothing of the SPA's time takes what a neighbour kept.
    stage.flood(1, &over);
    stage.flood(1, &ending);
    assert_eq!((stage.sequence("p0", "/old/1"), stage.sequence("p0", "/old/2")), (Some(1), Some(1)));
    stage.flood(0, &granted("/new/1", (900_000, 1_500_000)));
    assert_eq!(stage.sequence("p0", "/old/1"), None, "over for five minutes, as its SPA says");
    stage.advance(4990);
    assert_eq!(stage.sequence("p0", "/old/2"), Some(1));
    stage.advance(20);
    assert_eq!(stage.sequence("p0", "/old/2"), None, "at its end");
    assert_eq!(stage.sequence("p0", "/new/1"), Some(1));
    stage.clear();
    stage.flood(1, &over);
    assert_eq!(stage.dropped, [DropReason::GrantExpired], "nor does it come back");
}

// ===== the name of the SCSC =====

const SCSC: &str = "/damc/example/scsc";

/// An LSA by which `router` advertises the SCSC, standing on this attachment.
fn attached_lsa(router: &str, attachment: Attachment, sequence: u64) -> Lsa {
    let key = LsaKey { origin: id(router), id: LsaId::Prefix(SCSC.parse().unwrap(), id("scsc")) };
    let content = PrefixLsa { metric: 1, weight: 1, exact: false, instance: None, proof: Proof::Attached(attachment) };
    keys(router, Role::Sr, SEED).sign_lsa(key, sequence, MAX_LIFETIME, LsaContent::Prefix(content))
}

fn attachment(router: &str, from: u64, to: u64) -> Attachment {
    keys("scsc", Role::Scsc, SEED).sign_attachment(id(router), Millis(from), Millis(to))
}

#[test]
fn a_router_without_an_attachment_cannot_advertise_the_scsc() {
    let mut stage = Stage::sr(2);
    stage.flood(0, &attached_lsa("p0", attachment("p0", 10_000, 20_000), 1));
    assert_eq!(stage.sequence("p0", SCSC), Some(1));
    stage.clear();
    // Everybody has the attachment to p0: it is in an LSA.
    stage.flood(1, &attached_lsa("p1", attachment("p0", 10_000, 20_000), 1));
    assert_eq!(stage.dropped, [DropReason::NotAuthorised]);
    assert_eq!((stage.sequence("p1", SCSC), stage.puppets[0].updates()), (None, vec![]));
    stage.clear();
    // It was attached to p1, but that was long ago.
    stage.flood(1, &attached_lsa("p1", attachment("p1", 0, 9000), 1));
    assert_eq!((stage.dropped.as_slice(), stage.sequence("p1", SCSC)), (&[DropReason::GrantExpired][..], None));
    stage.advance(9_900);
    assert_eq!(stage.sequence("p0", SCSC), Some(1));
    stage.advance(200);
    assert_eq!(stage.sequence("p0", SCSC), None, "a router that keeps it beyond its end gains nothing");
}

#[test]
fn a_router_advertises_the_scsc_for_as_long_as_it_is_attached() {
    let network = Network::new().sr("sr").sr("p0").node("scsc", Role::Scsc).link("sr", "p0", 1).link("sr", "scsc", 1);
    let mut stage = Stage::new(&network, "sr");
    stage.advance(200);
    let scsc = stage.puppets.iter().position(|p| p.name == "scsc").unwrap();
    let advertised = |stage: &Stage| stage.puppets[1 - scsc].updates().into_iter().rfind(|l| l.key.id == named());
    assert_eq!(advertised(&stage), None, "an adjacency is no proof");
    for (attachment, reason) in [
        (attachment("p0", 1000, 61_000), DropReason::NotAuthorised),
        (keys("scsc-2", Role::Scsc, SEED).sign_attachment(id("sr"), Millis(0), Millis(1)), DropReason::NotAuthorised),
    ] {
        stage.clear();
        stage.say(scsc, Message::Attach(attachment));
        assert_eq!((stage.dropped.as_slice(), advertised(&stage)), (&[reason][..], None));
    }
    stage.say(scsc, Message::Attach(attachment("sr", 1000, 61_000)));
    let acknowledged = Message::AttachAck(AttachAck { issued_at: Millis(1000) });
    assert!(stage.puppets[scsc].heard.contains(&acknowledged), "{:?}", stage.puppets[scsc].heard);
    assert_eq!(advertised(&stage).map(|l| (l.sequence, l.is_purge())), Some((1, false)));
    stage.advance(30_000);
    stage.say(scsc, Message::Attach(attachment("sr", 31_000, 91_000)));
    stage.advance(100);
    assert_eq!(advertised(&stage).map(|l| (l.sequence, l.is_purge())), Some((2, false)), "renewed");
    stage.say(scsc, Message::Attach(attachment("sr", 1000, 61_000)));
    stage.advance(59_700);
    assert_eq!(advertised(&stage).map(|l| l.sequence), Some(2), "an old one changes nothing");
    stage.advance(300);
    assert_eq!(advertised(&stage).map(|l| l.is_purge()), Some(true), "the SCSC says so no more");
}

fn named() -> LsaId {
    LsaId::Prefix(SCSC.parse().unwrap(), id("scsc"))
}

#[test]
fn the_scsc_renews_its_attachments_in_time() {
    let network = Network::new().sr("sr-1").sr("sr-2").node("scsc", Role::Scsc);
    let network = network.link("sr-1", "sr-2", 1).link("sr-1", "scsc", 1).timers(|t| t.grant_lifetime_ms = 2000);
    let mut sim = Sim::new(&network.configs(SEED), SEED).unwrap();
    sim.start();
    let held = |sim: &Sim| sim.lsdb("sr-2").lsas.into_iter().find(|l| l.id == SCSC && !l.purged).map(|l| l.sequence);
    sim.run_until(|s| held(s).is_some(), Duration::from_secs(5)).unwrap();
    for _ in 0..100 {
        sim.run_for(Duration::from_millis(100));
        assert!(held(&sim).is_some(), "advertised throughout");
    }
    assert!((10..=12).contains(&held(&sim).unwrap()), "{:?} times in ten seconds", held(&sim));
}

// ===== the time left, which no signature covers =====

#[test]
fn a_forwarder_that_shortens_the_time_left_kills_nothing() {
    let mut stage = Stage::sr(3);
    let lsa = topology_of(&keys("p9", Role::Sr, SEED), "p9", 3, &["p1"]);
    stage.flood(0, &left(&lsa, 5000));
    stage.clear();
    // Another neighbour has had it from elsewhere, and answers our copy of five seconds with its own.
    stage.flood(1, &left(&lsa, 3_590_000));
    let passed_on = stage.puppets[2].updates();
    assert_eq!(passed_on.len(), 1, "those who have the short one from us hear of it");
    assert!(passed_on[0].remaining > Millis(3_589_000));
    stage.advance(6000);
    assert_eq!(stage.sequence("p9", "0"), Some(3));
}

#[test]
fn the_bearer_of_a_short_copy_gets_ours() {
    let mut stage = Stage::sr(2);
    let lsa = topology_of(&keys("p9", Role::Sr, SEED), "p9", 3, &["p1"]);
    stage.flood(0, &left(&lsa, 3_590_000));
    stage.clear();
    stage.flood(1, &left(&lsa, 5000));
    let answer = stage.puppets[1].updates();
    assert_eq!(answer.len(), 1);
    assert!(answer[0].remaining > Millis(3_589_000));
    assert!(remaining(&stage, "p9", "0").unwrap() > 3_589_000, "ours stays");
    stage.clear();
    stage.flood(1, &left(&lsa, 3_589_500));
    assert_eq!((stage.puppets[0].updates(), stage.puppets[1].updates()), (vec![], vec![]), "about the same: no news");
}

#[test]
fn a_summary_that_knows_more_time_is_asked_for_the_lsa() {
    let mut stage = Stage::sr(1);
    let lsa = topology_of(&keys("p9", Role::Sr, SEED), "p9", 3, &["p0"]);
    stage.flood(0, &left(&lsa, 5000));
    stage.clear();
    // The neighbour starts anew, with a copy that has its time.
    stage.puppets[0].summary = vec![LsaHeader { remaining: Millis(3_590_000), ..lsa.header() }];
    stage.input(damc_proto::io::Input::PortDown(crate::puppet::PORT));
    stage.input(damc_proto::io::Input::PortUp(crate::puppet::PORT));
    stage.advance(200);
    let asked = stage.puppets[0].heard.iter().any(|m| matches!(m, Message::LsRequest(h) if h[0].key == lsa.key));
    assert!(asked, "{:?}", stage.puppets[0].heard);
}

#[test]
fn no_copy_prolongs_beyond_a_lifetime_from_when_it_came() {
    let mut stage = Stage::sr(2);
    let key = LsaKey { origin: id("p9"), id: LsaId::Topology(0) };
    let content = LsaContent::Topology(TopologyLsa::default());
    let lsa = keys("p9", Role::Sr, SEED).sign_lsa(key, 1, Millis(10_000), content);
    stage.flood(0, &lsa);
    for _ in 0..5 {
        stage.advance(1900);
        stage.flood(1, &left(&lsa, 10_000));
    }
    assert_eq!(stage.sequence("p9", "0"), Some(1));
    stage.advance(600);
    assert_eq!(stage.sequence("p9", "0"), None);
}

// ===== what one origin can make others do and keep =====

fn fragment(number: u16, sequence: u64, cost: u32) -> Lsa {
    let key = LsaKey { origin: id("p9"), id: LsaId::Topology(number) };
    let link = |i| LinkEntry { neighbour: id(&format!("n{number}-{i}")), cost };
    let content = TopologyLsa { overload: false, stub: false, links: (0..24).map(link).collect() };
    keys("p9", Role::Sr, SEED).sign_lsa(key, sequence, Millis(3_600_000), LsaContent::Topology(content))
}

/// Operations, not time: with one, ten and all fragments that may be.
#[test]
fn a_change_of_one_fragment_costs_the_same_however_many_there_are() {
    let work = |fragments: u16| {
        let mut stage = Stage::sr(1);
        for number in 0..fragments {
            stage.flood(0, &fragment(number, 1, 1));
        }
        stage.advance(500);
        let before = stage.counter(ProtocolCounter::LinksCompared);
        for sequence in 2..12 {
            stage.flood(0, &fragment(0, sequence, u32::try_from(sequence).unwrap()));
            stage.advance(500);
        }
        stage.counter(ProtocolCounter::LinksCompared) - before
    };
    assert_eq!([1, 10, 64].map(work), [10 * 24; 3]);
}

fn name_number(i: usize) -> Lsa {
    let prefix = format!("/A/{i}");
    prefix_lsa("p0", &prefix, grant(("spa", Role::Spa), &prefix, "p0", (1000, 600_000)), 1)
}

/// Allocations of router and neighbours for each new name, with so many known.
fn allocations_of_a_name(known: usize) -> f64 {
    const NEW: usize = 64;
    let mut stage = Stage::sr(2);
    for i in 0..known {
        stage.flood(0, &name_number(i));
    }
    stage.advance(200);
    stage.clear();
    let new: Vec<Lsa> = (known..known + NEW).map(name_number).collect();
    let counted = allocation_counter::measure(|| new.iter().for_each(|lsa| stage.flood(0, lsa)));
    assert_eq!(stage.puppets[1].updates().len(), NEW, "each was taken and flooded");
    counted.count_total as f64 / NEW as f64
}

/// Counts, not time: with some names, ten times as many, and as many as one origin may have.
#[test]
fn a_new_name_costs_the_same_however_many_there_are() {
    let [some, ten_times, most] = [40, 400, damc_proto::lsdb::NAMES_PER_ORIGIN - 64].map(allocations_of_a_name);
    for more in [ten_times, most] {
        assert!((more / some - 1.0).abs() < 0.2, "{some} {ten_times} {most}");
    }
}

/// Bytes that a name takes at a router, with its routes, indexes and timers (`nodes/WIRE.md`, section 21).
const BYTES_OF_A_NAME: f64 = 5120.0;

#[test]
fn a_name_takes_no_more_memory_than_is_written() {
    const NAMES: usize = 1000;
    let mut stage = Stage::sr(2);
    let names: Vec<Lsa> = (0..NAMES).map(name_number).collect();
    let counted = allocation_counter::measure(|| {
        names.iter().for_each(|lsa| stage.flood(0, lsa));
        stage.advance(200);
        stage.clear();
        stage.puppets.iter_mut().for_each(|puppet| puppet.recorded = Vec::new());
    });
    let each = counted.bytes_current as f64 / NAMES as f64;
    assert!((1024.0..=BYTES_OF_A_NAME).contains(&each), "{each:.0} bytes of a name");
}

#[test]
fn fragments_of_one_origin_are_64() {
    let mut stage = Stage::sr(1);
    stage.flood(0, &fragment(63, 1, 1));
    stage.flood(0, &fragment(64, 1, 1));
    assert_eq!(stage.dropped, [DropReason::ResourceLimit]);
    assert_eq!((stage.sequence("p9", "63"), stage.sequence("p9", "64")), (Some(1), None));
}

#[test]
fn names_of_one_origin_are_bounded_and_one_that_goes_makes_room() {
    assert_eq!((Limits::default().names, Limits::default().fragments), (4096, 64));
    let mut lsdb = Lsdb::new(Limits { names: 4, ..Limits::default() });
    let mut verifier = Verifier::new(RootKey::from_bytes(&root_key()).unwrap(), id("example"));
    let mut install = |lsa: Lsa| {
        let room = lsdb.has_room(&lsa);
        let verified = verifier.verify_lsa(Timestamp::ZERO, lsa).unwrap();
        let installed = lsdb.install(Timestamp::ZERO, verified, Some(verifier.clock()));
        assert_eq!(installed.is_ok(), room, "what is looked at first says the same");
        room
    };
    let named = |i: usize, sequence| {
        let prefix = format!("/A/{i}");
        prefix_lsa("p0", &prefix, grant(("spa", Role::Spa), &prefix, "p0", (1000, 600_000)), sequence)
    };
    let purge = |i: usize, sequence| {
        let key = LsaKey { origin: id("p0"), id: LsaId::Prefix(format!("/A/{i}").parse().unwrap(), id("pod")) };
        keys("p0", Role::Sg, SEED).sign_lsa(key, sequence, Millis(60_000), LsaContent::Purge)
    };
    assert!((0..4).all(|i| install(named(i, 1))));
    assert!(!install(named(4, 1)));
    assert!(install(named(2, 2)), "what is held may change");
    assert!(install(purge(3, 2)) && install(named(4, 1)), "one that goes makes room");
    assert!(!install(named(3, 3)), "as one that returns takes it");
    // Tombstones of what was never there are bounded too, but what is there can always be purged.
    assert!((5..8).all(|i| install(purge(i, 1))) && !install(purge(8, 1)));
    assert!(install(purge(0, 2)) && install(purge(1, 2)));
}
