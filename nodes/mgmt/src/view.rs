//! JSON of `/fib`, `/rib`, `/lsdb`, `/neighbors`, `/policies`, `/counters` and of pod calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `/fib`: entries sorted by prefix (then label), next hops sorted by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FibView {
    /// Node.
    pub node: String,
    /// Rises with every published change.
    pub version: u64,
    /// Entries.
    pub entries: Vec<FibEntryView>,
}

/// One FIB entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FibEntryView {
    /// Name prefix.
    pub prefix: String,
    /// `spf`, `policy`, `local` or `backup`.
    pub source: String,
    /// Cost of the plain route.
    pub cost: u64,
    /// Nodes that advertise it at this cost.
    pub origin: Vec<String>,
    /// Equal next hops; with source `backup` the loop-free alternate that took over.
    pub next_hops: Vec<NextHopView>,
    /// Loop-free alternate that takes over at once when the only next hop's link goes down; absent where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<NextHopView>,
    /// Matches the name itself only (pools).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// Policy label for which this entry holds; absent for all traffic. For the ingress of a policy the plain entry
    /// itself has source `policy` and this is the label it stamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<u32>,
}

/// One next hop. For a local entry the pod, or the node itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NextHopView {
    /// Neighbour.
    pub node: String,
    /// Port, named after the neighbour.
    pub port: String,
    /// Share.
    pub weight: u16,
}

/// `/rib`: every candidate of every prefix; `chosen` ones are in the FIB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RibView {
    /// Node.
    pub node: String,
    /// Candidates sorted by prefix, cost, origin.
    pub routes: Vec<RouteView>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// Name prefix.
    pub prefix: String,
    /// `spf`, `policy` or `local`.
    pub source: String,
    /// Total cost; for a policy that of the plain route it overlays.
    pub cost: u64,
    /// Advertising node (for a policy: the SCSC).
    pub origin: String,
    /// Next hops.
    pub next_hops: Vec<NextHopView>,
    /// In the FIB.
    pub chosen: bool,
    /// Policy label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<u32>,
}

/// `/lsdb`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LsdbView {
    /// Node.
    pub node: String,
    /// Hash over (key, sequence, digest) of all LSAs in key order, hexadecimal: equal databases, equal digests.
    pub digest: String,
    /// LSAs sorted by origin, kind, id.
    pub lsas: Vec<LsaView>,
}

/// One LSA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LsaView {
    /// Origin.
    pub origin: String,
    /// `topology` or `prefix`.
    pub kind: String,
    /// Topology fragment, or prefix.
    pub id: String,
    /// Port a prefix lies behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Sequence number.
    pub sequence: u64,
    /// Time left, ms.
    pub remaining_ms: u64,
    /// Purged, kept until it is acknowledged everywhere or its time is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub purged: bool,
    /// Adjacencies with cost, of a topology LSA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkView>,
    /// Overload bit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overload: bool,
    /// Stub: never transit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stub: bool,
    /// Metric of a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Pool entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// Serial of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
}

/// Adjacency in an LSA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// Far end.
    pub neighbour: String,
    /// Cost.
    pub cost: u32,
}

/// `/neighbors`: one row for each port, sorted by port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NeighborsView {
    /// Node.
    pub node: String,
    /// Rows.
    pub neighbors: Vec<NeighborView>,
}

/// One port and its neighbour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighborView {
    /// Port.
    pub port: String,
    /// `down`, `init`, `exchange`, `full`.
    pub state: String,
    /// Role of the neighbour, if known.
    pub role: Option<String>,
    /// Time in this state, ms.
    pub since_ms: u64,
    /// Round trip / 2, ns.
    pub delay_ns: Option<u64>,
    /// RFC 3550 jitter, ns.
    pub jitter_ns: Option<u64>,
    /// LSAs waiting for acknowledgement.
    pub unacknowledged: usize,
    /// Times it went down since start.
    pub flaps: u64,
    /// Why it went down last.
    pub last_down: Option<String>,
}

/// `/policies`: at SG and SR the policies received, at the SCSC those issued.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoliciesView {
    /// Node.
    pub node: String,
    /// Sorted by label, recipient.
    pub policies: Vec<PolicyView>,
    /// SCSC: newest measurement of each path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathView>,
}

/// One policy at one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyView {
    /// Label.
    pub label: u32,
    /// Version.
    pub version: u64,
    /// Recipient.
    pub recipient: String,
    /// Source SG.
    pub source: String,
    /// Prefix.
    pub prefix: String,
    /// `ingress`, `transit`, `egress`, `released`, `withdrawn`.
    pub action: String,
    /// Next hop of ingress and transit.
    pub next_hop: Option<String>,
    /// Time left, ms.
    pub expires_in_ms: u64,
    /// In force (at the SCSC: acknowledged).
    pub active: bool,
    /// Why not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One measured path, at an SG (own measurements) or at the SCSC (all).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathView {
    /// Measuring SG.
    pub source: String,
    /// Target.
    pub target: String,
    /// Label, 0 for the plain path.
    pub label: u32,
    /// ns.
    pub delay_ns: Option<u64>,
    /// ns.
    pub jitter_ns: Option<u64>,
    /// bit/s.
    pub bandwidth_bps: Option<u64>,
    /// Parts per million.
    pub loss_ppm: u32,
    /// Answers.
    pub available: bool,
    /// Thresholds violated: any of `bandwidth`, `delay`, `jitter`, `availability`.
    pub violated: Vec<String>,
    /// Age of the newest sample, ms.
    pub age_ms: u64,
}

/// `/counters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersView {
    /// Node.
    pub node: String,
    /// Frames received by message type label.
    pub received: BTreeMap<String, u64>,
    /// Frames sent by message type label.
    pub sent: BTreeMap<String, u64>,
    /// Drops by reason label; every reason is listed.
    pub dropped: BTreeMap<String, u64>,
    /// Named protocol counters: `spf_runs`, `partial_runs`, `lsa_originated`, `lsa_accepted`, `adjacency_flaps`, ….
    pub protocol: BTreeMap<String, u64>,
    /// Frames forwarded.
    pub forwarded: u64,
    /// Frames delivered locally.
    pub delivered: u64,
    /// SG: what passed the gateway to programs in pods, by label: `packets_from_pods`, `packets_to_pods`, `answers`,
    /// `flows`, ….
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gateway: BTreeMap<String, u64>,
}

/// `/services` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesView {
    /// Node.
    pub node: String,
    /// Sorted by prefix.
    pub services: Vec<ServiceView>,
}

/// One service of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its prefix.
    pub prefix: String,
    /// `starting`, `ready`, `waiting` (for its next start) or `stopped`.
    pub state: String,
    /// What serves it: a program, or `built-in`.
    pub program: String,
    /// How often it was started.
    pub starts: u32,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The last lines its program printed before that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
    /// When it is started next, ms from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_ms: Option<u64>,
}

/// `/announcements` of an SG: what pods announced and what became of it; of a pod: its own services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncementsView {
    /// Node.
    pub node: String,
    /// Sorted by prefix, pod.
    pub announcements: Vec<AnnouncementView>,
}

/// One announced name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncementView {
    /// Name.
    pub prefix: String,
    /// Pod.
    pub pod: String,
    /// Pool entry.
    pub exact: bool,
    /// `pending`, `accepted` or `refused`.
    pub state: String,
    /// Reason of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Serial of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
}

/// Body of `POST /call` at a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRequest {
    /// Name to call.
    pub name: String,
    /// Method.
    pub method: String,
    /// Arguments, joined by single spaces on the wire.
    #[serde(default)]
    pub args: Vec<String>,
    /// Deadline, ms.
    #[serde(default = "default_deadline")]
    pub deadline_ms: u64,
    /// Record the path.
    #[serde(default)]
    pub trace: bool,
    /// Source name; the pod's first accepted service where absent.
    #[serde(default)]
    pub source: Option<String>,
    /// Flow number; random where absent.
    #[serde(default)]
    pub flow: Option<u32>,
}

const fn default_deadline() -> u64 {
    2000
}

/// Answer of `POST /call`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReply {
    /// The result, where the call succeeded.
    pub result: Option<String>,
    /// Reason label where it did not (`RefusalReason`), or `timeout`.
    pub error: Option<String>,
    /// Detail of an error; for negative replies the deciding node.
    pub detail: Option<String>,
    /// From sending the request to having the answer, ns.
    pub elapsed_ns: u64,
    /// Nodes on the way there, where traced.
    pub path: Vec<String>,
    /// Nodes on the way back, where traced.
    pub return_path: Vec<String>,
}
