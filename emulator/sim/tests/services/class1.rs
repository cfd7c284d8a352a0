//! Class 1 beside the adjacency: whatever becomes of an announcement, whoever made it is told, once.

use core::time::Duration;

use damc_mgmt::view::AnnouncementView;
use damc_mgmt::words::AnnouncementState;
use damc_proto::context::Context;
use damc_proto::io::{OUT_OF_BAND_REQUESTS, Order, Unanswered};
use damc_sim::Sim;
use damc_wire::message::AnnounceEntry;

use crate::{SECOND, announcements, name, node, small, up};

/// Announces a name of `pod` at sg-1, signed with the pod's key.
fn announce(sim: &mut Sim, pod: &str, number: u64, prefix: &str) {
    let config = small().configs(1).into_iter().find(|config| config.node == pod).expect("a pod");
    let keys = Context::from_config(&config).expect("valid").keys;
    let sessions = sim.show::<damc_mgmt::view::Sessions>("sg-1");
    let session = sessions.get(pod).copied().unwrap_or(1);
    let entry = AnnounceEntry { prefix: name(prefix), pool: None, weight: 1 };
    let announce = keys.sign_announce(OUT_OF_BAND_REQUESTS | number, (node("sg-1"), session), vec![entry], Vec::new());
    sim.order("sg-1", Order::Announce { handle: number, announce: Box::new(announce) });
}

/// What the caller with this handle was told.
fn told(sim: &Sim, handle: u64) -> Option<Result<usize, Unanswered>> {
    sim.seen("sg-1").announced.get(&handle).map(|reply| reply.as_ref().map(|r| r.outcomes.len()).map_err(|e| *e))
}

#[test]
fn reg_04_announcements_that_nobody_decides_end_and_leave_nothing_behind() {
    let mut sim = up(&small(), 1);
    let spa = |sim: &mut Sim, silent| {
        sim.set_silent("sg-1", "spa-1", silent);
        sim.set_silent("spa-1", "sg-1", silent);
    };
    spa(&mut sim, true);
    // More than all places that were ever there, in rounds that end by themselves.
    for round in 0..20_u64 {
        for number in 1..=80 {
            announce(&mut sim, "pod-1", round * 80 + number, &format!("/B/1/{round}/{number}"));
        }
        // Later rounds find the SPA's adjacency gone and are refused at once, which takes no place.
        if round == 0 {
            assert_eq!(told(&sim, 65), Some(Err(Unanswered::TooMany)), "one pod has 64 places");
        }
        sim.run_for(11 * SECOND);
        // Refused once the SPA's adjacency is gone, or over by the time-out.
        for number in [1, 64] {
            let told = told(&sim, round * 80 + number);
            assert!(matches!(told, Some(Ok(1) | Err(Unanswered::Undecided))), "{round}, {number}: {told:?}");
        }
        let accepted =
            |row: &AnnouncementView| row.prefix.starts_with("/B/1/") && row.state == AnnouncementState::Accepted;
        assert_eq!(announcements(&sim, "sg-1").iter().filter(|row| accepted(row)).count(), 0);
    }
    spa(&mut sim, false);
    sim.run_for(2 * SECOND);
    announce(&mut sim, "pod-3", 5000, "/C/3/more");
    sim.run_for(SECOND);
    assert_eq!(told(&sim, 5000), Some(Ok(1)), "class 1 is there for others");
}

#[test]
fn reg_04_announcements_end_with_the_adjacency_of_their_pod() {
    let mut sim = up(&small(), 1);
    sim.set_silent("sg-1", "spa-1", true);
    announce(&mut sim, "pod-1", 1, "/B/1/x");
    announce(&mut sim, "pod-3", 2, "/C/3/x");
    sim.run_for(Duration::from_millis(50));
    assert_eq!(told(&sim, 1), None);
    sim.set_link("pod-1", "sg-1", false);
    assert_eq!((told(&sim, 1), told(&sim, 2)), (Some(Err(Unanswered::NoSuchPod)), None));
    announce(&mut sim, "pod-1", 3, "/B/1/y");
    assert_eq!(told(&sim, 3), Some(Err(Unanswered::NoSuchPod)));
    sim.set_silent("sg-1", "spa-1", false);
    sim.run_for(2 * SECOND);
    assert_eq!(told(&sim, 2), Some(Ok(1)));
    let row = announcements(&sim, "sg-1").into_iter().find(|row| row.prefix == "/C/3/x").expect("announced");
    assert_eq!(row.state, AnnouncementState::Accepted);
}
