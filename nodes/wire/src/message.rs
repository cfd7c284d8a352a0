//! The messages, as types that cannot represent illegal states. `nodes/WIRE.md` has the encodings.

use crate::lsa::{Lsa, LsaHeader};
use crate::registry::{DropReason, MessageType, RefusalReason};
use crate::security::{Attachment, Certificate, Grant, Signature};
use crate::{Millis, Name, NodeId, TraceContext};

pub use crate::codec::SignedBody;

/// Any message, without its header, names and hop security.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant carries the documented type of its name")]
pub enum Message {
    Hello(Hello),
    Echo(Echo),
    Announce(Announce),
    AnnounceReply(AnnounceReply),
    LsUpdate(Vec<Lsa>),
    LsAck(Vec<LsaHeader>),
    DbSummary(DbSummary),
    LsRequest(Vec<LsaHeader>),
    AuthRequest(AuthRequest),
    AuthReply(AuthReply),
    Revoke(Revoke),
    RevokeAck(RevokeAck),
    Topology(Vec<Lsa>),
    TopologyAck(Vec<LsaHeader>),
    Attach(Attachment),
    AttachAck(AttachAck),
    Data(Data),
    Telemetry(Signed<Telemetry>),
    Policy(Signed<Policy>),
    QosAck(Signed<QosAck>),
    Probe(Probe),
    ProbeReply(Probe),
    Task(Task),
    TaskReport(TaskReport),
    Nack(Nack),
    PathQuery(Signed<PathQuery>),
    PathReply(Signed<PathReply>),
    Packet(Packet),
}

impl Message {
    /// The type code.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::Hello(_) => MessageType::Hello,
            Self::Echo(_) => MessageType::Echo,
            Self::Announce(_) => MessageType::Announce,
            Self::AnnounceReply(_) => MessageType::AnnounceReply,
            Self::LsUpdate(_) => MessageType::LsUpdate,
            Self::LsAck(_) => MessageType::LsAck,
            Self::DbSummary(_) => MessageType::DbSummary,
            Self::LsRequest(_) => MessageType::LsRequest,
            Self::AuthRequest(_) => MessageType::AuthRequest,
            Self::AuthReply(_) => MessageType::AuthReply,
            Self::Revoke(_) => MessageType::Revoke,
            Self::RevokeAck(_) => MessageType::RevokeAck,
            Self::Topology(_) => MessageType::Topology,
            Self::TopologyAck(_) => MessageType::TopologyAck,
            Self::Attach(_) => MessageType::Attach,
            Self::AttachAck(_) => MessageType::AttachAck,
            Self::Data(_) => MessageType::Data,
            Self::Telemetry(_) => MessageType::Telemetry,
            Self::Policy(_) => MessageType::Policy,
            Self::QosAck(_) => MessageType::QosAck,
            Self::Probe(_) => MessageType::Probe,
            Self::ProbeReply(_) => MessageType::ProbeReply,
            Self::Task(_) => MessageType::Task,
            Self::TaskReport(_) => MessageType::TaskReport,
            Self::Nack(_) => MessageType::Nack,
            Self::PathQuery(_) => MessageType::PathQuery,
            Self::PathReply(_) => MessageType::PathReply,
            Self::Packet(_) => MessageType::Packet,
        }
    }
}

/// A routed signalling message with its sender's certificate and signature (context `damc qos v1`; covers message type,
/// destination, source, body and certificate).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    /// Body of the message.
    pub body: T,
    /// Certificate of the sender.
    pub certificate: Certificate,
    /// Signature by the certificate's signing key.
    pub signature: Signature,
}

/// Neighbour discovery. Always signed, never under a hop MAC.
///
/// A hello is *fresh* if `heard` names the receiver and its current session. Only fresh hellos prove two-way
/// connectivity, keep an adjacency alive or restart it. A replayed hello therefore has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Certificate of the sender: domain, node, role, keys.
    pub certificate: Certificate,
    /// Sender's session, drawn at random when its adjacency on this port (re)starts; never 0.
    pub session: u64,
    /// The neighbour heard on this port, and that neighbour's session.
    pub heard: Option<(NodeId, u64)>,
    /// Hello period.
    pub hello_interval: Millis,
    /// Time without a hello after which the neighbour is down.
    pub dead_interval: Millis,
    /// Echo period; 0 for no echo.
    pub echo_interval: Millis,
    /// Missed echoes after which the neighbour is down.
    pub echo_multiplier: u8,
    /// Signature by the certificate's signing key, context `damc hello v1`.
    pub signature: Signature,
}

/// Liveness heartbeat, sent every echo interval in both directions. It also measures the link's round trip.
///
/// `round trip = (arrival - their_sent_at) - held`, all on the clock of the node that sent `their_sent_at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Rises by one per echo of this session.
    pub sequence: u32,
    /// Sender's clock when sent, ns.
    pub sent_at: u64,
    /// `sent_at` of the last echo received from the neighbour; 0 before the first.
    pub their_sent_at: u64,
    /// Time from the reception of that echo to the sending of this one, ns.
    pub held: u64,
}

/// Class 1, pod to SG: additions and withdrawals in one transaction. Retransmitted with the same `request` until
/// answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Transaction number; rises within the pod's session, never 0.
    pub request: u64,
    /// The pod.
    pub pod: NodeId,
    /// The SG it is meant for.
    pub sg: NodeId,
    /// The SG's session as the pod sees it: binds the announcement to this adjacency.
    pub sg_session: u64,
    /// Services to announce.
    pub add: Vec<AnnounceEntry>,
    /// Names to withdraw.
    pub withdraw: Vec<Name>,
    /// Signature by the pod's signing key, context `damc announce v1`.
    pub signature: Signature,
}

/// One announced service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceEntry {
    /// The service's own prefix; also covers the names below it.
    pub prefix: Name,
    /// The pool it joins, if any: an exact name.
    pub pool: Option<Name>,
    /// Its share of the pool's traffic.
    pub weight: u16,
}

/// Class 1, SG to pod. `request` 0 marks an unsolicited reply: a grant was revoked or could not be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Number of the transaction.
    pub request: u64,
    /// One outcome for each prefix and each of its pools. Withdrawals are always accepted.
    pub outcomes: Vec<Outcome>,
}

/// Outcome for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The name.
    pub prefix: Name,
    /// Reason of the refusal; `None` if accepted.
    pub refusal: Option<RefusalReason>,
}

/// One page of a database summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbSummary {
    /// Number of the exchange; the sender draws one for the whole summary.
    pub exchange: u32,
    /// Page number from 0.
    pub page: u16,
    /// Whether this is the last page.
    pub last: bool,
    /// LSAs the sender has.
    pub headers: Vec<LsaHeader>,
}

/// Class 3, SG to SPA: a request for grants. Carries the pod's own signed announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequest {
    /// Transaction number of the SG.
    pub request: u64,
    /// The pod.
    pub certificate: Certificate,
    /// The announcement that the pod signed.
    pub announce: Announce,
}

/// Class 3, SPA to SG: one answer for one name of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthReply {
    /// Number of the transaction.
    pub request: u64,
    /// Grant, or name and reason.
    pub result: AuthResult,
}

/// Answer for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "short-lived, and nearly always a grant")]
pub enum AuthResult {
    /// Yes.
    Granted(Grant),
    /// No, explicitly.
    Refused(Outcome),
}

/// Class 3, SPA to SG: grants are void from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// The prefix.
    pub prefix: Name,
    /// The pod.
    pub pod: NodeId,
    /// All grants of this prefix to this pod up to this serial are void.
    pub serial: u64,
}

/// Class 3, SG to SPA: acknowledges a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeAck {
    /// As in the revocation.
    pub serial: u64,
}

/// Class 4, SG or SR to SCSC: acknowledges an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachAck {
    /// As in the attachment.
    pub issued_at: Millis,
}

/// RMI: request, response or error (-01 section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Correlates request and answer; the caller draws it at random.
    pub correlation: u64,
    /// Request, response or error.
    pub kind: DataKind,
    /// Argument or result bytes, in the application's own format.
    pub payload: Vec<u8>,
    /// Nodes passed; recorded if the header's trace flag is set.
    pub hops: Vec<Hop>,
}

/// Longest method name in bytes.
pub const MAX_METHOD_LEN: usize = 64;

/// Kind of a data message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Invoke `method` within `deadline`. Nodes and services do not start work after it.
    Request {
        /// Method name, 1 to [`MAX_METHOD_LEN`] bytes UTF-8.
        method: String,
        /// Time that is left until the caller gives up.
        deadline: Millis,
        /// The trace it belongs to, where its caller is part of one.
        context: Option<TraceContext>,
    },
    /// The result.
    Response,
    /// The call ended without a result; the payload is a human-readable detail.
    Error {
        /// Why.
        reason: RefusalReason,
    },
}

/// An IPv6 packet between the pods of two names. In transit, the header's hop limit stands for that of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The packet, from its IPv6 header on (RFC 8200).
    pub inner: Vec<u8>,
}

/// One recorded hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The node.
    pub node: NodeId,
    /// Recorded on the path of a response (a response carries the hops of its request before its own).
    pub on_return: bool,
}

/// Class 4, SG or SR to SCSC: measurements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// Rises with every report of this sender.
    pub sequence: u64,
    /// Paths to services, from an SG.
    pub paths: Vec<PathReport>,
    /// The sender's own links, from SG and SR.
    pub links: Vec<LinkReport>,
}

/// Measured path from the reporting SG to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// The service instance.
    pub target: Name,
    /// Policy label that the probes carried; 0 for the plain path.
    pub label: u32,
    /// Half the round-trip time, ns; `None` without a sample.
    pub delay_ns: Option<u64>,
    /// RFC 3550 jitter, ns.
    pub jitter_ns: Option<u64>,
    /// Packet-train bandwidth, bit/s.
    pub bandwidth_bps: Option<u64>,
    /// Lost probes, parts per million of the window.
    pub loss_ppm: u32,
    /// Whether the target answers probes and tasks.
    pub available: bool,
    /// Load that the target reports of itself, parts per million. It never overrides the path metrics.
    pub self_load_ppm: Option<u32>,
    /// Age of the newest sample at sending.
    pub age: Millis,
}

/// Measured link of the reporting node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// Far end.
    pub neighbour: NodeId,
    /// Half the round-trip time of the echo, ns.
    pub delay_ns: Option<u64>,
    /// RFC 3550 jitter of the echo, ns.
    pub jitter_ns: Option<u64>,
    /// Lost echoes, parts per million.
    pub loss_ppm: u32,
    /// Sent in the last period, bit/s.
    pub tx_bps: u64,
    /// Received in the last period, bit/s.
    pub rx_bps: u64,
    /// Packet-train bandwidth towards the neighbour, bit/s, if known.
    pub bandwidth_bps: Option<u64>,
}

/// Class 4, SCSC to one SG or SR: the part of this node in one policy.
///
/// A policy is a path for the traffic of one source SG to one prefix. Its label identifies it. The ingress SG puts the
/// label in the headers of that traffic, and nodes on the path forward labelled frames of that prefix to their next
/// hop. A node that cannot do so clears the label. Plain routing takes over from there, so that no loop can form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Label that identifies the policy; never 0.
    pub label: u32,
    /// Rises with every change of this label; an older one is refused.
    pub version: u64,
    /// The node it is for.
    pub recipient: NodeId,
    /// The source SG whose traffic it steers.
    pub source: NodeId,
    /// The prefix.
    pub prefix: Name,
    /// Part of the recipient.
    pub action: PolicyAction,
    /// Time after receipt at which it ends unless refreshed.
    pub expires_in: Millis,
}

/// Part of a recipient in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// Source SG: label the traffic of its own pods to the prefix, and send it to this neighbour.
    Ingress {
        /// Neighbour.
        next_hop: NodeId,
    },
    /// On the new path: send labelled traffic to this neighbour.
    Transit {
        /// Neighbour.
        next_hop: NodeId,
    },
    /// End of the path: deliver locally.
    Egress,
    /// On the old path only: this traffic will move away; there is nothing to install.
    Released,
    /// The policy is over: back to plain routing.
    Withdrawn,
}

/// Acknowledges telemetry (by `sequence`, `label` 0) or a policy (by `label` and version).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QosAck {
    /// Sequence number of the telemetry, or version of the policy.
    pub sequence: u64,
    /// Label of the policy; 0 for telemetry.
    pub label: u32,
    /// Reason of the refusal; `None` if accepted.
    pub refusal: Option<DropReason>,
}

/// Probe and its reflection (STAMP-like, RFC 8762).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Drawn at random for each sender and target.
    pub test: u64,
    /// Rises with each probe of the test.
    pub sequence: u32,
    /// Position in a packet train, from 0.
    pub train_index: u16,
    /// Packets in the train; 1 for a single probe.
    pub train_length: u16,
    /// Sender's clock at sending, ns.
    pub t1: u64,
    /// Reflector's clock at reception, ns; 0 in the probe.
    pub t2: u64,
    /// Reflector's clock at sending, ns; 0 in the probe.
    pub t3: u64,
    /// Number of zero bytes that follow, to bring the frame to a size.
    pub padding: u16,
}

/// Detection task: the service tests itself (drafts, section 5 (5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Drawn at random by the SG.
    pub task: u64,
}

/// The service's report on itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// As in the task.
    pub task: u64,
    /// Healthy by its own judgement.
    pub healthy: bool,
    /// Share of its capacity in use, parts per million.
    pub load_ppm: u32,
    /// Calls served since it started.
    pub served: u64,
    /// How long its self-test took, ns.
    pub self_test_ns: u64,
}

/// Negative reply to the source of a routed message that could not be forwarded or delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// Why.
    pub reason: RefusalReason,
    /// The node that decided.
    pub node: NodeId,
    /// Type of the message it answers.
    pub answered: MessageType,
    /// Its destination.
    pub destination: Name,
    /// The value of that message's body TLV, which identifies it (correlation, test or task).
    pub body: Vec<u8>,
}

/// SG to SCSC: asks for the path to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathQuery {
    /// Correlates query and reply.
    pub request: u64,
    /// Service or pool.
    pub target: Name,
}

/// SCSC to SG: the path. An empty path means unreachable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReply {
    /// Correlates query and reply.
    pub request: u64,
    /// From the asking SG to the serving SG.
    pub path: Vec<NodeId>,
    /// Sum of the link costs.
    pub cost: u64,
}
