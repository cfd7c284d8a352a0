//! Looks at a lab and listens to its nodes.

use std::ops::Range;
use std::time::Duration;

use damc_lab::Lab;
use damc_lab::control::NodeState;
use damc_lab::error::{LabError, Result};
use damc_lab::management::Management;
use damc_mgmt::event::Event;
use damc_mgmt::view::{CountersView, NeighborsView, PoliciesView};
use damc_top::{Look, NodeLook};
use damc_wire::Role;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long a node may take to answer: one that hangs must not hold up the view.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Pause before a node whose events ended is asked again.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);
/// Nodes that are asked at the same time.
const AT_ONCE: usize = 32;
/// Events that wait for the view; nodes wait when there are more.
const WAITING: usize = 4096;

/// Looks at a lab, its nodes, and the links of these numbers.
///
/// # Errors
/// The lab is gone. A node that does not answer is not in the look.
pub(super) async fn look(lab: &Lab, wanted: Range<usize>) -> Result<Look> {
    let status = lab.status().await?;
    let mut look = Look {
        at_ns: now_ns(),
        nodes: Default::default(),
        links: Default::default(),
        policies: Vec::new(),
        violated: Vec::new(),
        status,
    };
    for link in look.status.links.iter().skip(wanted.start).take(wanted.len()) {
        if let Ok(found) = lab.link_status(&link.a, &link.b).await {
            look.links.insert((link.a.clone(), link.b.clone()), found);
        }
    }
    let ready = look.status.nodes.iter().filter(|node| node.state == NodeState::Ready);
    let ready: Vec<_> = ready.filter_map(|node| Some((node.name.clone(), lab.management(&node.name).ok()?))).collect();
    for some in ready.chunks(AT_ONCE) {
        let mut asked = JoinSet::new();
        for (name, management) in some.iter().cloned() {
            asked.spawn(async move { (name, ask(&management).await) });
        }
        look.nodes.extend(asked.join_all().await);
    }
    for node in look.status.nodes.iter().filter(|node| node.kind == Role::Scsc.label()) {
        let shown = timeout(ANSWER_WITHIN, lab.show::<PoliciesView>(&node.name)).await;
        if let Ok(Ok(shown)) = shown {
            look.policies.extend(shown.policies);
            look.violated.extend(shown.paths.into_iter().filter(|path| !path.violated.is_empty()));
        }
    }
    Ok(look)
}

async fn ask(management: &Management) -> NodeLook {
    let neighbors = timeout(ANSWER_WITHIN, management.get::<NeighborsView>("/neighbors")).await;
    let counters = timeout(ANSWER_WITHIN, management.get::<CountersView>("/counters")).await;
    NodeLook { neighbors: neighbors.ok().and_then(Result::ok), counters: counters.ok().and_then(Result::ok) }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// Events of all nodes as they come, those that nodes remember first. Nodes that end are listened to again when they are back;
/// a node may tell the same event twice then. Nobody listens any more when the receiver is gone.
pub(super) fn events(lab: &Lab) -> mpsc::Receiver<(String, Event)> {
    let (sender, receiver) = mpsc::channel(WAITING);
    for node in lab.nodes() {
        if let Ok(management) = lab.management(node) {
            tokio::spawn(listen(node.to_owned(), management, sender.clone()));
        }
    }
    receiver
}

async fn listen(node: String, management: Management, to: mpsc::Sender<(String, Event)>) {
    while !to.is_closed() {
        match management.events().await {
            Ok(mut events) => {
                while let Ok(Some(event)) = events.next().await {
                    if to.send((node.clone(), event)).await.is_err() {
                        return;
                    }
                }
            }
            Err(LabError::NotOffered { .. }) => return,
            Err(_) => {}
        }
        sleep(LISTEN_AGAIN).await;
    }
}
