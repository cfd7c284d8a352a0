//! AUT: who may have which name.

use core::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::event::EventKind;
use damc_mgmt::words::AnnouncementState;
use damc_proto::io::Order;
use damc_sim::lossy;
use damc_wire::frame::LinkKey;
use damc_wire::message::{AuthReply, AuthResult, Data, DataKind, Outcome};
use damc_wire::{DropReason, Frame, Message, MessageType, Millis, RefusalReason};

use crate::{SECOND, announcements, call, everywhere, name, node, nowhere, service, small, standing, text, up, when};

#[test]
fn aut_01_announcement_then_answer_then_lsa() {
    let sim = up(&small(), 1);
    let announced = when(&sim, "sg-1", |e| matches!(e, EventKind::Announced { prefix, .. } if prefix == "/B/1"));
    let judged = when(&sim, "spa-1", |e| matches!(e, EventKind::Authenticated { prefix, .. } if prefix == "/B/1"));
    let answered = when(&sim, "sg-1", |e| matches!(e, EventKind::Authenticated { prefix, .. } if prefix == "/B/1"));
    let lsa = when(&sim, "sg-1", |e| matches!(e, EventKind::LsaOriginated { id, .. } if id.contains("/B/1")));
    assert!(announced.is_some() && announced < judged && judged < answered && answered <= lsa);
    // AUT-05: the positive answer leads to the LSA in the same instant.
    assert_eq!(answered, lsa);
    assert!(everywhere(&sim, "/B/1"));
}

#[test]
fn aut_01_with_a_silent_spa_the_prefix_appears_nowhere_until_the_spa_is_back() {
    let network = small();
    let mut sim = damc_sim::Sim::new(&network.configs(1), 1).unwrap();
    sim.set_silent("sg-1", "spa-1", true);
    sim.set_silent("spa-1", "sg-1", true);
    sim.start();
    sim.run_for(10 * SECOND);
    assert!(nowhere(&sim, "/B/1"));
    assert!(everywhere(&sim, "/shop"), "AUT-10: another SG is not affected");
    assert_eq!(standing(&sim, "pod-1", "/B/1"), (AnnouncementState::Refused, Some(RefusalReason::SpaUnreachable)));
    sim.set_silent("sg-1", "spa-1", false);
    sim.set_silent("spa-1", "sg-1", false);
    sim.run_until(|s| everywhere(s, "/B/1"), 10 * SECOND).expect("asked again when the SPA is up");
    sim.run_for(SECOND);
    assert_eq!(standing(&sim, "pod-1", "/B/1"), (AnnouncementState::Accepted, None));
}

#[test]
fn aut_04_a_refused_pod_has_no_access() {
    let network = small().licence("pod-3", &["/D/9"]);
    let mut sim = up(&network, 1);
    assert_eq!(standing(&sim, "sg-1", "/C/3"), (AnnouncementState::Refused, Some(RefusalReason::NotLicensed)));
    assert_eq!(standing(&sim, "pod-3", "/C/3"), (AnnouncementState::Refused, Some(RefusalReason::NotLicensed)));
    assert!(nowhere(&sim, "/C/3"));
    // AUT-03: told at once, no timer was waited for.
    let announced = when(&sim, "sg-1", |e| matches!(e, EventKind::Announced { prefix, .. } if prefix == "/C/3"));
    let refused = when(&sim, "sg-1", |e| matches!(e, EventKind::Authenticated { prefix, .. } if prefix == "/C/3"));
    assert!(refused.unwrap().since(announced.unwrap()) < Duration::from_millis(20));
    // Its frames do not pass, whatever source they carry, and it learns why.
    for source in ["/C/3", "/A/1", "/shop"] {
        let before = sim.seen("sg-1").dropped.get(&DropReason::SourceNotAuthorised).copied().unwrap_or(0);
        let order = Order::Call {
            handle: 900,
            name: name("/shop"),
            method: "echo".into(),
            payload: Vec::new(),
            deadline: SECOND,
            trace: false,
            source: Some(name(source)),
            flow: None,
            context: None,
        };
        sim.order("pod-3", order);
        sim.run_for(Duration::from_millis(20));
        let outcome = sim.seen("pod-3").calls[&900].result.clone();
        assert_eq!(outcome, Err((Some(RefusalReason::SourceNotAuthorised), "sg-1".to_owned())), "{source}");
        assert_eq!(sim.seen("sg-1").dropped[&DropReason::SourceNotAuthorised], before + 1);
    }
    let (outcome, _) = call(&mut sim, "pod-3", "/shop", "echo", "x");
    assert_eq!(outcome.result.unwrap_err().0, Some(RefusalReason::NotLicensed), "without a source: its own refusal");
}

#[test]
fn aut_06_only_sgs_speak_to_spas() {
    let mut sim = up(&small(), 1);
    let (outcome, _) = call(&mut sim, "pod-1", "/damc/example/spa-1", "echo", "x");
    assert_eq!(outcome.result.unwrap_err().0, Some(RefusalReason::NoRoute));
    let class_3 = [MessageType::AuthRequest, MessageType::AuthReply, MessageType::Revoke, MessageType::RevokeAck];
    for n in sim.node_names().iter().filter(|n| n.starts_with("sr-") || n.starts_with("pod-")) {
        assert!(class_3.iter().all(|t| !sim.seen(n).sent.contains_key(t)), "{n}");
    }
    // REG-01: class 1 on pod links only.
    for n in sim.node_names().iter().filter(|n| n.starts_with("sr-") || n.starts_with("spa-")) {
        assert!(!sim.seen(n).sent.contains_key(&MessageType::Announce), "{n}");
    }
    assert!(sim.seen("spa-1").sent[&MessageType::AuthReply] > 0);
}

#[test]
fn aut_08_messages_without_a_valid_mac_change_nothing_and_are_counted() {
    let network = small().licence("pod-3", &["/D/9"]);
    let mut sim = up(&network, 1);
    let before = (announcements(&sim, "sg-1"), sim.lsdb("sg-1").digest);
    let refused = Outcome { prefix: name("/A/1"), refusal: Some(RefusalReason::NotLicensed) };
    let reply = Message::AuthReply(AuthReply { request: 1, result: AuthResult::Refused(refused) });
    let revoke = damc_wire::message::Revoke { prefix: name("/A/1"), pod: node("pod-1"), serial: u64::MAX };
    for message in [reply, Message::Revoke(revoke)] {
        let bare = Frame::hop_local(message);
        let missing = count(&sim, "sg-1", DropReason::MissingMac);
        sim.inject("spa-1", "sg-1", bare.encode().unwrap());
        assert_eq!(count(&sim, "sg-1", DropReason::MissingMac), missing + 1);
        let forged = damc_wire::frame::seal(bare.encode().unwrap(), 1 << 40, |_| [7; 16]);
        let bad = count(&sim, "sg-1", DropReason::BadMac);
        sim.inject("spa-1", "sg-1", forged);
        assert_eq!(count(&sim, "sg-1", DropReason::BadMac), bad + 1);
    }
    sim.run_for(SECOND);
    assert_eq!((announcements(&sim, "sg-1"), sim.lsdb("sg-1").digest), before);
}

fn count(sim: &damc_sim::Sim, at: &str, reason: DropReason) -> u64 {
    sim.seen(at).dropped.get(&reason).copied().unwrap_or(0)
}

#[test]
fn aut_10_the_loss_of_one_spa_is_local_and_costs_no_traffic() {
    let mut sim = up(&small(), 1);
    sim.kill("spa-2");
    sim.run_for(SECOND);
    service(&mut sim, "pod-2", "/shop/new", true);
    service(&mut sim, "pod-1", "/A/1/new", true);
    sim.run_for(3 * SECOND);
    assert!(everywhere(&sim, "/A/1/new"));
    assert!(nowhere(&sim, "/shop/new"));
    assert_eq!(standing(&sim, "pod-2", "/shop/new"), (AnnouncementState::Refused, Some(RefusalReason::SpaUnreachable)));
    let (outcome, _) = call(&mut sim, "pod-1", "/A/2", "add", "2 3");
    assert_eq!(text(&outcome), Ok("5".into()), "approved prefixes keep their traffic");
    sim.start_node("spa-2");
    sim.run_until(|s| everywhere(s, "/shop/new"), 10 * SECOND).expect("registered by itself once the SPA is back");
}

#[test]
fn gap_07_revocation_reaches_every_node_and_the_pod() {
    let mut sim = up(&small(), 1);
    sim.command("spa-2", &Command::RevokeLicence { pod: node("pod-2"), prefix: name("/shop") });
    let begin = sim.now();
    let end = sim.run_until(|s| nowhere(s, "/shop"), SECOND).expect("purged everywhere");
    assert!(end.since(begin) <= Duration::from_millis(100), "{:?}", end.since(begin));
    sim.run_for(Duration::from_millis(100));
    assert_eq!(standing(&sim, "pod-2", "/shop"), (AnnouncementState::Refused, Some(RefusalReason::Revoked)));
    let (outcome, _) = call(&mut sim, "pod-1", "/shop", "echo", "x");
    assert_eq!(outcome.result.unwrap_err().0, Some(RefusalReason::NoRoute));
    assert!(everywhere(&sim, "/A/2"), "nothing else of the pod is touched");
}

#[test]
fn gap_07_grants_are_renewed_and_end_without_their_spa() {
    let network = small().timers(|p| p.grant_lifetime_ms = 4000);
    let mut sim = up(&network, 1);
    sim.run_for(30 * SECOND);
    assert!(everywhere(&sim, "/shop"));
    let purged = |e: &EventKind| matches!(e, EventKind::LsaOriginated { purge: true, .. });
    assert_eq!(when(&sim, "sg-2", purged), None, "renewal is seamless");
    sim.kill("spa-2");
    sim.run_for(SECOND);
    assert!(everywhere(&sim, "/shop"), "good until it expires");
    sim.run_for(4 * SECOND);
    assert!(nowhere(&sim, "/shop"));
    assert!(everywhere(&sim, "/B/1"));
    sim.start_node("spa-2");
    sim.run_until(|s| everywhere(s, "/shop"), 10 * SECOND).expect("granted anew");
}

/// Whatever bytes arrive by whatever port: nobody panics, nothing is installed.
#[test]
fn aut_08_hostile_frames_at_every_port_change_nothing() {
    use rand::{RngExt as _, SeedableRng as _};
    let mut sim = up(&small(), 1);
    let before = sim.lsdb("sr-1").digest;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let data = Data {
        correlation: 1,
        kind: DataKind::Request { method: "echo".into(), deadline: Millis(100), context: None },
        payload: vec![0; 40],
        hops: Vec::new(),
    };
    let template = Frame::plain(name("/A/1"), name("/shop"), 1, Message::Data(data)).encode().unwrap();
    let links = [("pod-1", "sg-1"), ("sg-1", "pod-1"), ("spa-1", "sg-1"), ("sg-1", "spa-1"), ("sg-1", "sr-1")];
    for _ in 0..2000 {
        for (a, b) in links {
            let mut pdu = template.clone();
            for _ in 0..random.random_range(0..4) {
                let at = random.random_range(0..pdu.len());
                pdu[at] = random.random();
            }
            pdu.truncate(random.random_range(0..=pdu.len()));
            sim.inject(a, b, pdu);
        }
    }
    sim.run_for(2 * SECOND);
    assert_eq!(sim.lsdb("sr-1").digest, before);
    assert!(everywhere(&sim, "/A/1") && everywhere(&sim, "/shop"));
}

#[test]
fn frames_of_an_outsider_on_any_link_go_nowhere() {
    let mut sim = up(&small(), 1);
    let kind = DataKind::Request { method: "echo".into(), deadline: Millis(100), context: None };
    let data = Message::Data(Data { correlation: 1, kind, payload: Vec::new(), hops: Vec::new() });
    let forged = Frame::plain(name("/shop"), name("/A/1"), 1, data).encode().unwrap();
    let mut under_own_key = forged.clone();
    LinkKey::new(&[3; 32]).seal(&mut under_own_key);
    let dropped = |sim: &damc_sim::Sim, at: &str, reason| sim.seen(at).dropped.get(&reason).copied().unwrap_or(0);
    for (from, at) in [("sr-2", "sg-2"), ("sg-1", "sr-1"), ("pod-1", "sg-1"), ("sg-2", "pod-2")] {
        let (missing, bad) = (dropped(&sim, at, DropReason::MissingMac), dropped(&sim, at, DropReason::BadMac));
        sim.inject(from, at, forged.clone());
        sim.inject(from, at, under_own_key.clone());
        assert_eq!(dropped(&sim, at, DropReason::MissingMac), missing + 1, "{from} to {at}");
        assert_eq!(dropped(&sim, at, DropReason::BadMac), bad + 1, "{from} to {at}");
    }
}

#[test]
fn gap_09_thirty_per_cent_loss_on_the_pod_and_spa_links_registers_everything_once() {
    for seed in 0..10 {
        // Liveness must survive this loss for registration to be judged: no echo, a patient dead interval.
        let network = small().timers(|p| {
            p.echo_interval_ms = 0;
            p.hello_interval_ms = 200;
            p.dead_interval_ms = 20_000;
        });
        let mut sim = damc_sim::Sim::new(&network.configs(seed), seed).unwrap();
        for (a, b) in [("pod-1", "sg-1"), ("pod-3", "sg-1"), ("sg-1", "spa-1"), ("pod-2", "sg-2"), ("sg-2", "spa-2")] {
            sim.set_spec(a, b, lossy(0.3));
        }
        sim.start();
        for prefix in ["/A/1", "/B/1", "/A/2", "/shop", "/C/3"] {
            sim.run_until(|s| everywhere(s, prefix), 60 * SECOND).unwrap_or_else(|_| panic!("{prefix}, seed {seed}"));
        }
        let originated = |at: &str, prefix: &str| {
            let is =
                |e: &EventKind| matches!(e, EventKind::LsaOriginated { id, purge: false, .. } if id.contains(prefix));
            sim.seen(at).events.iter().filter(|(_, e)| is(e)).count()
        };
        for (at, prefix) in [("sg-1", "/B/1"), ("sg-1", "/C/3"), ("sg-2", "/shop")] {
            assert_eq!(originated(at, prefix), 1, "{prefix}, seed {seed}");
        }
    }
}
