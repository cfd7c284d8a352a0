//! Building, changing and ending labs of dummy processes.

use std::time::Duration;

use damc_impair::{DirectionChange, DirectionSpec};
use damc_lab::LabError;
use damc_lab::control::{Direction, LabState, LinkChange, LinkService, NodeState};
use damc_lab::job::LinksBy;
use damc_lab::recording::{Record, Wanted};
use damc_link::priority::{Level, Priority};
use libtest_mimic::Failed;

use crate::support::{self, Host, IDLE, Test, carrier, inside, lab_name, run};

/// The tests.
pub const TESTS: &[(&str, Test)] = &[
    ("a_lab_comes_up_and_leaves_nothing", a_lab_comes_up_and_leaves_nothing),
    ("interfaces_are_as_planned", interfaces_are_as_planned),
    ("a_plain_link_carries_and_is_cut", a_plain_link_carries_and_is_cut),
    ("a_relayed_link_delays_and_is_cut", a_relayed_link_delays_and_is_cut),
    ("a_plain_link_takes_a_rate_and_refuses_a_delay", a_plain_link_takes_a_rate_and_refuses_a_delay),
    ("labs_stand_side_by_side_and_names_are_unique", labs_stand_side_by_side_and_names_are_unique),
    ("forty_links_come_up", forty_links_come_up),
    ("the_relay_has_the_best_priority_to_be_had", the_relay_has_the_best_priority_to_be_had),
];

fn a_lab_comes_up_and_leaves_nothing() -> Result<(), Failed> {
    let name = lab_name("clean");
    let before = Host::now();
    run(async {
        let lab = support::up(support::pair(&name, delayed(1))).await?;
        let status = lab.status().await?;
        assert_eq!(status.state, LabState::Running);
        assert!(status.nodes.iter().all(|node| node.state == NodeState::Ready));
        assert_eq!(Host::now(), before);
        assert!(!support::processes_of(&name).is_empty());
        lab.down().await?;
        Ok::<_, Failed>(())
    })?;
    assert_eq!(Host::now(), before);
    assert!(!support::directory(&name).exists());
    support::eventually("no process is left", || support::processes_of(&name).is_empty())
}

fn interfaces_are_as_planned() -> Result<(), Failed> {
    let name = lab_name("interfaces");
    run(async {
        let lab = support::up(support::pair(&name, delayed(1))).await?;
        assert_eq!(inside(&name, "left", &["ls", "/sys/class/net"])?, "lo\nright\n");
        let read = |file: &str| inside(&name, "left", &["cat", file]);
        assert_eq!(read("/sys/class/net/right/address")?, "02:00:00:00:00:00\n");
        assert_eq!(read("/sys/class/net/right/mtu")?, "1500\n");
        assert_eq!(read("/proc/sys/net/ipv6/conf/right/disable_ipv6")?, "1\n");
        assert_eq!(inside(&name, "left", &["hostname"])?, "left\n");
        lab.down().await?;
        Ok(())
    })
}

fn a_plain_link_carries_and_is_cut() -> Result<(), Failed> {
    let name = lab_name("plain");
    run(async {
        let lab = support::up(support::pair(&name, DirectionSpec::default())).await?;
        assert_eq!(lab.link_status("left", "right").await?.service, LinkService::Plain);
        let (sent, received) = crossing(&lab, &[0x01, 0x02]).await?;
        assert_eq!((sent.pdu(), received.pdu()), (&[0x01, 0x02][..], &[0x01, 0x02][..]));
        cut_and_mend(&name, &lab).await?;
        lab.down().await?;
        Ok(())
    })
}

fn a_relayed_link_delays_and_is_cut() -> Result<(), Failed> {
    let name = lab_name("relayed");
    run(async {
        let lab = support::up(support::job_by_relay(&name, delayed(20))).await?;
        assert_eq!(lab.link_status("right", "left").await?.service, LinkService::Relay);
        let log = std::fs::read_to_string(lab.directory().relay_log())?;
        assert!(log.contains("relay runs") && log.contains("links=1"), "the relay's log: {log:?}");
        let (sent, received) = crossing(&lab, &[0x01, 0x03]).await?;
        assert!(received.at_ns - sent.at_ns >= 20_000_000, "{} ns", received.at_ns - sent.at_ns);
        // Forward is what the first named end sends, whichever way the link was declared.
        let properties = DirectionChange { delay_ns: Some(1), ..DirectionChange::default() };
        lab.link("right", "left", LinkChange::Set { direction: Direction::Backward, properties }).await?;
        let status = lab.link_status("left", "right").await?;
        assert_eq!((status.forward.delay_ns, status.backward.delay_ns), (1, 20_000_000));
        lab.link("left", "right", LinkChange::Clear).await?;
        assert_eq!(lab.link_status("left", "right").await?.forward, delayed(20));
        cut_and_mend(&name, &lab).await?;
        lab.down().await?;
        Ok(())
    })
}

/// What counts is what the kernel says of the running relay, not what the relay thinks it asked for.
fn the_relay_has_the_best_priority_to_be_had() -> Result<(), Failed> {
    let name = lab_name("priority");
    run(async {
        let lab = support::up(support::job_by_relay(&name, delayed(1))).await?;
        let scheduling = lab.status().await?.scheduling;
        let relay = scheduling.relay.ok_or("the relay is not shown")?;
        // Newer kernels have none at all for threads in real time.
        assert!(relay.slack_ns.is_some_and(|slack| slack <= 1), "{relay:?}");
        // This thread asks for the same, and is gone.
        let to_be_had =
            std::thread::spawn(|| damc_link::priority::raise(Level::Wire)).join().map_err(|_| "panicked")?;
        assert_eq!(relay.priority, to_be_had, "{relay:?}");
        if to_be_had == Priority::RealTime {
            assert_eq!(relay.level, Level::Wire as u32, "{relay:?}");
            // Who may have real time may also put the lab's session before others, where the kernel knows sessions.
            assert!(scheduling.session_nice.is_none_or(|nice| nice == -10), "{:?}", scheduling.session_nice);
        }
        lab.down().await?;
        Ok(())
    })
}

fn a_plain_link_takes_a_rate_and_refuses_a_delay() -> Result<(), Failed> {
    let name = lab_name("rate");
    run(async {
        let spec = DirectionSpec { rate_bps: Some(10_000_000), ..DirectionSpec::default() };
        let lab = support::up(support::pair(&name, spec)).await?;
        assert_eq!(lab.link_status("left", "right").await?.service, LinkService::Plain);
        crossing(&lab, &[0x01, 0x04]).await?;
        let rate = DirectionChange { rate_bps: Some(20_000_000), ..DirectionChange::default() };
        lab.link("left", "right", LinkChange::Set { direction: Direction::Forward, properties: rate }).await?;
        let status = lab.link_status("left", "right").await?;
        assert_eq!((status.forward.rate_bps, status.backward.rate_bps), (Some(20_000_000), Some(10_000_000)));
        let delay = DirectionChange { delay_ns: Some(1_000_000), ..DirectionChange::default() };
        let delayed =
            lab.link("left", "right", LinkChange::Set { direction: Direction::Both, properties: delay }).await;
        match lab.status().await?.backend {
            damc_lab::control::Backend::Netem => delayed?,
            damc_lab::control::Backend::Relay => {
                let refusal = delayed.expect_err("a plain pair without netem cannot delay").to_string();
                assert!(refusal.contains("left–right is a plain veth pair"), "{refusal}");
            }
        }
        lab.down().await?;
        Ok(())
    })
}

fn labs_stand_side_by_side_and_names_are_unique() -> Result<(), Failed> {
    let (one, two) = (lab_name("one"), lab_name("two"));
    run(async {
        let first = support::up(support::pair(&one, DirectionSpec::default())).await?;
        let second = support::up(support::pair(&two, DirectionSpec::default())).await?;
        let again = support::up(support::pair(&one, DirectionSpec::default())).await;
        assert!(matches!(again, Err(LabError::AlreadyUp(name)) if name == one));
        first.down().await?;
        crossing(&second, &[0x01]).await?;
        second.down().await?;
        Ok(())
    })
}

/// A star of 21 relayed links, as many as the figure of the drafts has.
fn forty_links_come_up() -> Result<(), Failed> {
    let name = lab_name("star");
    let nodes: Vec<String> = (0..=21).map(|number| format!("n{number}")).collect();
    let nodes: Vec<(&str, &str)> = nodes.iter().map(|node| (node.as_str(), IDLE)).collect();
    let links: Vec<_> = nodes[1..].iter().map(|(node, _)| ("n0", *node, delayed(1))).collect();
    run(async {
        let job = support::served_by(LinksBy::Relay, support::job(&name, &nodes, &links));
        let lab = support::up(job).await?;
        let status = lab.status().await?;
        assert!(status.links.iter().all(|link| link.service == LinkService::Relay && link.up));
        eprintln!("ready after {:.1} ms: {:?}", status.ready_ms, status.phases);
        lab.down().await?;
        Ok(())
    })
}

fn delayed(ms: u64) -> DirectionSpec {
    DirectionSpec { delay_ns: ms * 1_000_000, ..DirectionSpec::default() }
}

/// Sends a PDU from left to right and gives what was recorded at both ends.
async fn crossing(lab: &damc_lab::Lab, pdu: &[u8]) -> Result<(Record, Record), Failed> {
    lab.inject("left", "right", pdu).await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    loop {
        let records = lab.recording().await?.read(&Wanted::default())?;
        let mut found = records.iter().filter(|record| record.pdu().starts_with(pdu));
        if let (Some(sent), Some(received)) = (found.next(), found.next()) {
            assert_eq!((sent.node.as_str(), sent.port.as_str(), sent.sent), ("left", "right", true));
            assert_eq!((received.node.as_str(), received.port.as_str(), received.sent), ("right", "left", false));
            return Ok((sent.clone(), received.clone()));
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("recorded within 5 s: {records:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn cut_and_mend(name: &str, lab: &damc_lab::Lab) -> Result<(), Failed> {
    assert!(carrier(name, "left", "right")? && carrier(name, "right", "left")?);
    lab.link("left", "right", LinkChange::Down).await?;
    assert!(!lab.link_status("left", "right").await?.up);
    assert!(!carrier(name, "left", "right")? && !carrier(name, "right", "left")?);
    lab.link("left", "right", LinkChange::Up).await?;
    assert!(carrier(name, "left", "right")? && carrier(name, "right", "left")?);
    Ok(())
}
