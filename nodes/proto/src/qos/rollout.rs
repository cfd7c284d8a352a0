//! Rollout of a policy to its recipients: in stages, acknowledged, repeated, refreshed, withdrawn (POL-02, POL-05).
//!
//! The ingress is told when all other nodes of the path have acknowledged, so that labelled traffic never meets a node
//! that does not know its label. Nodes that traffic leaves are told last. A withdrawal starts with the ingress. A label
//! belongs to one path for good: traffic that moves on gets a new label, and the old one is withdrawn when the new one
//! is in force.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::Timers;
use damc_wire::message::{Policy, PolicyAction};
use damc_wire::{DropReason, Millis, Name, NodeId, Timestamp};

/// Stage in which the ingress is told; all other nodes of the path are told in the stage before.
const INGRESS_STAGE: usize = 1;

/// State of a policy at one recipient.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Its part in the policy.
    pub action: PolicyAction,
    /// Version that was sent to it last.
    pub version: u64,
    /// Whether it acknowledged that version.
    pub acknowledged: bool,
    /// Reason if it refused that version.
    pub refusal: Option<DropReason>,
    /// Time at which its policy ends without refresh; `None` before the first acknowledgement.
    pub expires_at: Option<Timestamp>,
    stage: usize,
    sent_at: Option<Timestamp>,
    attempts: u32,
}

/// Progress of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Acknowledgements are missing.
    Running,
    /// The whole path has acknowledged; for a withdrawal, all reachable nodes.
    Done,
    /// A recipient refused, or stayed silent for half a lifetime.
    Failed(Option<DropReason>),
}

/// Rollout of the policy of one label to all its recipients.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// Label.
    pub label: u32,
    /// Source SG.
    pub source: NodeId,
    /// Service or pool.
    pub prefix: Name,
    /// Recipients.
    pub recipients: BTreeMap<NodeId, Recipient>,
    /// Whether the policy is being withdrawn.
    pub withdrawn: bool,
    lifetime: Duration,
    first_retransmit: Duration,
    max_retransmit: Duration,
    started: Timestamp,
}

impl Rollout {
    /// Rollout of a policy that sends the traffic of `path`'s first node to `prefix` along `path`. `left` are the nodes
    /// that traffic leaves.
    #[must_use]
    pub fn new(
        now: Timestamp,
        (label, version): (u32, u64),
        prefix: Name,
        (path, left): (&[NodeId], &BTreeSet<NodeId>),
        timers: &Timers,
    ) -> Option<Self> {
        let mut rollout = Self {
            label,
            source: path.first()?.clone(),
            prefix,
            recipients: BTreeMap::new(),
            withdrawn: false,
            lifetime: Duration::from_millis(timers.policy_lifetime_ms),
            first_retransmit: Duration::from_millis(timers.retransmit_ms.max(1)),
            max_retransmit: Duration::from_millis(timers.retransmit_max_ms.max(timers.retransmit_ms.max(1))),
            started: now,
        };
        rollout.install(version, path, left);
        Some(rollout)
    }

    /// Installs `path`; `left` are the nodes of the path that traffic leaves.
    fn install(&mut self, version: u64, path: &[NodeId], left: &BTreeSet<NodeId>) {
        for (i, node) in path.iter().enumerate() {
            let action = match path.get(i + 1) {
                None => PolicyAction::Egress,
                Some(hop) if i == 0 => PolicyAction::Ingress { next_hop: hop.clone() },
                Some(hop) => PolicyAction::Transit { next_hop: hop.clone() },
            };
            // There is no labelled traffic before the ingress labels it: all other nodes can be told at the same time.
            let stage = if i == 0 { INGRESS_STAGE } else { 0 };
            self.recipients.insert(node.clone(), Recipient::due(action, version, stage));
        }
        for node in left {
            let told = || Recipient::due(PolicyAction::Released, version, INGRESS_STAGE + 1);
            self.recipients.entry(node.clone()).or_insert_with(told);
        }
    }

    /// Prolongs the policy at the nodes of its path.
    pub fn refresh(&mut self, now: Timestamp, version: u64) {
        for recipient in self.recipients.values_mut().filter(|r| r.is_on_path()) {
            let expires_at = recipient.expires_at;
            *recipient = Recipient { expires_at, ..Recipient::due(recipient.action.clone(), version, 0) };
        }
        self.started = now;
    }

    /// Ends the policy: the ingress stops labelling first.
    pub fn withdraw(&mut self, now: Timestamp, version: u64) {
        self.recipients.retain(|_, r| r.is_on_path());
        for recipient in self.recipients.values_mut() {
            let stage = usize::from(!matches!(recipient.action, PolicyAction::Ingress { .. }));
            let expires_at = recipient.expires_at;
            *recipient = Recipient { expires_at, ..Recipient::due(PolicyAction::Withdrawn, version, stage) };
        }
        self.withdrawn = true;
        self.started = now;
    }

    /// Policies to send now. Unreachable nodes are skipped.
    pub fn poll_transmit(&mut self, now: Timestamp, reachable: impl Fn(&NodeId) -> bool) -> Vec<Policy> {
        let Some(stage) = self.stage(&reachable) else { return Vec::new() };
        let (label, source, prefix) = (self.label, self.source.clone(), self.prefix.clone());
        let expires_in = Millis(u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX));
        let (first, max) = (self.first_retransmit, self.max_retransmit);
        let mut send = Vec::new();
        for (node, r) in &mut self.recipients {
            let due = r.due_at(first, max).is_none_or(|due| now >= due);
            if r.stage != stage || r.is_settled() || !due || !reachable(node) {
                continue;
            }
            r.attempts += u32::from(r.sent_at.is_some());
            r.sent_at = Some(now);
            let (recipient, source, prefix) = (node.clone(), source.clone(), prefix.clone());
            let (version, action) = (r.version, r.action.clone());
            send.push(Policy { label, version, recipient, source, prefix, action, expires_in });
        }
        send
    }

    /// The lowest stage with missing acknowledgements: of all nodes of the path for an installation, otherwise of
    /// reachable nodes only.
    fn stage(&self, reachable: &impl Fn(&NodeId) -> bool) -> Option<usize> {
        let awaited = |node: &NodeId, r: &Recipient| !r.is_settled() && (r.is_on_path() || reachable(node));
        self.recipients.iter().filter(|(node, r)| awaited(node, r)).map(|(_, r)| r.stage).min()
    }

    /// Handles an acknowledgement or refusal; returns false if it is not awaited. Further ones of the same version,
    /// caused by repetitions, change nothing.
    pub fn on_ack(&mut self, now: Timestamp, node: &NodeId, version: u64, refusal: Option<DropReason>) -> bool {
        let Some(r) = self.recipients.get_mut(node).filter(|r| r.version == version) else { return false };
        if r.is_settled() {
            return true;
        }
        r.acknowledged = refusal.is_none();
        r.refusal = refusal;
        if refusal.is_none() {
            r.expires_at = Some(now + self.lifetime);
        }
        true
    }

    /// The progress of the rollout.
    pub fn progress(&self, now: Timestamp, reachable: impl Fn(&NodeId) -> bool) -> Progress {
        if let Some(reason) = self.recipients.values().find_map(|r| r.refusal) {
            return Progress::Failed(Some(reason));
        }
        match self.stage(&reachable) {
            None => Progress::Done,
            Some(_) if now.since(self.started) > self.lifetime / 2 => Progress::Failed(None),
            Some(_) => Progress::Running,
        }
    }

    /// Time at which a refresh is due: a third of the lifetime after the last one.
    #[must_use]
    pub fn refresh_at(&self) -> Timestamp {
        self.started + self.lifetime / 3
    }

    /// Whether no node can hold this policy any more.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.started) > self.lifetime
            && self.recipients.values().all(|r| r.expires_at.is_none_or(|e| now >= e))
    }

    /// Time at which [`Self::poll_transmit`] or [`Self::progress`] changes without an acknowledgement.
    #[must_use]
    pub fn next_timeout(&self) -> Timestamp {
        let open = self.recipients.values().filter(|r| !r.is_settled());
        let resend = open.filter_map(|r| r.due_at(self.first_retransmit, self.max_retransmit)).min();
        resend.unwrap_or(Timestamp::FAR_FUTURE).min(self.refresh_at())
    }
}

impl Recipient {
    const fn due(action: PolicyAction, version: u64, stage: usize) -> Self {
        let (acknowledged, refusal, expires_at, sent_at, attempts) = (false, None, None, None, 0);
        Self { action, version, acknowledged, refusal, expires_at, stage, sent_at, attempts }
    }

    const fn is_settled(&self) -> bool {
        self.acknowledged || self.refusal.is_some()
    }

    const fn is_on_path(&self) -> bool {
        matches!(self.action, PolicyAction::Ingress { .. } | PolicyAction::Transit { .. } | PolicyAction::Egress)
    }

    /// Time at which it is sent again; `None` if it was not sent yet.
    fn due_at(&self, first: Duration, max: Duration) -> Option<Timestamp> {
        Some(self.sent_at? + (first * (1 << self.attempts.min(16))).min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(s: &str) -> NodeId {
        NodeId::new(s).unwrap()
    }

    fn ids(names: &[&str]) -> Vec<NodeId> {
        names.iter().map(|n| id(n)).collect()
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn rollout(version: u64, path: &[&str], left: &[&str]) -> Rollout {
        let left = ids(left).into_iter().collect();
        Rollout::new(at(0), (9, version), "/B/4".parse().unwrap(), (&ids(path), &left), &Timers::default()).unwrap()
    }

    /// All recipients acknowledge at once.
    fn complete(r: &mut Rollout, now: u64, version: u64) {
        for _ in 0..3 {
            for p in r.poll_transmit(at(now), |_| true) {
                r.on_ack(at(now), &p.recipient, version, None);
            }
        }
    }

    fn recipients(policies: &[Policy]) -> Vec<&str> {
        policies.iter().map(|p| p.recipient.as_str()).collect()
    }

    #[test]
    fn pol_02_the_ingress_is_told_after_all_others_acknowledged_and_the_left_nodes_last() {
        let mut r = rollout(1, &["sg-1", "sr-left", "sr-bottom", "sg-4"], &["sg-1", "sr-right", "sg-4"]);
        let first = r.poll_transmit(at(0), |_| true);
        assert_eq!(recipients(&first), ["sg-4", "sr-bottom", "sr-left"]);
        assert_eq!(first[2].action, PolicyAction::Transit { next_hop: id("sr-bottom") });
        for node in ["sg-4", "sr-bottom"] {
            assert!(r.on_ack(at(1), &id(node), 1, None));
        }
        assert!(r.poll_transmit(at(1), |_| true).is_empty(), "sr-left has not answered");
        assert!(r.on_ack(at(2), &id("sr-left"), 1, None));
        let second = r.poll_transmit(at(2), |_| true);
        assert_eq!((recipients(&second), r.progress(at(2), |_| true)), (vec!["sg-1"], Progress::Running));
        assert_eq!(second[0].action, PolicyAction::Ingress { next_hop: id("sr-left") });
        assert!(r.on_ack(at(3), &id("sg-1"), 1, None));
        let third = r.poll_transmit(at(3), |_| true);
        assert_eq!((recipients(&third), &third[0].action), (vec!["sr-right"], &PolicyAction::Released));
        assert!(r.on_ack(at(4), &id("sr-right"), 1, None));
        assert_eq!(r.progress(at(4), |_| true), Progress::Done);
    }

    #[test]
    fn pol_05_unacknowledged_policies_are_resent_with_back_off_and_finally_given_up() {
        let mut r = rollout(1, &["s", "d"], &[]);
        let mut sent = Vec::new();
        for ms in 0..2000 {
            sent.extend(r.poll_transmit(at(ms), |_| true).iter().map(|_| ms));
        }
        assert_eq!(sent, [0, 50, 150, 350, 750, 1550]);
        assert_eq!(r.progress(at(3001), |_| true), Progress::Failed(None));
    }

    #[test]
    fn refusals_fail_the_rollout_and_strangers_do_not() {
        let mut r = rollout(5, &["s", "d"], &[]);
        r.poll_transmit(at(0), |_| true);
        assert!(!r.on_ack(at(1), &id("x"), 5, None) && !r.on_ack(at(1), &id("d"), 4, None));
        assert!(r.on_ack(at(1), &id("d"), 5, Some(DropReason::PolicyUnreachable)));
        assert_eq!(r.progress(at(1), |_| true), Progress::Failed(Some(DropReason::PolicyUnreachable)));
    }

    #[test]
    fn a_withdrawal_takes_the_ingress_first_and_skips_the_unreachable() {
        let mut r = rollout(1, &["s", "m", "d"], &["old"]);
        complete(&mut r, 0, 1);
        r.withdraw(at(100), 2);
        assert_eq!(recipients(&r.poll_transmit(at(100), |_| true)), ["s"]);
        r.on_ack(at(101), &id("s"), 2, None);
        assert_eq!(recipients(&r.poll_transmit(at(101), |n| n.as_str() != "m")), ["d"]);
        r.on_ack(at(102), &id("d"), 2, None);
        assert_eq!(r.progress(at(102), |n| n.as_str() != "m"), Progress::Done);
        assert!(!r.is_over(at(6000)) && r.is_over(at(6200)), "the unreachable one's time is over too");
    }

    #[test]
    fn a_path_with_an_unreachable_node_is_never_done() {
        let mut r = rollout(1, &["s", "m", "d"], &[]);
        assert_eq!(r.progress(at(0), |_| false), Progress::Running, "the SCSC is cut off");
        r.poll_transmit(at(0), |n| n.as_str() != "m");
        r.on_ack(at(1), &id("d"), 1, None);
        assert!(r.poll_transmit(at(1), |n| n.as_str() != "m").is_empty(), "the ingress must wait");
        assert_eq!(r.progress(at(2), |n| n.as_str() != "m"), Progress::Running);
        assert_eq!(r.progress(at(3001), |n| n.as_str() != "m"), Progress::Failed(None));
    }

    #[test]
    fn refreshes_go_to_the_path_only_and_expiry_counts_from_the_last_acknowledgement() {
        let mut r = rollout(1, &["s", "d"], &["old"]);
        for _ in 0..3 {
            for p in r.poll_transmit(at(0), |_| true) {
                r.on_ack(at(0), &p.recipient, 1, None);
            }
        }
        assert_eq!(r.refresh_at(), at(2000));
        r.refresh(at(2000), 2);
        assert_eq!(recipients(&r.poll_transmit(at(2000), |_| true)), ["d", "s"]);
        r.on_ack(at(2001), &id("d"), 2, None);
        assert!(!r.is_over(at(8000)) && r.is_over(at(8001)));
    }
}
