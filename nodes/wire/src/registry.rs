//! Every code point of the protocol, in one place (`nodes/WIRE.md`, "Registries").

/// EtherType of every DAMC frame: IEEE 802 local experimental 1.
pub const ETHERTYPE: u16 = 0x88B5;
/// EtherType of the packets between a pod and its SG (RFC 2464).
pub const ETHERTYPE_IPV6: u16 = 0x86DD;
/// Protocol version in the first byte of every header.
pub const VERSION: u8 = 1;
/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 16;
/// Longest PDU: the payload of one Ethernet frame.
pub const MAX_PDU: usize = 1500;
/// Hop limit that a source sets.
pub const DEFAULT_HOP_LIMIT: u8 = 64;
/// The bit of the type byte that marks a *routed* message: forwarded by name. Without it a message is hop-local.
pub const ROUTED_BIT: u8 = 0x80;

macro_rules! code_points {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($(#[$vdoc:meta])* $variant:ident = $value:literal, $label:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        pub enum $name { $($(#[$vdoc])* $variant = $value,)* }

        impl $name {
            /// Every value, in registry order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of a code point, if it is assigned.
            #[must_use]
            pub const fn from_code(code: $repr) -> Option<Self> {
                match code { $($value => Some(Self::$variant),)* _ => None }
            }

            /// The code point.
            #[must_use]
            pub const fn code(self) -> $repr { self as $repr }

            /// The name used in counters, logs, reports and JSON.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// The value with this label.
            #[must_use]
            pub fn from_label(label: &str) -> Option<Self> {
                match label { $($label => Some(Self::$variant),)* _ => None }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str(self.label()) }
        }
    };
}

code_points! {
    /// Role of a node in the architecture (drafts, section 3).
    Role: u8 {
        /// Service Router.
        Sr = 1, "sr";
        /// Service Gateway.
        Sg = 2, "sg";
        /// Service Prefix Authentication entity.
        Spa = 3, "spa";
        /// Service Mesh Communication Scheduling Centre.
        Scsc = 4, "scsc";
        /// Pod: the agent in front of one or more services.
        Pod = 5, "pod";
    }
}

code_points! {
    /// Signalling class of the drafts' Figure 3 (numbers of -01, CON-01).
    Class: u8 {
        /// Service Prefix Announcement, pod and SG.
        Announcement = 1, "announcement";
        /// Service Prefix LSA, SG and SR.
        Lsa = 2, "lsa";
        /// Service Prefix Authentication, SG and SPA.
        Authentication = 3, "authentication";
        /// QoS telemetry and policy, SG/SR and SCSC.
        Qos = 4, "qos";
    }
}

/// The class of a class number in -00's table and section 6.1, where authentication is 2 and LSA is 3 (CON-01). It is
/// for reading captures of -00; nothing on the wire uses it.
#[must_use]
pub const fn class_of_draft_00(number: u8) -> Option<Class> {
    match number {
        1 => Some(Class::Announcement),
        2 => Some(Class::Authentication),
        3 => Some(Class::Lsa),
        4 => Some(Class::Qos),
        _ => None,
    }
}

code_points! {
    /// Message types. Messages with bit 7 set are routed by name; the others never leave their link.
    MessageType: u8 {
        /// Neighbour discovery with three-way check; signed.
        Hello = 0x01, "hello";
        /// Fast liveness echo; request and reply.
        Echo = 0x02, "echo";
        /// Class 1: the services that a pod announces or withdraws.
        Announce = 0x10, "announce";
        /// Class 1: the SG's answer, one outcome for each prefix.
        AnnounceReply = 0x11, "announce-reply";
        /// Class 2: one or more LSAs.
        LsUpdate = 0x20, "ls-update";
        /// Class 2: acknowledgement of LSAs by key and sequence number.
        LsAck = 0x21, "ls-ack";
        /// Class 2: database summary, a page of LSA headers.
        DbSummary = 0x22, "db-summary";
        /// Class 2: request of LSAs by key.
        LsRequest = 0x23, "ls-request";
        /// Class 3: an SG asks its SPA for a grant.
        AuthRequest = 0x30, "auth-request";
        /// Class 3: grant or refusal with a reason.
        AuthReply = 0x31, "auth-reply";
        /// Class 3: the SPA revokes a grant.
        Revoke = 0x32, "revoke";
        /// Class 3: the SG acknowledges a revocation.
        RevokeAck = 0x33, "revoke-ack";
        /// Class 4: LSAs for the SCSC's passive LSDB replica.
        Topology = 0x40, "topology";
        /// Class 4: the SCSC acknowledges LSAs.
        TopologyAck = 0x41, "topology-ack";
        /// Class 4: the SCSC states that it is attached to this router.
        Attach = 0x42, "attach";
        /// Class 4: the router acknowledges an attachment.
        AttachAck = 0x43, "attach-ack";
        /// User data: RMI request, response or error.
        Data = 0x80, "data";
        /// Class 4: measurements for the SCSC.
        Telemetry = 0x81, "telemetry";
        /// Class 4: a forwarding policy for one node.
        Policy = 0x82, "policy";
        /// Class 4: acknowledgement of telemetry or policy.
        QosAck = 0x83, "qos-ack";
        /// Class 4: path probe (STAMP-like), also a packet of a train.
        Probe = 0x84, "probe";
        /// Class 4: reflected probe.
        ProbeReply = 0x85, "probe-reply";
        /// Class 4: self-test task for a service.
        Task = 0x86, "task";
        /// Class 4: the service's report on itself.
        TaskReport = 0x87, "task-report";
        /// Explicit negative reply of a node that could not forward or deliver.
        Nack = 0x88, "nack";
        /// Class 4: an SG asks the SCSC for a path.
        PathQuery = 0x89, "path-query";
        /// Class 4: the SCSC's path.
        PathReply = 0x8A, "path-reply";
        /// User data: an IPv6 packet between two pods.
        Packet = 0x8B, "packet";
    }
}

impl MessageType {
    /// Forwarded by name, in contrast to hop-local.
    #[must_use]
    pub const fn is_routed(self) -> bool {
        self.code() & ROUTED_BIT != 0
    }

    /// Signalling class, if the drafts assign one.
    #[must_use]
    pub const fn class(self) -> Option<Class> {
        Some(match self {
            Self::Announce | Self::AnnounceReply => Class::Announcement,
            Self::LsUpdate | Self::LsAck | Self::DbSummary | Self::LsRequest => Class::Lsa,
            Self::AuthRequest | Self::AuthReply | Self::Revoke | Self::RevokeAck => Class::Authentication,
            Self::Topology
            | Self::TopologyAck
            | Self::Attach
            | Self::AttachAck
            | Self::Telemetry
            | Self::Policy
            | Self::QosAck
            | Self::Probe
            | Self::ProbeReply
            | Self::Task
            | Self::TaskReport
            | Self::PathQuery
            | Self::PathReply => Class::Qos,
            Self::Hello | Self::Echo | Self::Data | Self::Packet | Self::Nack => return None,
        })
    }
}

code_points! {
    /// TLV types. Bit 7 is the critical bit: an unknown TLV that has it set causes the message to be rejected; one
    /// without it is skipped.
    TlvType: u8 {
        /// Destination name of a routed message; always the first TLV there.
        Destination = 0x81, "destination";
        /// Source name of a routed message; always the second TLV there.
        Source = 0x82, "source";
        /// The fixed body of the message type.
        Body = 0x83, "body";
        /// One LSA (header, content, certificate, signature).
        Lsa = 0x84, "lsa";
        /// One LSA header in a summary, request or acknowledgement.
        LsaHeader = 0x85, "lsa-header";
        /// Certificate of a node.
        Certificate = 0x86, "certificate";
        /// Grant of an SPA.
        Grant = 0x87, "grant";
        /// One announced prefix.
        Announcement = 0x88, "announcement";
        /// Outcome for one announced prefix.
        Outcome = 0x89, "outcome";
        /// One measurement of a path to a service.
        PathReport = 0x8A, "path-report";
        /// One measurement of a link.
        LinkReport = 0x8B, "link-report";
        /// Opaque payload.
        Payload = 0x8C, "payload";
        /// End-to-end CRC-32C over everything between the header and itself; only hops and HopMac may follow it in a
        /// routed message.
        Checksum = 0x8D, "checksum";
        /// One hop of a recorded or computed path.
        Hop = 0x0E, "hop";
        /// Ed25519 signature; what it covers depends on the message.
        Signature = 0x8F, "signature";
        /// Hop security: counter and MAC over everything before it; always last.
        HopMac = 0x90, "hop-mac";
        /// An SCSC's statement where it is attached.
        Attachment = 0x92, "attachment";
        /// Padding, for probe trains.
        Padding = 0x11, "padding";
        /// Trace context of a request (W3C Trace Context): the trace it belongs to, and the span that sent it.
        TraceContext = 0x13, "trace-context";
    }
}

code_points! {
    /// Why an announcement, an authentication or a call was refused. Shared by classes 1 and 3, RMI and negative replies.
    RefusalReason: u8 {
        /// The licence does not cover the prefix.
        NotLicensed = 1, "not-licensed";
        /// The prefix is malformed or never allowed (for example the reserved `/damc`).
        BadPrefix = 2, "bad-prefix";
        /// The pod could not prove its identity.
        BadIdentity = 3, "bad-identity";
        /// Another pod holds this instance name.
        Conflict = 4, "conflict";
        /// No SPA answered in time.
        SpaUnreachable = 5, "spa-unreachable";
        /// The grant was revoked.
        Revoked = 6, "revoked";
        /// A bound of the receiver was reached.
        Overloaded = 7, "overloaded";
        /// The pod brings new names too fast.
        RateLimited = 8, "rate-limited";
        /// The name came and went too often.
        HeldDown = 9, "held-down";
        /// No route to the name at the replying node.
        NoRoute = 16, "no-route";
        /// The egress SG does not have the instance (any more).
        NoSuchInstance = 17, "no-such-instance";
        /// The hop limit ran out.
        HopLimitExceeded = 18, "hop-limit-exceeded";
        /// The source name does not belong to the sending pod.
        SourceNotAuthorised = 19, "source-not-authorised";
        /// The service exists but does not have the method.
        NoSuchMethod = 20, "no-such-method";
        /// The arguments do not fit the method.
        BadArguments = 21, "bad-arguments";
        /// The deadline had passed; nothing was executed.
        DeadlineExceeded = 22, "deadline-exceeded";
        /// The method ran and failed.
        Failed = 23, "failed";
        /// The service's process does not answer or has ended.
        ServiceUnavailable = 24, "service-unavailable";
        /// Request or result does not fit one message.
        TooLarge = 25, "too-large";
    }
}

code_points! {
    /// Why a frame, LSA, grant or policy was dropped. Counters, logs, events and suites share these names.
    DropReason: u8 {
        /// Shorter than its header, or than a length in it requires.
        Truncated = 1, "truncated";
        /// Longer than its length field, or over a bound.
        Oversized = 2, "oversized";
        /// A version other than ours.
        BadVersion = 3, "bad-version";
        /// A message type that is not assigned.
        UnknownType = 4, "unknown-type";
        /// An unknown TLV with the critical bit.
        UnknownCriticalTlv = 5, "unknown-critical-tlv";
        /// A TLV is missing or out of place, or a field has an impossible value.
        Malformed = 6, "malformed";
        /// A name that breaks the name rules.
        BadName = 7, "bad-name";
        /// The sender's role may not send this type on this link.
        WrongRole = 8, "wrong-role";
        /// No adjacency on this port (yet).
        NoAdjacency = 9, "no-adjacency";
        /// Another domain.
        DomainMismatch = 10, "domain-mismatch";
        /// Hello parameters that do not fit ours.
        ParameterMismatch = 11, "parameter-mismatch";
        /// Certificate does not verify under the domain key.
        BadCertificate = 12, "bad-certificate";
        /// Signature does not verify.
        BadSignature = 13, "bad-signature";
        /// Hop MAC is missing.
        MissingMac = 14, "missing-mac";
        /// Hop MAC does not verify.
        BadMac = 15, "bad-mac";
        /// Hop counter was seen already, or the session is an old one.
        Replayed = 16, "replayed";
        /// Two nodes claim one identity, or a node claims ours.
        DuplicateIdentity = 17, "duplicate-identity";
        /// An LSA older than ours.
        StaleLsa = 18, "stale-lsa";
        /// An LSA that came too soon after its predecessor.
        MinArrival = 19, "min-arrival";
        /// An LSA whose prefix no grant or certificate covers.
        NotAuthorised = 20, "not-authorised";
        /// A grant or an attachment that is not valid any more.
        GrantExpired = 21, "grant-expired";
        /// A bound on the number of entries was reached.
        ResourceLimit = 22, "resource-limit";
        /// No FIB entry for the destination.
        NoRoute = 32, "no-route";
        /// The egress SG has no such instance.
        NoSuchInstance = 33, "no-such-instance";
        /// Hop limit ran out.
        HopLimitExceeded = 34, "hop-limit-exceeded";
        /// The source name does not belong to the sending pod.
        SourceNotAuthorised = 35, "source-not-authorised";
        /// The next hop's port is down.
        PortDown = 36, "port-down";
        /// The local queue was full.
        QueueFull = 37, "queue-full";
        /// The end-to-end checksum does not match.
        BadChecksum = 38, "bad-checksum";
        /// The frame would leave by the port it came in on, failed twice to come nearer to its destination, or is our
        /// own.
        Looped = 39, "looped";
        /// Sending failed in the kernel.
        SendFailed = 40, "send-failed";
        /// A policy older than the one in force.
        StalePolicy = 48, "stale-policy";
        /// A policy that expired.
        PolicyExpired = 49, "policy-expired";
        /// A policy whose next hop is not reachable.
        PolicyUnreachable = 50, "policy-unreachable";
        /// A response or report that is not (or no longer) awaited, or a duplicate.
        Unsolicited = 51, "unsolicited";
    }
}
