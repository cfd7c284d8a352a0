//! The configuration file of a node (JSON). A foreign implementation is started with the path of such a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything a node process needs to know. Keys and certificates are hexadecimal wire encodings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Own identity.
    pub node: String,
    /// `sr`, `sg`, `spa`, `scsc` or `pod`.
    pub role: String,
    /// Trust domain.
    pub domain: String,
    /// Unix socket of the management interface.
    pub admin_socket: PathBuf,
    /// Ports in configuration order.
    pub ports: Vec<PortConfig>,
    /// Domain root key, own secrets and certificate.
    pub identity: IdentityConfig,
    /// Periods and deadlines of this run.
    #[serde(rename = "pace")]
    pub timers: Timers,
    /// Pod: its services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceConfig>,
    /// SPA: pod → names it may have. A pool name must be listed itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub licences: BTreeMap<String, Vec<String>>,
    /// SPA: the names in `licences` that are pools. Such an entry licenses joining the pool and nothing below it; every
    /// other entry is a namespace and covers the names below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
    /// SCSC (and shown by SGs): thresholds by prefix; `default` for all others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub thresholds: BTreeMap<String, Thresholds>,
    /// SG: also used for transit.
    #[serde(default)]
    pub transit: bool,
    /// Routed frames carry link MACs, and others are dropped: the same at all nodes of a domain. To be left out, or false to
    /// see what they cost.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub link_macs: bool,
    /// SG: where it serves class 1 over HTTP and gRPC; not at all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayConfig>,
    /// Pod: how programs of its services are confined; not at all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confine: Option<ConfineConfig>,
    /// How long the node waits for its interfaces, ms. A lab makes them before it starts nodes; container engines start
    /// nodes first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interfaces_within_ms: u64,
}

/// Whether a number is 0, for serde.
#[must_use]
pub const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What of the host the programs of a pod's services find: everything, read-only, but for this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfineConfig {
    /// Folders that are empty for them. `/run` always is.
    pub hidden: Vec<PathBuf>,
    /// The folder in which they write. It is made where it is not there.
    pub folder: PathBuf,
}

/// A pair of interfaces in the SG's namespace, between its raw socket and the kernel's TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// The end of the raw socket, without addresses.
    pub interface: String,
    /// The other end, which has the gateway's address and its default route.
    pub served_by: String,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// Port name: the neighbour's node identity.
    pub name: String,
    /// Network interface in the node's namespace.
    pub interface: String,
    /// Cost of sending over it.
    pub cost: u32,
    /// Role expected at the other end; another one is refused.
    pub peer_role: String,
}

/// Keys of a node, hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// Domain root's Ed25519 public key, 32 bytes.
    pub root_key: String,
    /// Own Ed25519 secret, 32 bytes.
    pub signing_secret: String,
    /// Own X25519 secret, 32 bytes.
    pub agreement_secret: String,
    /// Own certificate, wire encoding.
    pub certificate: String,
}

/// A service of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// Its prefix.
    pub prefix: String,
    /// Its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Its share in the pool.
    #[serde(default = "one")]
    pub weight: u16,
    /// The program that serves it; none: the built-in service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunConfig>,
}

/// A program that serves a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Program and arguments; `{name}`, `{address}`, `{host}` and `{domain}` stand for those of the service.
    pub argv: Vec<String>,
    /// Variables beside those every program has (`DAMC_NAME`, `DAMC_ADDRESS`, …), with the same placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub cwd: PathBuf,
    /// When it is ready; only then is the service announced.
    #[serde(default)]
    pub ready: Ready,
    /// Not ready after this long, it is ended and started again, ms.
    pub ready_within_ms: u64,
    /// What follows its end.
    #[serde(default)]
    pub restart: Restart,
}

/// When a program is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Ready {
    /// A GET of this path is answered with a status of 200 to 399.
    Http {
        /// Path.
        http: String,
        /// TCP port.
        port: u16,
    },
    /// Something listens on a TCP port.
    Port {
        /// TCP port.
        port: u16,
    },
    /// It has printed a line that contains this text.
    Line {
        /// The text.
        line: String,
    },
    /// It has been started.
    Started {},
}

impl Default for Ready {
    fn default() -> Self {
        Self::Started {}
    }
}

/// What follows the end of a program. A restart waits longer after each end that follows soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is started again.
    #[default]
    Always,
    /// It is started again unless its exit status was 0.
    OnFailure,
    /// Nothing.
    Never,
}

/// The default of what is on unless it is turned off.
#[must_use]
pub const fn yes() -> bool {
    true
}

/// Whether that is so, and need not be written.
#[must_use]
pub const fn is_yes(value: &bool) -> bool {
    *value
}

const fn one() -> u16 {
    1
}

/// Preset conditions of a path (drafts section 6 (3)): violated when bandwidth ≤, delay ≥ or jitter ≥ the preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// bit/s.
    pub bandwidth_bps: u64,
    /// ns.
    pub delay_ns: u64,
    /// ns.
    pub jitter_ns: u64,
}

/// The one place where periods and deadlines of a run live. Milliseconds unless named otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timers {
    /// Hello period.
    pub hello_interval_ms: u64,
    /// Neighbour is down after this silence of hellos.
    pub dead_interval_ms: u64,
    /// Echo period, 0 for none.
    pub echo_interval_ms: u64,
    /// Missed echoes.
    pub echo_multiplier: u8,
    /// First retransmission of LSAs, announcements and requests; doubles up to `retransmit_max_ms`.
    pub retransmit_ms: u64,
    /// Upper bound of the back-off.
    pub retransmit_max_ms: u64,
    /// LSA lifetime.
    pub lsa_lifetime_ms: u64,
    /// LSA refresh.
    pub lsa_refresh_ms: u64,
    /// Least gap between two originations of one LSA (the first change goes at once).
    pub lsa_min_origination_ms: u64,
    /// Least gap between two acceptances of one LSA.
    pub lsa_min_arrival_ms: u64,
    /// RFC 8405: QUIET delay after the first event (0: at once).
    pub spf_initial_ms: u64,
    /// RFC 8405: SHORT_WAIT delay.
    pub spf_short_ms: u64,
    /// RFC 8405: LONG_WAIT delay.
    pub spf_long_ms: u64,
    /// RFC 8405: time to learn.
    pub spf_learn_ms: u64,
    /// RFC 8405: hold-down.
    pub spf_holddown_ms: u64,
    /// Grant validity an SPA gives; SGs renew at half of it.
    pub grant_lifetime_ms: u64,
    /// An SPA that does not answer within this is unreachable.
    pub auth_timeout_ms: u64,
    /// For this long a name without a route may come back: its connections are told, not reset, and the names of a pod
    /// whose link is silent stay its own.
    pub unreachable_grace_ms: u64,
    /// Period of path probes from every SG to every service instance.
    pub probe_interval_ms: u64,
    /// Every how many probes a bandwidth train goes out.
    pub train_every: u32,
    /// Packets of a train.
    pub train_length: u16,
    /// Bytes of a train packet (PDU).
    pub train_bytes: u16,
    /// Period of detection tasks.
    pub task_interval_ms: u64,
    /// Misses after which a target is unavailable.
    pub miss_limit: u32,
    /// Telemetry period.
    pub telemetry_interval_ms: u64,
    /// Policies expire after this unless refreshed (SCSC refreshes at a third).
    pub policy_lifetime_ms: u64,
    /// Least time between two changes of one policy.
    pub policy_hold_ms: u64,
    /// Return to the plain path only when its metrics are better than this share of the thresholds (per cent).
    pub reentry_percent: u64,
    /// … for this many reports on end.
    pub reentry_reports: u32,
    /// Telemetry older than this is no basis for a policy.
    pub staleness_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            hello_interval_ms: 500,
            dead_interval_ms: 4000,
            echo_interval_ms: 50,
            echo_multiplier: 3,
            retransmit_ms: 50,
            retransmit_max_ms: 1000,
            lsa_lifetime_ms: 3_600_000,
            lsa_refresh_ms: 1_200_000,
            lsa_min_origination_ms: 50,
            lsa_min_arrival_ms: 10,
            spf_initial_ms: 0,
            spf_short_ms: 20,
            spf_long_ms: 100,
            spf_learn_ms: 250,
            spf_holddown_ms: 500,
            grant_lifetime_ms: 600_000,
            auth_timeout_ms: 2000,
            unreachable_grace_ms: 3000,
            probe_interval_ms: 200,
            train_every: 5,
            train_length: 32,
            train_bytes: 1200,
            task_interval_ms: 500,
            miss_limit: 3,
            telemetry_interval_ms: 200,
            policy_lifetime_ms: 6000,
            policy_hold_ms: 1000,
            reentry_percent: 80,
            reentry_reports: 3,
            staleness_ms: 3000,
        }
    }
}
