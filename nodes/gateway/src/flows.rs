//! Running flows: the instance each goes to, and the numbers for a reset. The table is bounded, whatever pods send.

use core::cmp::Reverse;
use core::hash::Hasher as _;

use damc_wire::Name;
use etherparse::{IpNumber, TcpSlice};
use siphasher::sip::SipHasher13;

use crate::packet::FlowKey;

/// Most flows remembered at one time.
pub const FLOW_LIMIT: usize = SETS * WAYS;
const SETS: usize = 4096;
/// Most flows in a set. In a full set a new flow replaces one that has ended, or else, of the pod that has most of the set,
/// the one silent longest: whoever begins flows without end pushes out its own. Sets are so large that at a sixth of the
/// table's capacity no set is ever full of running flows.
const WAYS: usize = 16;
/// In a set with this many flows, a new one first removes those that are over.
const TIDY: usize = WAYS / 4;

const SECOND: u64 = 1_000_000_000;
/// A TCP connection is forgotten after this silence, ns.
const TCP_SILENCE: u64 = 3600 * SECOND;
/// Any other flow is forgotten after this silence, ns.
const OTHER_SILENCE: u64 = 60 * SECOND;
/// A connection that both sides have closed is forgotten after this silence, ns. Until then late segments find their
/// instance.
const CLOSED_SILENCE: u64 = 10 * SECOND;

/// A running flow, seen from the pod.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) port: u16,
    pub(crate) key: FlowKey,
    /// The instance at the other end.
    pub(crate) instance: Name,
    last_ns: u64,
    /// TCP: the sequence number the pod expects next.
    pub(crate) expects: u32,
    /// TCP: the sequence number the other end expects next, as far as it has told.
    pub(crate) expected: u32,
    finished: [bool; 2],
    /// Its instance is unreachable now and may come back.
    lost: bool,
    /// Since when, ns, its packets have been refused without one from the other end.
    refused_ns: Option<u64>,
}

/// How the other end of a flow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// There is a route to it.
    Lives,
    /// There is none, and there may be one again.
    Lost,
    /// It is gone.
    Gone,
}

/// Counts of the flow table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Flows remembered now.
    pub flows: u64,
    /// Flows begun so far.
    pub begun: u64,
    /// Running flows that others replaced.
    pub evicted: u64,
    /// Connections that were reset because their other end was gone.
    pub reset: u64,
}

/// The flows of a gateway.
#[derive(Debug)]
pub(crate) struct Flows {
    key: (u64, u64),
    sets: Vec<Vec<Flow>>,
    pub(crate) counts: FlowCounts,
}

impl Flow {
    const fn is_tcp(&self) -> bool {
        self.key.protocol == IpNumber::TCP.0
    }

    const fn is_over(&self, now_ns: u64) -> bool {
        let silence = match (self.is_tcp(), self.finished) {
            (true, [true, true]) => CLOSED_SILENCE,
            (true, _) => TCP_SILENCE,
            (false, _) => OTHER_SILENCE,
        };
        now_ns.saturating_sub(self.last_ns) >= silence
    }
}

impl Flows {
    /// An empty table. `key` must be random, so that no pod can aim at one set.
    pub(crate) fn new(key: (u64, u64)) -> Self {
        Self { key, sets: vec![Vec::new(); SETS], counts: FlowCounts::default() }
    }

    /// A hash of a flow: the same for all its packets.
    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write(&key.source.octets());
        hasher.write(&key.destination.octets());
        hasher.write(&[key.protocol]);
        hasher.write_u16(key.source_port);
        hasher.write_u16(key.destination_port);
        hasher.finish()
    }

    /// The instance of the running flow to which a packet of the pod belongs. `segment` is its TCP segment, if it has
    /// one.
    pub(crate) fn sent(
        &mut self,
        now_ns: u64,
        (port, hash): (u16, u64),
        key: &FlowKey,
        segment: Option<&TcpSlice<'_>>,
    ) -> Option<&Name> {
        let set = &mut self.sets[set_of(hash)];
        let at = set.iter().position(|flow| flow.port == port && flow.key == *key)?;
        let flow = &mut set[at];
        // The pod uses a port again: the earlier connection has ended.
        let anew = flow.finished != [false; 2] && segment.is_some_and(|s| s.syn() && !s.ack());
        if anew || flow.is_over(now_ns) {
            set.swap_remove(at);
            self.counts.flows -= 1;
            return None;
        }
        let flow = &mut set[at];
        flow.last_ns = now_ns;
        if let Some(segment) = segment {
            flow.finished[0] |= segment.fin();
            if segment.rst() {
                flow.finished = [true; 2];
            }
            if segment.ack() {
                flow.expects = segment.acknowledgment_number();
            }
        }
        Some(&flow.instance)
    }

    /// Records a packet to the pod. `key` is the flow seen from the pod.
    pub(crate) fn delivered(
        &mut self,
        now_ns: u64,
        port: u16,
        key: &FlowKey,
        instance: &[u8],
        segment: Option<&TcpSlice<'_>>,
    ) {
        let hash = self.hash(key);
        let set = &mut self.sets[set_of(hash)];
        let found = set.iter().position(|flow| flow.port == port && flow.key == *key);
        if segment.is_some_and(TcpSlice::rst) {
            if let Some(at) = found {
                set.swap_remove(at);
                self.counts.flows -= 1;
            }
            return;
        }
        let at = match found {
            Some(at) => at,
            None => {
                let Ok(instance) = Name::from_wire(instance) else { return };
                if set.len() >= TIDY {
                    tidy(set, now_ns, &mut self.counts);
                }
                if set.len() >= WAYS {
                    evict(set, port, &mut self.counts);
                }
                self.counts.begun += 1;
                self.counts.flows += 1;
                let (expects, expected, finished, lost, refused_ns) = (0, 0, [false; 2], false, None);
                let last_ns = now_ns;
                set.push(Flow { port, key: *key, instance, last_ns, expects, expected, finished, lost, refused_ns });
                set.len() - 1
            }
        };
        let flow = &mut set[at];
        flow.last_ns = now_ns;
        flow.refused_ns = None;
        let begins = segment.is_some_and(TcpSlice::syn);
        // Instances do not change within a flow, but a new connection on old ports is a new flow.
        if flow.instance.wire() != instance && (begins || segment.is_none()) {
            let Ok(instance) = Name::from_wire(instance) else { return };
            flow.instance = instance;
        }
        if let Some(segment) = segment {
            if begins {
                flow.finished = [false; 2];
            }
            flow.finished[1] |= segment.fin();
            if segment.ack() {
                flow.expected = segment.acknowledgment_number();
            }
            let length = segment.payload().len() + usize::from(segment.syn()) + usize::from(segment.fin());
            let after = segment.sequence_number().wrapping_add(u32::try_from(length).unwrap_or(0));
            // Only forwards: a segment that was retransmitted or overtaken is behind what the pod expects.
            if begins || after.wrapping_sub(flow.expects).cast_signed() > 0 {
                flow.expects = after;
            }
        }
    }

    /// Forgets flows whose other end is gone, and calls `each` with the TCP connections among them, and with those whose
    /// other end was lost and is back.
    pub(crate) fn sweep(
        &mut self,
        now_ns: u64,
        mut fate: impl FnMut(&Name) -> Fate,
        mut each: impl FnMut(&Flow, Fate),
    ) {
        let counts = &mut self.counts;
        for set in &mut self.sets {
            set.retain_mut(|flow| {
                if flow.is_over(now_ns) {
                    counts.flows -= 1;
                    return false;
                }
                let (runs, fate) = (flow.is_tcp() && flow.finished != [true; 2], fate(&flow.instance));
                let was_lost = std::mem::replace(&mut flow.lost, fate == Fate::Lost);
                if fate == Fate::Gone {
                    counts.flows -= 1;
                    counts.reset += u64::from(runs);
                }
                if runs && (fate == Fate::Gone || (fate == Fate::Lives && was_lost)) {
                    each(flow, fate);
                }
                fate != Fate::Gone
            });
        }
    }

    /// The instance of a flow of the pod behind `port`, and since when, ns, its packets have been refused: from `now_ns`
    /// on if this is the first one.
    pub(crate) fn refused(&mut self, now_ns: u64, port: u16, key: &FlowKey) -> Option<(&Name, u64)> {
        let hash = self.hash(key);
        let flow = self.sets[set_of(hash)].iter_mut().find(|flow| flow.port == port && flow.key == *key)?;
        Some((&flow.instance, *flow.refused_ns.get_or_insert(now_ns)))
    }

    /// Forgets one flow; returns it if it was a running connection.
    pub(crate) fn forget(&mut self, port: u16, key: &FlowKey) -> Option<Flow> {
        let hash = self.hash(key);
        let set = &mut self.sets[set_of(hash)];
        let at = set.iter().position(|flow| flow.port == port && flow.key == *key)?;
        self.counts.flows -= 1;
        Some(set.swap_remove(at)).filter(|flow| flow.is_tcp() && flow.finished != [true; 2])
    }
}

/// Removes flows that are over.
fn tidy(set: &mut Vec<Flow>, now_ns: u64, counts: &mut FlowCounts) {
    let before = set.len();
    set.retain(|flow| !flow.is_over(now_ns));
    counts.flows -= (before - set.len()) as u64;
}

/// Makes room in a full set for a flow of the pod behind `port`: flows that have ended go first, then, of the pod that would
/// have most of them, the one silent longest.
fn evict(set: &mut Vec<Flow>, port: u16, counts: &mut FlowCounts) {
    let held = |of: u16| set.iter().filter(|flow| flow.port == of).count() + usize::from(of == port);
    let rank = |flow: &Flow| (flow.finished != [true; 2], Reverse(held(flow.port)), flow.last_ns);
    let oldest = set.iter().enumerate().min_by_key(|(_, flow)| rank(flow));
    if let Some(at) = oldest.map(|(at, _)| at) {
        counts.evicted += u64::from(set.swap_remove(at).finished != [true; 2]);
        counts.flows -= 1;
    }
}

const fn set_of(hash: u64) -> usize {
    (hash >> 32) as usize % SETS
}
