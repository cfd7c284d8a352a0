//! Rows 1 to 4 and 20: who becomes a neighbour, and how soon it stops being one.

use core::time::Duration;

use damc_impair::{DirectionSpec, Loss};
use damc_mgmt::event::EventKind;
use damc_mgmt::words::{AdjacencyState, DownReason, ProtocolCounter};
use damc_sim::{Network, Sim, delayed, usual};
use damc_wire::registry::{DropReason, MessageType};
use damc_wire::{Frame, Message, Timestamp};

use crate::puppet::Stage;

const SECOND: Duration = Duration::from_secs(1);

fn pair() -> Sim {
    let network = Network::new().sr("a").sr("b").link("a", "b", 1);
    Sim::new(&network.configs(3), 3).unwrap()
}

fn both(sim: &Sim, state: AdjacencyState) -> bool {
    sim.adjacency("a", "b") == Some(state) && sim.adjacency("b", "a") == Some(state)
}

fn downs(sim: &Sim, node: &str) -> Vec<(Timestamp, Option<DownReason>)> {
    let down = |(at, e): &(Timestamp, EventKind)| match e {
        EventKind::Adjacency { state: AdjacencyState::Down, reason, .. } => Some((*at, *reason)),
        _ => None,
    };
    sim.seen(node).events.iter().filter_map(down).collect()
}

#[test]
fn checklist_01_one_way_link_never_becomes_an_adjacency() {
    let mut sim = pair();
    sim.set_silent("a", "b", true);
    sim.start();
    let up = sim.run_until(
        |s| s.adjacency("a", "b") == Some(AdjacencyState::Full) || s.adjacency("b", "a") != Some(AdjacencyState::Down),
        10 * SECOND,
    );
    assert!(up.is_err());
    assert_eq!(sim.adjacency("a", "b"), Some(AdjacencyState::Init), "a hears b, b does not hear a");
    sim.set_silent("a", "b", false);
    sim.run_until(|s| both(s, AdjacencyState::Full), 2 * SECOND).unwrap();
}

#[test]
fn checklist_01_one_direction_lost_later_takes_both_ends_down() {
    for (from, to) in [("a", "b"), ("b", "a")] {
        let mut sim = pair();
        sim.start();
        sim.run_until(|s| both(s, AdjacencyState::Full), SECOND).unwrap();
        // Silence is told from a slow link by its round trip, which must have been measured.
        sim.run_for(SECOND);
        sim.set_silent(from, to, true);
        let cut = sim.now();
        sim.run_until(
            |s| {
                s.adjacency("a", "b") != Some(AdjacencyState::Full)
                    && s.adjacency("b", "a") != Some(AdjacencyState::Full)
            },
            SECOND,
        )
        .unwrap();
        assert!(sim.now().since(cut) < Duration::from_millis(400), "{:?}", sim.now().since(cut));
        sim.run_for(5 * SECOND);
        assert!(
            sim.adjacency("a", "b") != Some(AdjacencyState::Full)
                && sim.adjacency("b", "a") != Some(AdjacencyState::Full)
        );
    }
}

#[test]
fn checklist_01_parameters_are_compared() {
    let mut configs = Network::new().sr("a").sr("b").link("a", "b", 1).configs(3);
    configs[1].timers.dead_interval_ms += 1;
    let mut sim = Sim::new(&configs, 3).unwrap();
    sim.start();
    assert!(sim.run_until(|s| s.adjacency("a", "b") == Some(AdjacencyState::Full), 5 * SECOND).is_err());
    assert!(sim.seen("a").dropped[&DropReason::ParameterMismatch] > 3);
}

#[test]
fn checklist_01_another_domain_role_or_name_is_no_neighbour() {
    let expect = |change: fn(&mut Vec<damc_mgmt::config::NodeConfig>), reason: DropReason| {
        let network = Network::new().sr("a").sr("b").sr("c").link("a", "b", 1).link("c", "a", 1);
        let mut configs = network.configs(3);
        change(&mut configs);
        let mut sim = Sim::new(&configs, 3).unwrap();
        sim.start();
        assert!(sim.run_until(|s| s.adjacency("a", "b") == Some(AdjacencyState::Full), 3 * SECOND).is_err());
        assert!(sim.seen("a").dropped.contains_key(&reason), "{reason}: {:?}", sim.seen("a").dropped);
    };
    expect(|c| c[0].ports[0].peer_role = "sg".into(), DropReason::WrongRole);
    expect(
        |c| c[1] = Network::new().sr("a").sr("b").link("a", "b", 1).configs(4).remove(1),
        DropReason::BadCertificate,
    );
}

#[test]
fn checklist_02_the_first_hello_carries_the_final_identity() {
    // The machine has its identity before its first port: its first PDU is a hello under it, and the adjacency needs no
    // second interval.
    let network = Network::new().sr("sr").sr("p0").link("sr", "p0", 1);
    let stage = Stage::new(&network, "sr");
    let first = Frame::decode(&stage.puppets[0].recorded[0]).unwrap();
    let Message::Hello(hello) = first.message else { panic!("{first:?}") };
    assert_eq!(hello.certificate.node.as_str(), "sr");
    assert_eq!(stage.state_of_neighbour(0), AdjacencyState::Full, "in the very first millisecond");
    for pdu in &stage.puppets[0].recorded {
        if let Message::Hello(h) = Frame::decode(pdu).unwrap().message {
            assert_eq!((&h.certificate, h.session), (&hello.certificate, hello.session));
        }
    }
}

#[test]
fn checklist_03_only_hellos_keep_the_second_line_alive() {
    let mut stage = Stage::sr(1);
    stage.puppets[0].sends_hello = false;
    for sequence in 1..=19 {
        let lsa = stage.puppets[0].topology(sequence, &["sr"]);
        stage.flood(0, &lsa);
        stage.advance(200);
        assert_eq!(stage.state_of_neighbour(0), AdjacencyState::Full, "echoes and LSAs go on, {sequence}");
        stage.now = stage.now.max(Timestamp::ZERO);
    }
    stage.advance(300); // The dead interval is 4 s.
    assert_eq!(stage.state_of_neighbour(0), AdjacencyState::Down);
    assert_eq!(stage.row_of_neighbour(0).last_down, Some(DownReason::HelloSilence));
}

#[test]
fn checklist_04_a_frozen_process_is_found_within_the_detection_time() {
    let mut sim = pair();
    sim.start();
    sim.run_until(|s| both(s, AdjacencyState::Full), SECOND).unwrap();
    sim.run_for(SECOND);
    sim.pause("b", true);
    let frozen = sim.now();
    sim.run_until(|s| s.adjacency("a", "b") == Some(AdjacencyState::Down), SECOND).unwrap();
    let took = sim.now().since(frozen);
    assert!(took <= Duration::from_millis(170), "{took:?} (the condition is looked at every 20 ms)");
    assert_eq!(downs(&sim, "a")[0].1, Some(DownReason::EchoSilence));
    assert!(downs(&sim, "a")[0].0.since(frozen) <= Duration::from_millis(151));
    sim.pause("b", false);
    sim.run_until(|s| both(s, AdjacencyState::Full), 2 * SECOND).unwrap();
}

#[test]
fn checklist_04_twenty_per_cent_loss_is_no_death() {
    let mut sim = pair();
    sim.start();
    sim.run_until(|s| both(s, AdjacencyState::Full), SECOND).unwrap();
    sim.set_all_specs(DirectionSpec { loss: Loss::Random { probability: 0.2 }, ..usual() });
    sim.run_for(Duration::from_secs(600));
    assert_eq!(downs(&sim, "a"), []);
    assert_eq!(downs(&sim, "b"), []);
}

#[test]
fn carrier_loss_is_noticed_at_once_at_both_ends() {
    let mut sim = pair();
    sim.start();
    sim.run_until(|s| both(s, AdjacencyState::Full), SECOND).unwrap();
    sim.set_link("a", "b", false);
    let cut = sim.now();
    for node in ["a", "b"] {
        assert_eq!(downs(&sim, node), [(cut, Some(DownReason::Carrier))]);
        assert_eq!(sim.seen(node).fib_changed_at, cut, "no frame more that way");
    }
    sim.set_link("a", "b", true);
    sim.run_until(|s| both(s, AdjacencyState::Full), Duration::from_millis(5)).unwrap();
}

#[test]
fn first_contact_and_restart_take_two_round_trips() {
    let mut sim = pair();
    sim.set_all_specs(delayed(Duration::from_millis(20)));
    sim.start();
    let started = sim.now();
    let up = sim.run_until(|s| both(s, AdjacencyState::Full), SECOND).unwrap();
    assert!(up.since(started) <= Duration::from_millis(120), "{:?}", up.since(started));
    sim.run_for(SECOND);
    sim.kill("b");
    sim.start_node("b"); // Before a could notice that it died.
    let restarted = sim.now();
    sim.run_until(|s| !downs(s, "a").is_empty(), SECOND).unwrap();
    assert_eq!(downs(&sim, "a")[0].1, Some(DownReason::Restarted));
    let up = sim.run_until(|s| both(s, AdjacencyState::Full), SECOND).unwrap();
    assert!(up.since(restarted) <= Duration::from_millis(160), "{:?}", up.since(restarted));
}

#[test]
fn checklist_20_a_recorded_session_is_worth_nothing() {
    let mut stage = Stage::sr(2);
    let mut recorded: Vec<Vec<u8>> = Vec::new();
    // What p0 says in this session: caught at the machine's side by saying it twice.
    let lsa = stage.puppets[0].topology(1, &["sr"]);
    stage.flood(0, &lsa);
    recorded.append(&mut stage.puppets[0].recorded.clone());
    stage.clear();
    // Reflected frames of the machine itself, and frames for p0 replayed at p1's port.
    for pdu in &recorded {
        stage.inject(0, pdu);
        stage.inject(1, pdu);
    }
    assert!(stage.puppets.iter().all(|p| p.updates().is_empty()));
    for reason in [DropReason::Looped, DropReason::BadMac] {
        assert!(stage.dropped.contains(&reason), "{reason}: {:?}", stage.dropped);
    }
    assert_eq!(
        (stage.state_of_neighbour(0), stage.state_of_neighbour(1)),
        (AdjacencyState::Full, AdjacencyState::Full)
    );
}

#[test]
fn checklist_20_hello_replay_does_not_disturb_a_full_adjacency() {
    // Record b's hellos of an earlier life and replay them in the next one.
    let network = Network::new().sr("sr").sr("p0").link("sr", "p0", 1);
    let mut old = Stage::new(&network, "p0"); // p0 as the machine: its frames end up recorded at the puppet "sr".
    old.advance(100);
    let hellos: Vec<Vec<u8>> =
        old.puppets[0].recorded.iter().filter(|p| p[1] == MessageType::Hello.code()).cloned().collect();
    assert!(hellos.len() > 1);
    let mut stage = Stage::sr(1);
    for _ in 0..5 {
        for pdu in &hellos {
            stage.inject(0, pdu);
        }
        stage.advance(20);
    }
    assert_eq!(stage.state_of_neighbour(0), AdjacencyState::Full);
    assert_eq!(stage.counter(ProtocolCounter::AdjacencyFlaps), 0);
}

#[test]
fn a_flood_of_forged_hellos_costs_few_signatures_and_its_own_port_alone() {
    let network = Network::new().sr("sr").sr("p0").link("sr", "p0", 1);
    let mut old = Stage::new(&network, "p0");
    old.advance(100);
    let recorded = &old.puppets[0].recorded;
    let mut forged = recorded.iter().find(|p| p[1] == MessageType::Hello.code()).unwrap().clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut stage = Stage::sr(2);
    for _ in 0..500 {
        for _ in 0..20 {
            stage.inject(0, &forged);
        }
        stage.advance(1);
    }
    let dropped = |reason| stage.dropped.iter().filter(|r| **r == reason).count();
    let (verified, unseen) = (dropped(DropReason::BadSignature), dropped(DropReason::ResourceLimit));
    assert!((50..=160).contains(&verified), "{verified} of 10000 were verified");
    assert!(verified + unseen >= 10_000, "{verified} verified, {unseen} not: {:?}", stage.dropped.last());
    assert_eq!(stage.state_of_neighbour(1), AdjacencyState::Full);
}
