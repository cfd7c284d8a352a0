//! What nodes show: `/fib`, `/rib`, `/lsdb`, `/neighbors`, `/policies`, `/announcements`, `/services`, `/counters`.

use std::collections::BTreeMap;

use damc_wire::{DropReason, MessageType, RefusalReason, Role};
use serde::{Deserialize, Serialize};

use crate::command::Preset;
use crate::counts::Counts;
use crate::label;
use crate::words::{
    AdjacencyState, AnnouncementState, DownReason, GatewayCounter, LsaKind, Metric, PolicyActionKind, ProtocolCounter,
    RouteSource, ServiceState, words,
};

words! {
    /// What a node can be asked to show.
    ViewKind {
        /// Forwarding table.
        Fib = "fib",
        /// Candidates of every prefix.
        Rib = "rib",
        /// Link-state database.
        Lsdb = "lsdb",
        /// Ports and their neighbours.
        Neighbors = "neighbors",
        /// Policies and measured paths.
        Policies = "policies",
        /// All counters of the process.
        Counters = "counters",
        /// Announced names.
        Announcements = "announcements",
        /// Services of a pod.
        Services = "services",
        /// Counters of the machine alone. Not served: a part of `counters`.
        Protocol = "protocol",
        /// SG: sessions with its pods. Not served: a part of the class 1 interface.
        Sessions = "sessions",
        /// Digest of the link-state database alone, for whoever compares many. Not served: a part of `lsdb`.
        Digest = "digest",
    }
}

impl ViewKind {
    /// What the management interface serves, each under its label.
    pub const SERVED: [Self; 8] = [
        Self::Fib,
        Self::Rib,
        Self::Lsdb,
        Self::Neighbors,
        Self::Policies,
        Self::Counters,
        Self::Announcements,
        Self::Services,
    ];
}

/// What a node shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the variants of `ViewKind`")]
pub enum View {
    Fib(FibView),
    Rib(RibView),
    Lsdb(LsdbView),
    Neighbors(NeighborsView),
    Policies(PoliciesView),
    Counters(CountersView),
    Announcements(AnnouncementsView),
    Services(ServicesView),
    Protocol(ProtocolCounters),
    Sessions(Sessions),
    Digest(String),
}

/// The type of one kind of view.
pub trait Shown: Sized {
    /// The kind.
    const KIND: ViewKind;

    /// The content of a view, if it is of this kind.
    fn of(view: View) -> Option<Self>;
}

macro_rules! shown {
    ($($kind:ident($name:ident))*) => {
        $(
            impl Shown for $name {
                const KIND: ViewKind = ViewKind::$kind;

                fn of(view: View) -> Option<Self> {
                    if let View::$kind(view) = view { Some(view) } else { None }
                }
            }

            impl From<$name> for View {
                fn from(view: $name) -> Self { Self::$kind(view) }
            }
        )*
    };
}

shown! {
    Fib(FibView)
    Rib(RibView)
    Lsdb(LsdbView)
    Neighbors(NeighborsView)
    Policies(PoliciesView)
    Counters(CountersView)
    Announcements(AnnouncementsView)
    Services(ServicesView)
    Protocol(ProtocolCounters)
    Sessions(Sessions)
}

/// Counters of the control plane.
pub type ProtocolCounters = Counts<ProtocolCounter>;

/// Pods with an adjacency, each with the SG's session: what announcements are tied to.
pub type Sessions = BTreeMap<String, u64>;

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
    /// Why it is in the table.
    pub source: RouteSource,
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
    /// Where it comes from; never `backup`.
    pub source: RouteSource,
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
    /// Kind.
    pub kind: LsaKind,
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
    /// State of the adjacency.
    pub state: AdjacencyState,
    /// Role of the neighbour, if known.
    #[serde(default, with = "label::optional")]
    pub role: Option<Role>,
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
    pub last_down: Option<DownReason>,
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
    /// SCSC: preset conditions that were ordered at run time, by prefix and source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ordered: Vec<OrderedPreset>,
}

/// Preset conditions that an order put beside the configured ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedPreset {
    /// Prefix; none: all services without conditions of their own.
    pub prefix: Option<String>,
    /// SG; none: all.
    pub source: Option<String>,
    /// The conditions.
    pub preset: Preset,
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
    /// What the recipient does.
    pub action: PolicyActionKind,
    /// Next hop of ingress and transit.
    pub next_hop: Option<String>,
    /// Time left, ms.
    pub expires_in_ms: u64,
    /// In force (at the SCSC: acknowledged).
    pub active: bool,
    /// Why not in force.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "label::optional")]
    pub problem: Option<DropReason>,
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
    /// Preset conditions violated.
    pub violated: Vec<Metric>,
    /// Age of the newest sample, ms.
    pub age_ms: u64,
}

/// `/counters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersView {
    /// Node.
    pub node: String,
    /// Frames received by message type.
    pub received: Counts<MessageType>,
    /// Frames sent by message type.
    pub sent: Counts<MessageType>,
    /// Drops by reason; every reason is listed.
    pub dropped: Counts<DropReason>,
    /// Counters of the control plane.
    pub protocol: ProtocolCounters,
    /// Frames forwarded.
    #[serde(default)]
    pub forwarded: u64,
    /// Frames delivered locally.
    #[serde(default)]
    pub delivered: u64,
    /// Frames that the kernel dropped because the control thread was behind. They count as `queue-full` as well.
    #[serde(default)]
    pub control_overflow: u64,
    /// SG: what passed the gateway to programs in pods.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub gateway: Counts<GatewayCounter>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its prefix.
    pub prefix: String,
    /// Its state.
    pub state: ServiceState,
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
    /// What became of it.
    pub state: AnnouncementState,
    /// Reason of a refusal, or why it is still pending.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "label::optional")]
    pub reason: Option<RefusalReason>,
    /// Serial of the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<u64>,
}
