//! What this node says of itself: own LSAs with their sequence numbers, pacing, refresh, purge and fight-back.
//!
//! The rest of the node states what *should* be said; this machine decides when an instance is originated. The first
//! change goes at once; then a minimum gap, charged only when something was really sent (check-list 18).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::Timers;
use damc_wire::Timestamp;
use damc_wire::lsa::{LsaContent, LsaId};

/// The last sequence number is for a purge only: after it the LSA rests until its tombstones are gone, then starts anew.
const LAST_SEQUENCE: u64 = u64::MAX;
/// How much longer it rests than its own tombstone stands: others' may have come later.
const REST_AFTER: Duration = Duration::from_secs(1);
/// Fight-backs of one LSA within one hold-down that look like a second node of our identity.
const SUSPICIOUS_FIGHTS: u32 = 4;

#[derive(Debug, Default)]
struct Own {
    /// What should be said; none: nothing (purge what was said).
    desired: Option<LsaContent>,
    /// What was said last by this process.
    said: Option<LsaContent>,
    /// Highest sequence number used by us or seen under our name.
    sequence: u64,
    last_sent: Option<Timestamp>,
    due: Option<Timestamp>,
    refresh_at: Option<Timestamp>,
    /// A newer instance is out there that we did not make.
    outbid: bool,
    fights: u32,
    fights_since: Timestamp,
}

/// An instance to originate now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origination {
    /// Which LSA.
    pub id: LsaId,
    /// Its number.
    pub sequence: u64,
    /// What it says.
    pub content: LsaContent,
}

/// Own LSAs.
#[derive(Debug)]
pub struct Originator {
    gap: Duration,
    refresh: Duration,
    holddown: Duration,
    own: BTreeMap<LsaId, Own>,
    timers: BTreeSet<(Timestamp, LsaId)>,
    fight_backs: u64,
}

impl Originator {
    /// Says nothing yet.
    #[must_use]
    pub fn new(timers: &Timers) -> Self {
        Self {
            gap: Duration::from_millis(timers.lsa_min_origination_ms),
            refresh: Duration::from_millis(timers.lsa_refresh_ms),
            holddown: Duration::from_millis(timers.spf_holddown_ms),
            own: BTreeMap::new(),
            timers: BTreeSet::new(),
            fight_backs: 0,
        }
    }

    /// States what an LSA should say; none to purge it. Nothing happens where it says that already.
    pub fn desire(&mut self, now: Timestamp, id: &LsaId, content: Option<LsaContent>) {
        self.desire_at(now, id, content, now);
    }

    /// The same, to be said at `at`. The first change goes out when it wants to; later ones with it.
    pub fn desire_at(&mut self, now: Timestamp, id: &LsaId, content: Option<LsaContent>, at: Timestamp) {
        if content.is_none() && !self.own.contains_key(id) {
            return;
        }
        let own = self.own.entry(id.clone()).or_default();
        if own.desired == content {
            return;
        }
        own.desired = content;
        self.schedule(now, id, at);
    }

    /// What an LSA should say.
    #[must_use]
    pub fn desired(&self, id: &LsaId) -> Option<&LsaContent> {
        self.own.get(id)?.desired.as_ref()
    }

    /// All LSAs this node has something to say in.
    pub fn ids(&self) -> impl Iterator<Item = &LsaId> {
        self.own.iter().filter(|(_, own)| own.desired.is_some()).map(|(id, _)| id)
    }

    /// An instance under our name came that is newer than what we said: of an earlier life, or of a second node with our
    /// identity. Outbid it, or purge it where we have nothing to say; not before `not_before`. Says whether it happened
    /// suspiciously often.
    pub fn fight_back(&mut self, now: Timestamp, id: &LsaId, sequence: u64, not_before: Timestamp) -> bool {
        let own = self.own.entry(id.clone()).or_default();
        own.sequence = own.sequence.max(sequence);
        own.outbid = true;
        if now.since(own.fights_since) > self.holddown {
            own.fights = 0;
            own.fights_since = now;
        }
        own.fights += 1;
        let suspicious = own.fights > SUSPICIOUS_FIGHTS;
        // Two nodes of one identity must not fill the network with their quarrel.
        let calm = if suspicious { self.gap * (1 << own.fights.min(12)) } else { Duration::ZERO };
        self.fight_backs += 1;
        self.schedule(now, id, not_before.max(now + calm));
        suspicious
    }

    /// A purge under our name with the last number is in the database: nothing is said until it is gone.
    pub fn rest(&mut self, id: &LsaId) {
        let own = self.own.entry(id.clone()).or_default();
        own.sequence = LAST_SEQUENCE;
        own.said = Some(LsaContent::Purge);
        own.outbid = false;
        own.refresh_at = None;
        self.unschedule(id);
    }

    /// A tombstone of ours left the database: nobody has anything of this LSA any more.
    pub fn forget(&mut self, now: Timestamp, id: &LsaId) {
        let Some(own) = self.own.get_mut(id) else { return };
        let rested = std::mem::take(&mut own.sequence) == LAST_SEQUENCE;
        own.said = None;
        own.outbid = false;
        if own.desired.is_some() {
            self.schedule(now, id, if rested { now + REST_AFTER } else { now });
        } else {
            self.unschedule(id);
            self.own.remove(id);
        }
    }

    /// Lets everything be purged at once: the node stops.
    pub fn stop(&mut self, now: Timestamp) {
        let ids: Vec<LsaId> = self.own.keys().cloned().collect();
        for id in ids {
            if let Some(own) = self.own.get_mut(&id) {
                own.desired = None;
                own.last_sent = None;
            }
            self.schedule(now, &id, now);
        }
    }

    /// Instances whose time has come.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Origination> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.timers.first().cloned().filter(|(at, _)| *at <= now) {
            self.unschedule(&id);
            due.extend(self.originate(now, &id));
        }
        due
    }

    /// When [`Self::take_due`] has something.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Times an instance under our name was outbid or purged.
    #[must_use]
    pub const fn fight_backs(&self) -> u64 {
        self.fight_backs
    }

    fn originate(&mut self, now: Timestamp, id: &LsaId) -> Option<Origination> {
        let own = self.own.get_mut(id)?;
        let refresh_due = own.refresh_at.is_some_and(|at| at <= now);
        let wanted = own.desired.clone().or_else(|| (own.sequence > 0).then_some(LsaContent::Purge));
        let Some(mut content) = wanted else {
            self.own.remove(id); // Said nothing, wants to say nothing.
            return None;
        };
        let news = own.said.as_ref() != Some(&content);
        // What has the last number already, and is no purge, only a purge outbids.
        let resting = own.sequence == LAST_SEQUENCE && !own.outbid;
        if resting || !(news || own.outbid || refresh_due) {
            self.schedule_refresh(id);
            return None;
        }
        own.sequence = own.sequence.saturating_add(1);
        if own.sequence == LAST_SEQUENCE {
            content = LsaContent::Purge;
        }
        own.outbid = false;
        own.last_sent = Some(now);
        own.said = Some(content.clone());
        own.refresh_at = (content != LsaContent::Purge).then(|| now + self.refresh);
        let sequence = own.sequence;
        self.schedule_refresh(id);
        Some(Origination { id: id.clone(), sequence, content })
    }

    /// Sets the timer of a change wanted at `at`: not before the gap since the last instance is over.
    fn schedule(&mut self, now: Timestamp, id: &LsaId, at: Timestamp) {
        let Some(own) = self.own.get(id) else { return };
        let allowed = own.last_sent.map_or(now, |sent| sent + self.gap);
        let at = at.max(allowed);
        let is_refresh = own.due.is_some() && own.due == own.refresh_at;
        let at = own.due.filter(|_| !is_refresh).map_or(at, |due| due.min(at));
        self.set_timer(id, at);
    }

    fn schedule_refresh(&mut self, id: &LsaId) {
        if let Some(at) = self.own.get(id).and_then(|own| own.refresh_at) {
            self.set_timer(id, at);
        }
    }

    fn set_timer(&mut self, id: &LsaId, at: Timestamp) {
        self.unschedule(id);
        if let Some(own) = self.own.get_mut(id) {
            own.due = Some(at);
            self.timers.insert((at, id.clone()));
        }
    }

    fn unschedule(&mut self, id: &LsaId) {
        if let Some(at) = self.own.get_mut(id).and_then(|own| own.due.take()) {
            self.timers.remove(&(at, id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use damc_wire::NodeId;
    use damc_wire::lsa::{LinkEntry, TopologyLsa};

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn links(n: u32) -> LsaContent {
        let link = |i: u32| LinkEntry { neighbour: NodeId::new(&format!("n{i}")).unwrap(), cost: 1 };
        LsaContent::Topology(TopologyLsa { links: (0..n).map(link).collect(), ..TopologyLsa::default() })
    }

    const ID: LsaId = LsaId::Topology(0);

    fn machine() -> Originator {
        Originator::new(&Timers::default()) // gap 50 ms, refresh 20 min
    }

    #[test]
    fn checklist_18_first_change_at_once_then_the_gap() {
        let mut m = machine();
        m.desire(at(0), &ID, Some(links(1)));
        assert_eq!(m.take_due(at(0)).len(), 1);
        m.desire(at(1), &ID, Some(links(2)));
        m.desire(at(2), &ID, Some(links(3)));
        assert!(m.take_due(at(49)).is_empty());
        let due = m.take_due(at(50));
        assert_eq!(due, [Origination { id: ID, sequence: 2, content: links(3) }], "one instance for both changes");
        m.desire(at(1000), &ID, Some(links(1)));
        assert_eq!(m.take_due(at(1000)).len(), 1, "long after the last one: at once");
    }

    #[test]
    fn checklist_18_the_gap_is_charged_only_when_something_was_sent() {
        let mut m = machine();
        m.desire(at(0), &ID, Some(links(1)));
        assert_eq!(m.take_due(at(0)).len(), 1);
        m.desire(at(1000), &ID, Some(links(1)));
        assert!(m.take_due(at(1000)).is_empty(), "nothing new");
        m.desire(at(1001), &ID, Some(links(2)));
        assert_eq!(m.take_due(at(1001)).len(), 1, "the empty call at 1000 cost nothing");
        m.desire(at(1010), &ID, Some(links(3)));
        m.desire(at(1020), &ID, Some(links(2)));
        assert!(m.take_due(at(1051)).is_empty(), "changed back before it was due: not sent");
        m.desire(at(1052), &ID, Some(links(4)));
        assert_eq!(m.take_due(at(1052)).len(), 1);
    }

    #[test]
    fn checklist_11_refresh_raises_the_number_and_keeps_the_word() {
        let mut m = machine();
        m.desire(at(0), &ID, Some(links(1)));
        m.take_due(at(0));
        assert_eq!(m.next_timeout(), Some(at(1_200_000)));
        assert_eq!(m.take_due(at(1_200_000)), [Origination { id: ID, sequence: 2, content: links(1) }]);
        assert_eq!(m.next_timeout(), Some(at(2_400_000)));
    }

    #[test]
    fn checklist_10_newer_own_instance_is_outbid_or_purged() {
        let mut m = machine();
        m.desire(at(0), &ID, Some(links(1)));
        m.take_due(at(0));
        assert!(!m.fight_back(at(100), &ID, 57, at(100)));
        assert_eq!(m.take_due(at(100)), [Origination { id: ID, sequence: 58, content: links(1) }]);
        let unknown = LsaId::Topology(7);
        m.fight_back(at(100), &unknown, 9, at(100));
        assert_eq!(m.take_due(at(100)), [Origination { id: unknown, sequence: 10, content: LsaContent::Purge }]);
    }

    #[test]
    fn checklist_10_a_quarrel_of_two_identities_calms_down() {
        let mut m = machine();
        m.desire(at(0), &ID, Some(links(1)));
        let (mut now, mut sent, mut suspicious) = (0, 0, false);
        for round in 1..1000_u64 {
            now += 5;
            suspicious |= m.fight_back(at(now), &ID, round * 2, at(now));
            sent += m.take_due(at(now)).len();
        }
        assert!(suspicious);
        assert!(sent < 40, "{sent} instances in 5 s");
    }

    #[test]
    fn checklist_12_purge_goes_out_under_a_higher_number() {
        let mut m = machine();
        m.desire(at(0), &ID, Some(links(1)));
        m.take_due(at(0));
        m.desire(at(100), &ID, None);
        assert_eq!(m.take_due(at(100)), [Origination { id: ID, sequence: 2, content: LsaContent::Purge }]);
        m.desire(at(200), &ID, Some(links(1)));
        assert_eq!(m.take_due(at(200))[0].sequence, 3, "said again while the tombstone stands");
    }

    #[test]
    fn checklist_09_wrap_purges_then_starts_anew() {
        let mut m = machine();
        m.desire(at(0), &ID, Some(links(1)));
        m.take_due(at(0));
        m.fight_back(at(100), &ID, u64::MAX - 2, at(100));
        assert_eq!(m.take_due(at(100))[0].sequence, u64::MAX - 1);
        m.desire(at(200), &ID, Some(links(2)));
        assert_eq!(m.take_due(at(200)), [Origination { id: ID, sequence: u64::MAX, content: LsaContent::Purge }]);
        m.desire(at(300), &ID, Some(links(3)));
        assert!(m.take_due(at(60_000)).is_empty(), "rests while tombstones stand");
        m.forget(at(60_100), &ID);
        assert!(m.take_due(at(61_099)).is_empty(), "others' tombstones came later than ours");
        assert_eq!(m.take_due(at(61_100)), [Origination { id: ID, sequence: 1, content: links(3) }]);
    }
}
