//! The policies that a node holds: which it accepts and refuses, and when they end (GAP-14, POL-05).
//!
//! Versions rise with everything that an SCSC sends, refreshes included. A repeated frame therefore never prolongs a
//! policy, and a replayed one never restores it.

use std::collections::BTreeMap;

use damc_wire::message::{Policy, PolicyAction};
use damc_wire::{DropReason, NodeId, Timestamp};

/// Most policies that a node holds.
const HELD_LIMIT: usize = 4096;
/// Most labels whose last version is remembered after their policy ended.
const ENDED_LIMIT: usize = 4096;

/// A policy that was accepted and has not ended.
#[derive(Clone, Debug)]
pub struct Held {
    /// The policy as last received.
    pub policy: Policy,
    /// Time at which it ends unless refreshed.
    pub expires_at: Timestamp,
    /// In force, as of the last look: its next hop, if it needs one, is a full neighbour.
    pub active: bool,
}

/// Outcome of a received policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// New or changed: put it into force. If it replaces another label as ingress of this prefix, that one is out of
    /// force.
    Install {
        /// Label to remove.
        superseded: Option<u32>,
    },
    /// Prolonged; nothing else changed.
    Refreshed,
    /// The label is out of force.
    Removed {
        /// It was held.
        held: bool,
    },
    /// Known already; acknowledge again.
    Duplicate,
    /// Not accepted.
    Refused(DropReason),
}

/// Last version of a label whose policy ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    version: u64,
    /// Whether it ended by time, not by a withdrawal.
    expired: bool,
}

/// All policies of one node.
#[derive(Debug)]
pub struct Policies {
    node: NodeId,
    held: BTreeMap<u32, Held>,
    ended: BTreeMap<u32, Ended>,
}

impl Policies {
    /// No policies.
    #[must_use]
    pub const fn new(node: NodeId) -> Self {
        Self { node, held: BTreeMap::new(), ended: BTreeMap::new() }
    }

    /// Handles a policy whose signature and sender have been checked.
    pub fn take(&mut self, now: Timestamp, policy: &Policy) -> Outcome {
        if let Some(outcome) = self.refusal_or_duplicate(policy) {
            return outcome;
        }
        let label = policy.label;
        if policy.action == PolicyAction::Withdrawn {
            let held = self.held.remove(&label).is_some();
            self.end(label, policy.version, false);
            return Outcome::Removed { held };
        }
        let superseded = match self.other_ingress(policy) {
            Some((_, version)) if version > policy.version => return Outcome::Refused(DropReason::StalePolicy),
            other => other,
        };
        if let Some((old, version)) = superseded {
            self.held.remove(&old);
            self.end(old, version, false);
        }
        self.ended.remove(&label);
        let active = self.held.get(&label).is_some_and(|known| known.active);
        let held = Held { policy: policy.clone(), expires_at: now + policy.expires_in.duration(), active };
        match self.held.insert(label, held) {
            Some(before) if before.policy.action == policy.action => Outcome::Refreshed,
            _ => Outcome::Install { superseded: superseded.map(|(label, _)| label) },
        }
    }

    fn refusal_or_duplicate(&self, policy: &Policy) -> Option<Outcome> {
        let refused = |reason| Some(Outcome::Refused(reason));
        let is_ingress = matches!(policy.action, PolicyAction::Ingress { .. });
        if policy.recipient != self.node || (is_ingress && policy.source != self.node) || policy.label == 0 {
            return refused(DropReason::Malformed);
        }
        if let Some(held) = self.held.get(&policy.label) {
            let known = &held.policy;
            return match policy.version.cmp(&known.version) {
                core::cmp::Ordering::Less => refused(DropReason::StalePolicy),
                // A label identifies one path of one source; another path needs another label.
                _ if (&known.source, &known.prefix) != (&policy.source, &policy.prefix) => {
                    refused(DropReason::DuplicateIdentity)
                }
                core::cmp::Ordering::Equal => Some(Outcome::Duplicate),
                core::cmp::Ordering::Greater => None,
            };
        }
        match self.ended.get(&policy.label) {
            Some(ended) if policy.version < ended.version => refused(DropReason::StalePolicy),
            Some(ended) if policy.version == ended.version && ended.expired => refused(DropReason::PolicyExpired),
            Some(ended) if policy.version == ended.version => Some(Outcome::Duplicate),
            _ if policy.action == PolicyAction::Withdrawn => None,
            _ if policy.expires_in.0 == 0 => refused(DropReason::PolicyExpired),
            _ if self.held.len() >= HELD_LIMIT => refused(DropReason::ResourceLimit),
            _ => None,
        }
    }

    /// Label and version of the policy that this one replaces: a prefix has one ingress policy.
    fn other_ingress(&self, policy: &Policy) -> Option<(u32, u64)> {
        let is_ingress = |p: &Policy| matches!(p.action, PolicyAction::Ingress { .. });
        let same = |p: &&Policy| is_ingress(p) && p.prefix == policy.prefix && p.label != policy.label;
        let other = self.held.values().map(|h| &h.policy).find(same).filter(|_| is_ingress(policy))?;
        Some((other.label, other.version))
    }

    /// Ends expired policies and returns them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Policy> {
        let over: Vec<u32> = self.held.iter().filter(|(_, h)| now >= h.expires_at).map(|(label, _)| *label).collect();
        let mut ended = Vec::with_capacity(over.len());
        for label in over {
            if let Some(held) = self.held.remove(&label) {
                self.end(label, held.policy.version, true);
                ended.push(held.policy);
            }
        }
        ended
    }

    fn end(&mut self, label: u32, version: u64, expired: bool) {
        if self.ended.len() >= ENDED_LIMIT
            && let Some(oldest) = self.ended.iter().min_by_key(|(_, e)| e.version).map(|(label, _)| *label)
        {
            self.ended.remove(&oldest);
        }
        self.ended.insert(label, Ended { version, expired });
    }

    /// Time at which [`Self::expire`] has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.held.values().map(|h| h.expires_at).min()
    }

    /// Notes whether a held policy is in force.
    pub fn set_active(&mut self, label: u32, active: bool) {
        if let Some(held) = self.held.get_mut(&label) {
            held.active = active;
        }
    }

    /// The held policy of a label.
    #[must_use]
    pub fn get(&self, label: u32) -> Option<&Held> {
        self.held.get(&label)
    }

    /// Looks whether held policies are in force; returns those that came into force or fell out of it, as they are now.
    pub fn watch(&mut self, in_force: impl Fn(&Policy) -> bool) -> Vec<Held> {
        let mut changed = Vec::new();
        for held in self.held.values_mut() {
            let active = in_force(&held.policy);
            if core::mem::replace(&mut held.active, active) != active {
                changed.push(held.clone());
            }
        }
        changed
    }

    /// Policies held, by label.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use damc_wire::Millis;

    fn id(s: &str) -> NodeId {
        NodeId::new(s).unwrap()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn policy(label: u32, version: u64, action: PolicyAction) -> Policy {
        Policy {
            label,
            version,
            recipient: id("sg-1"),
            source: id("sg-1"),
            prefix: "/B/4".parse().unwrap(),
            action,
            expires_in: Millis(6000),
        }
    }

    fn ingress() -> PolicyAction {
        PolicyAction::Ingress { next_hop: id("sr-left") }
    }

    const INSTALL: Outcome = Outcome::Install { superseded: None };

    #[test]
    fn pol_05_older_versions_are_refused_and_duplicates_prolong_nothing() {
        let mut p = Policies::new(id("sg-1"));
        assert_eq!(p.take(at(0), &policy(7, 5, ingress())), INSTALL);
        assert_eq!(p.take(at(1), &policy(7, 4, ingress())), Outcome::Refused(DropReason::StalePolicy));
        assert_eq!(p.take(at(5000), &policy(7, 5, ingress())), Outcome::Duplicate);
        assert_eq!(p.next_expiry(), Some(at(6000)));
        assert_eq!(p.take(at(5000), &policy(7, 6, ingress())), Outcome::Refreshed);
        assert_eq!(p.next_expiry(), Some(at(11_000)));
        let elsewhere = PolicyAction::Ingress { next_hop: id("sr-right") };
        assert_eq!(p.take(at(5000), &policy(7, 7, elsewhere)), INSTALL);
    }

    #[test]
    fn gap_14_a_policy_ends_by_time_and_no_recorded_frame_brings_it_back() {
        let mut p = Policies::new(id("sg-1"));
        p.take(at(0), &policy(7, 5, ingress()));
        assert_eq!(p.expire(at(5999)), []);
        assert_eq!(p.expire(at(6000)).len(), 1);
        assert_eq!(p.take(at(6001), &policy(7, 5, ingress())), Outcome::Refused(DropReason::PolicyExpired));
        assert_eq!(p.take(at(6001), &policy(7, 4, ingress())), Outcome::Refused(DropReason::StalePolicy));
        assert_eq!(p.take(at(6001), &policy(7, 6, ingress())), INSTALL);
        let dead = Policy { expires_in: Millis(0), ..policy(8, 9, ingress()) };
        assert_eq!(p.take(at(6001), &dead), Outcome::Refused(DropReason::PolicyExpired));
    }

    #[test]
    fn withdrawal_removes_and_is_acknowledged_again_when_repeated() {
        let mut p = Policies::new(id("sg-1"));
        p.take(at(0), &policy(7, 5, ingress()));
        assert_eq!(p.take(at(1), &policy(7, 6, PolicyAction::Withdrawn)), Outcome::Removed { held: true });
        assert_eq!(p.take(at(2), &policy(7, 6, PolicyAction::Withdrawn)), Outcome::Duplicate);
        assert_eq!(p.take(at(2), &policy(7, 5, ingress())), Outcome::Refused(DropReason::StalePolicy));
        assert_eq!(p.iter().count(), 0);
        let unknown = p.take(at(2), &policy(8, 6, PolicyAction::Withdrawn));
        assert_eq!(unknown, Outcome::Removed { held: false }, "never known: fine");
    }

    #[test]
    fn one_prefix_has_one_ingress_and_one_label_one_owner() {
        let mut p = Policies::new(id("sg-1"));
        p.take(at(0), &policy(7, 5, ingress()));
        assert_eq!(p.take(at(1), &policy(8, 4, ingress())), Outcome::Refused(DropReason::StalePolicy));
        assert_eq!(p.take(at(1), &policy(8, 6, ingress())), Outcome::Install { superseded: Some(7) });
        assert_eq!(p.take(at(2), &policy(7, 7, PolicyAction::Withdrawn)), Outcome::Removed { held: false });
        assert_eq!(p.iter().count(), 1);
        let stranger = Policy { prefix: "/A/1".parse().unwrap(), ..policy(8, 9, ingress()) };
        assert_eq!(p.take(at(2), &stranger), Outcome::Refused(DropReason::DuplicateIdentity));
    }

    #[test]
    fn a_refresh_leaves_a_policy_in_force_and_changes_are_told_once() {
        let mut p = Policies::new(id("sg-1"));
        p.take(at(0), &policy(7, 5, ingress()));
        assert!(!p.get(7).unwrap().active, "not before somebody has looked");
        let told: Vec<_> = p.watch(|_| true).iter().map(|held| (held.policy.label, held.active)).collect();
        assert_eq!(told, [(7, true)]);
        assert!(p.watch(|_| true).is_empty());
        assert_eq!(p.take(at(1), &policy(7, 6, ingress())), Outcome::Refreshed);
        assert!(p.get(7).unwrap().active);
        assert_eq!(p.watch(|_| false).len(), 1);
        assert!(!p.get(7).unwrap().active);
    }

    #[test]
    fn policies_for_others_are_refused() {
        let mut p = Policies::new(id("sg-1"));
        let other = Policy { recipient: id("sg-2"), ..policy(7, 1, ingress()) };
        assert_eq!(p.take(at(0), &other), Outcome::Refused(DropReason::Malformed));
        let foreign = Policy { source: id("sg-2"), ..policy(7, 1, ingress()) };
        assert_eq!(p.take(at(0), &foreign), Outcome::Refused(DropReason::Malformed), "ingress of another SG's traffic");
        let transit = Policy { source: id("sg-2"), ..policy(7, 1, PolicyAction::Transit { next_hop: id("x") }) };
        assert_eq!(p.take(at(0), &transit), INSTALL);
    }
}
