//! Announcements that came beside the adjacency and wait for their outcome. Each ends: with the reply, with its pod's
//! adjacency, or when its time is over.

use core::time::Duration;
use std::collections::BTreeMap;

use damc_wire::Timestamp;

use crate::io::PortId;

/// Most of them that wait for one pod, and for all pods together.
const PER_POD: usize = 64;
const IN_ALL: usize = 1024;
/// How long one waits. The SPA is asked on after that; nobody is told any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// One that waits.
#[derive(Debug)]
struct Waiting {
    handle: u64,
    until: Timestamp,
}

/// Those of an SG, by port of the pod and request number.
#[derive(Debug, Default)]
pub(super) struct Asked {
    waiting: BTreeMap<(PortId, u64), Waiting>,
}

impl Asked {
    /// Whether one more of the pod behind `port` may wait.
    pub(super) fn has_room(&self, port: PortId) -> bool {
        self.waiting.len() < IN_ALL && self.of(port).count() < PER_POD
    }

    /// Waits for the outcome of a request. Returns the handle of an equal request that waits already: there is one outcome
    /// only.
    pub(super) fn insert(&mut self, now: Timestamp, port: PortId, request: u64, handle: u64) -> Option<u64> {
        let waiting = Waiting { handle, until: now + PATIENCE };
        self.waiting.insert((port, request), waiting).map(|former| former.handle)
    }

    /// There is an outcome: the handle, if anybody waits still.
    pub(super) fn take(&mut self, port: PortId, request: u64) -> Option<u64> {
        self.waiting.remove(&(port, request)).map(|waiting| waiting.handle)
    }

    /// The adjacency of a port is gone, and with it what its pod announced.
    pub(super) fn take_all_of(&mut self, port: PortId) -> Vec<u64> {
        let of_port: Vec<u64> = self.of(port).collect();
        of_port.into_iter().filter_map(|request| self.take(port, request)).collect()
    }

    /// Those whose time is over.
    pub(super) fn take_late(&mut self, now: Timestamp) -> Vec<u64> {
        let mut late = Vec::new();
        self.waiting.retain(|_, waiting| {
            let is_late = waiting.until <= now;
            if is_late {
                late.push(waiting.handle);
            }
            !is_late
        });
        late
    }

    /// When [`Self::take_late`] has one.
    pub(super) fn next_timeout(&self) -> Option<Timestamp> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    /// Requests that wait for the pod behind a port.
    fn of(&self, port: PortId) -> impl Iterator<Item = u64> {
        self.waiting.range((port, 0)..=(port, u64::MAX)).map(|((_, request), _)| *request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: PortId = PortId(3);

    #[test]
    fn one_pod_leaves_room_for_others() {
        let mut asked = Asked::default();
        let now = Timestamp::ZERO;
        for request in 0..PER_POD as u64 {
            assert!(asked.has_room(POD));
            assert_eq!(asked.insert(now, POD, request, request), None);
        }
        assert!(!asked.has_room(POD) && asked.has_room(PortId(4)));
        assert_eq!(asked.take(POD, 7), Some(7));
        assert!(asked.has_room(POD));
        for port in 4..(4 + IN_ALL / PER_POD) {
            for request in 0..PER_POD as u64 {
                asked.insert(now, PortId(u16::try_from(port).unwrap()), request, 0);
            }
        }
        assert!(!asked.has_room(PortId(2)), "all together");
    }

    #[test]
    fn each_ends_once() {
        let mut asked = Asked::default();
        let at = Timestamp::from_millis;
        asked.insert(at(0), POD, 1, 11);
        asked.insert(at(1000), POD, 2, 12);
        assert_eq!(asked.insert(at(1000), POD, 2, 13), Some(12), "the same request again");
        asked.insert(at(1000), PortId(4), 2, 14);
        assert_eq!((asked.next_timeout(), asked.take_late(at(9999))), (Some(at(10_000)), vec![]));
        assert_eq!(asked.take_late(at(10_000)), [11]);
        assert_eq!(asked.take_all_of(POD), [13]);
        assert_eq!((asked.take(POD, 1), asked.take(POD, 2), asked.take(PortId(4), 2)), (None, None, Some(14)));
        assert_eq!(asked.next_timeout(), None);
    }
}
