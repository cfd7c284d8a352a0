//! The words of the management JSON: states, sources, kinds and counters that a field or key can hold.

use serde::{Deserialize, Serialize};

/// Declares an enum whose values are words in JSON and in tables.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word for it.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl $crate::label::Label for $name {
            fn label(self) -> &'static str { Self::label(self) }

            fn from_label(label: &str) -> Option<Self> {
                match label { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.pad(self.label()) }
        }
    };
}

pub(crate) use words;

words! {
    /// Why a route is in the FIB or RIB.
    RouteSource {
        /// Behind an own port, or the node itself.
        Local = "local",
        /// Shortest path.
        Spf = "spf",
        /// SCSC policy over a shortest path.
        Policy = "policy",
        /// Loop-free alternate in use. Never in the RIB.
        Backup = "backup",
    }
}

words! {
    /// State of a port's adjacency.
    AdjacencyState {
        /// Nobody is heard, or no carrier.
        Down = "down",
        /// A neighbour is heard, it has not confirmed hearing us.
        Init = "init",
        /// Two-way; SG and SR synchronise their databases.
        Exchange = "exchange",
        /// In use.
        Full = "full",
    }
}

words! {
    /// Why an adjacency went down.
    DownReason {
        /// The port lost its carrier.
        Carrier = "carrier",
        /// No hello for the dead interval.
        HelloSilence = "hello-silence",
        /// Too many echoes in a row were missed.
        EchoSilence = "echo-silence",
        /// The neighbour has a new session.
        Restarted = "neighbour-restarted",
        /// The neighbour took leave.
        Goodbye = "neighbour-left",
        /// This node ends.
        Stopped = "stopped",
    }
}

words! {
    /// Kind of an LSA.
    LsaKind {
        /// Adjacencies of a node.
        Topology = "topology",
        /// One name behind one port.
        Prefix = "prefix",
    }
}

words! {
    /// What made a node compute its routes.
    Trigger {
        /// The graph changed: shortest paths were computed.
        Topology = "topology",
        /// Only prefixes changed.
        Prefix = "prefix",
    }
}

words! {
    /// What a node does for a policy.
    PolicyActionKind {
        /// It stamps the label on traffic from its pods.
        Ingress = "ingress",
        /// It forwards the label to a next hop.
        Transit = "transit",
        /// It delivers behind an own port.
        Egress = "egress",
        /// Traffic left it; it forwards by its plain routes.
        Released = "released",
        /// It forgets the label.
        Withdrawn = "withdrawn",
    }
}

words! {
    /// What can violate a preset condition of a path.
    Metric {
        /// Bandwidth ≤ preset.
        Bandwidth = "bandwidth",
        /// Delay ≥ preset.
        Delay = "delay",
        /// Jitter ≥ preset.
        Jitter = "jitter",
        /// The target does not answer. Not in the drafts' list of conditions but their purpose (QOS-03).
        Availability = "availability",
    }
}

words! {
    /// What became of an announced name.
    AnnouncementState {
        /// Not decided, or to be tried again.
        Pending = "pending",
        /// Routable, and allowed as a source.
        Accepted = "accepted",
        /// Refused, with a reason.
        Refused = "refused",
    }
}

words! {
    /// State of a service of a pod.
    ServiceState {
        /// Started, not ready yet.
        Starting = "starting",
        /// Serves.
        Ready = "ready",
        /// Waits for its next start.
        Waiting = "waiting",
        /// Stays down until it is started.
        Stopped = "stopped",
    }
}

words! {
    /// Counters of the control plane.
    ProtocolCounter {
        /// Adjacencies that went down.
        AdjacencyFlaps = "adjacency_flaps",
        /// SG: announcements received.
        AnnounceReceived = "announce_received",
        /// SG: announcements received again.
        AnnounceRepeated = "announce_repeated",
        /// SPA: questions received again.
        AuthRepeated = "auth_repeated",
        /// SG: answers of SPAs.
        AuthReplies = "auth_replies",
        /// SPA: questions of SGs.
        AuthRequests = "auth_requests",
        /// SG: questions no SPA answered.
        AuthTimeouts = "auth_timeouts",
        /// Pod: calls under way now.
        CallsPending = "calls_pending",
        /// Pod: answers kept for requests that come again, now.
        CallsRemembered = "calls_remembered",
        /// Version of the FIB.
        FibVersion = "fib_version",
        /// Own LSAs originated again because an older life's came back.
        FightBacks = "fight_backs",
        /// SG: grants asked for again in time.
        GrantRenewals = "grant_renewals",
        /// SG: grants whose time was over.
        GrantsExpired = "grants_expired",
        /// SPA: grants given.
        GrantsIssued = "grants_issued",
        /// SPA: grants taken back.
        GrantsRevoked = "grants_revoked",
        /// Pod: requests executed.
        Invocations = "invocations",
        /// Links compared to find what a changed topology LSA changes.
        LinksCompared = "links_compared",
        /// LSAs taken into the database from neighbours.
        LsaAccepted = "lsa_accepted",
        /// LSAs that came again.
        LsaDuplicate = "lsa_duplicate",
        /// LSAs that left by age.
        LsaExpired = "lsa_expired",
        /// LSAs originated.
        LsaOriginated = "lsa_originated",
        /// Copies of an LSA that had longer left than ours, taken over.
        LsaProlonged = "lsa_prolonged",
        /// LSAs refused.
        LsaRefused = "lsa_refused",
        /// LSAs sent again because no acknowledgement came.
        LsaRetransmitted = "lsa_retransmitted",
        /// LSAs in the database now.
        Lsas = "lsas",
        /// Negative replies sent.
        NacksSent = "nacks_sent",
        /// Negative replies not sent because of their rate.
        NacksSuppressed = "nacks_suppressed",
        /// Computations of prefixes alone.
        PartialRuns = "partial_runs",
        /// SG, SR: policies accepted, refreshes included.
        PoliciesAccepted = "policies_accepted",
        /// SCSC: policies issued.
        PoliciesIssued = "policies_issued",
        /// SG, SR: policies refused.
        PoliciesRefused = "policies_refused",
        /// SCSC: policies withdrawn.
        PoliciesWithdrawn = "policies_withdrawn",
        /// Class 4 frames refused.
        QosRefused = "qos_refused",
        /// SPA: questions refused.
        Refusals = "refusals",
        /// Pod: requests received again.
        RequestsRepeated = "requests_repeated",
        /// Pod: requests sent again.
        RequestsRetransmitted = "requests_retransmitted",
        /// SG: revocations of SPAs.
        Revocations = "revocations",
        /// SPF runs that followed changes instead of computing anew.
        SpfIncremental = "spf_incremental",
        /// SPF runs.
        SpfRuns = "spf_runs",
        /// Topology changes that needed no SPF run.
        SpfSpared = "spf_spared",
        /// SCSC: changes of the topology it followed.
        Surveys = "surveys",
        /// SCSC: reports accepted.
        TelemetryAccepted = "telemetry_accepted",
        /// SG, SR: reports not acknowledged now.
        TelemetryBacklog = "telemetry_backlog",
        /// SCSC: reports received again.
        TelemetryDuplicates = "telemetry_duplicates",
        /// SCSC: paths that began to violate a preset condition.
        Violations = "violations",
    }
}

words! {
    /// What the gateway of an SG counts.
    GatewayCounter {
        /// Packets from pods.
        FromPods = "packets_from_pods",
        /// Packets to pods.
        ToPods = "packets_to_pods",
        /// Packets of the gateway's own to pods: names, neighbours, echoes, errors and resets that answer a packet.
        Answers = "answers",
        /// Flows remembered now.
        Flows = "flows",
        /// Flows ever.
        FlowsBegun = "flows_begun",
        /// Running flows that gave way to others.
        FlowsEvicted = "flows_evicted",
        /// Connections reset unasked.
        FlowsReset = "flows_reset",
        /// Questions to the other ends of connections that were reset.
        Questions = "questions",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::label::Label;
    use crate::view::ViewKind;

    /// JSON, labels and tables use the same words, each for one value.
    fn consistent<T>(all: &[T])
    where
        T: Label + Debug + PartialEq + std::fmt::Display + Serialize + DeserializeOwned,
    {
        let labels: BTreeSet<&str> = all.iter().map(|value| value.label()).collect();
        assert_eq!(labels.len(), all.len(), "{labels:?}");
        for value in all {
            let json = serde_json::to_string(value).unwrap();
            assert_eq!(json, format!("{:?}", value.label()));
            assert_eq!(value.to_string(), value.label());
            assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *value);
            assert_eq!(T::from_label(value.label()), Some(*value));
        }
        assert_eq!(T::from_label("no word"), None);
    }

    #[test]
    fn words_are_the_same_everywhere() {
        consistent(RouteSource::ALL);
        consistent(AdjacencyState::ALL);
        consistent(DownReason::ALL);
        consistent(LsaKind::ALL);
        consistent(Trigger::ALL);
        consistent(PolicyActionKind::ALL);
        consistent(Metric::ALL);
        consistent(AnnouncementState::ALL);
        consistent(ServiceState::ALL);
        consistent(ProtocolCounter::ALL);
        consistent(GatewayCounter::ALL);
        consistent(ViewKind::ALL);
    }
}
