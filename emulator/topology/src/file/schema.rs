//! The JSON Schema of topology files, for editors.
//!
//! These types mirror the file as a user writes it. Nothing is parsed with them: a parser derived from them would
//! report one mistake at a time. Tests compare them with the reader's key lists and with every shipped file.
#![expect(dead_code, clippy::large_enum_variant, reason = "the types exist only for their schema")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

mod events;

use events::Event;

/// Identifies the schema. The number is its version: it rises when a file that was valid may no longer be, or when a property
/// changes its meaning.
const SCHEMA_ID: &str = "urn:damc-testbed:schema:topology:1";
/// A topology of the DAMC testbed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "DAMC topology", extend("$id" = SCHEMA_ID))]
struct Topology {
    /// Name of the topology and of its lab.
    name: Id,
    /// The trust domain of all nodes.
    domain: Id,
    /// Properties of every link that does not set its own.
    defaults: Option<Defaults>,
    /// The nodes, by identity.
    nodes: BTreeMap<Id, Node>,
    /// The links: `[a, b]`, or a map with `between`.
    links: Vec<Link>,
    /// Names the SPAs may grant to each pod; by default exactly those of its services.
    licences: Option<BTreeMap<Id, Vec<Name>>>,
    /// Measurement and thresholds.
    qos: Option<Qos>,
    /// What happens during a run, and what is expected of it.
    events: Option<Vec<Event>>,
}

/// 1 to 32 characters of a-z, 0-9, '.', '_' and '-'; the first is a letter or digit.
#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
struct Id(#[schemars(regex(pattern = r"^[a-z0-9][a-z0-9._-]{0,31}$"))] String);

/// A service name such as /A/1, not under /damc.
#[derive(JsonSchema)]
struct Name(#[schemars(regex(pattern = r"^(/[A-Za-z0-9._~-]{1,64}){1,32}$"))] String);

/// A time with its unit, at most 60 s.
#[derive(JsonSchema)]
struct Time(#[schemars(regex(pattern = r"^([0-9]+\.?[0-9]*|\.[0-9]+) *(ns|us|ms|s)$"))] String);

/// A rate with its unit, from 1kbit to 1tbit.
#[derive(JsonSchema)]
struct Rate(#[schemars(regex(pattern = r"^([0-9]+\.?[0-9]*|\.[0-9]+) *[kmgt]?bit$"))] String);

/// A share from 0% to 100%.
#[derive(JsonSchema)]
struct Share(#[schemars(regex(pattern = r"^([0-9]+\.?[0-9]*|\.[0-9]+) *%$"))] String);

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Defaults {
    /// Properties of every link, in both directions.
    link: Option<Direction>,
}

/// A node.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Node {
    /// Kind of the node.
    kind: Kind,
    /// Pod: its services.
    services: Option<Vec<Service>>,
    /// SG: also forwards the traffic of others.
    transit: Option<bool>,
    /// SG, SR: starts with the overload bit set.
    overload: Option<bool>,
    /// A foreign implementation: command, arguments; `{config}`, `{node}`, `{dir}` are filled in, paths begin at this file.
    exec: Option<Vec<Word>>,
    /// Environment variables of the foreign implementation, with the same placeholders.
    env: Option<BTreeMap<String, Word>>,
    /// Place in drawings: right and down, in node distances.
    position: Option<(f64, f64)>,
}

/// Kind of a node.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Kind {
    /// Service Router.
    Sr,
    /// Service Gateway.
    Sg,
    /// Service Prefix Authentication.
    Spa,
    /// Service Mesh Communication Scheduling Centre.
    Scsc,
    /// Pod.
    Pod,
}

/// A service of a pod.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Service {
    /// Its own prefix.
    prefix: Name,
    /// The pool it is an instance of: an ancestor of the prefix.
    pool: Option<Name>,
    /// Its share in the pool.
    weight: Option<u16>,
    /// The program that serves it: command and arguments. {name}, {address}, {host} and {domain} stand for the service's.
    run: Option<Vec<Word>>,
    /// Environment variables of the program.
    env: Option<BTreeMap<String, Word>>,
    /// Working directory of the program, relative to the folder of this file; that folder by default.
    cwd: Option<String>,
    /// When the program is ready and the service is announced; 0.5 s after its start by default.
    ready: Option<Ready>,
    /// Longest wait until the program is ready; 15s by default.
    within: Option<Time>,
    /// Whether the program is started again when it ends; always by default.
    restart: Option<Restart>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Ready {
    /// Something listens on a TCP port.
    Port(ReadyPort),
    /// The program answers an HTTP request for a path.
    Http(ReadyHttp),
    /// The program has printed a line.
    Line(ReadyLine),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ReadyPort {
    /// TCP port.
    port: u16,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ReadyHttp {
    /// Path whose answer has a status of 200 to 399.
    http: String,
    /// TCP port.
    port: u16,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ReadyLine {
    /// Text that the line contains.
    line: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
enum Restart {
    Always,
    OnFailure,
    Never,
}

/// A word of a command.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Word {
    Text(String),
    Number(f64),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Link {
    /// A link with the default properties.
    Plain((Id, Id)),
    /// A link with properties.
    Detailed(DetailedLink),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DetailedLink {
    /// What it is called: no other link has this name.
    name: Option<Id>,
    /// The two ends.
    between: (Id, Id),
    /// From the first to the second end only.
    forward: Option<Direction>,
    /// From the second to the first end only.
    backward: Option<Direction>,
    /// Metric of plain routing; 1 by default.
    cost: Option<u32>,
    /// Delay of every frame.
    delay: Option<Time>,
    /// Deviation of the delay.
    jitter: Option<Time>,
    /// Shape of the deviation.
    distribution: Option<Distribution>,
    /// Share of frames that are lost.
    loss: Option<Loss>,
    /// Share of frames that are delivered twice.
    duplicate: Option<Share>,
    /// Share of frames in which one bit is flipped.
    corrupt: Option<Share>,
    /// Frames that skip the delay and so overtake others.
    reorder: Option<Reorder>,
    /// Rate.
    rate: Option<Rate>,
    /// Most frames that a direction holds; derived from rate and delay by default.
    limit: Option<u32>,
}

/// Properties of one direction.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Direction {
    /// Metric of plain routing.
    cost: Option<u32>,
    /// Delay of every frame.
    delay: Option<Time>,
    /// Deviation of the delay.
    jitter: Option<Time>,
    /// Shape of the deviation.
    distribution: Option<Distribution>,
    /// Share of frames that are lost.
    loss: Option<Loss>,
    /// Share of frames that are delivered twice.
    duplicate: Option<Share>,
    /// Share of frames in which one bit is flipped.
    corrupt: Option<Share>,
    /// Frames that skip the delay and so overtake others.
    reorder: Option<Reorder>,
    /// Rate.
    rate: Option<Rate>,
    /// Most frames that a direction holds; derived from rate and delay by default.
    limit: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Distribution {
    Uniform,
    Normal,
    Pareto,
    ParetoNormal,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Loss {
    /// Each frame is lost independently.
    Random(Share),
    /// Frames are lost in bursts.
    Bursts(GilbertElliott),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GilbertElliott {
    model: LossModel,
    /// Probability of going from the good to the bad state.
    p: Share,
    /// Probability of going back to the good state.
    r: Share,
    /// Share of frames delivered in the bad state; 0% by default.
    h: Option<Share>,
    /// Share of frames delivered in the good state; 100% by default.
    k: Option<Share>,
}

#[derive(JsonSchema)]
enum LossModel {
    #[schemars(rename = "gilbert-elliott")]
    GilbertElliott,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Reorder {
    /// Any frame may overtake.
    Any(Share),
    /// At most every n-th frame may overtake.
    Gap(GapReorder),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GapReorder {
    /// Probability that a frame overtakes once `gap` allows it.
    probability: Share,
    /// At most one in this many frames overtakes.
    gap: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Qos {
    /// Path probes.
    probe: Option<Probe>,
    /// Thresholds by prefix; `default` for all others.
    thresholds: Option<BTreeMap<String, Thresholds>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Probe {
    /// Period of path probes.
    interval: Option<Time>,
}

/// Limits of a path. Bandwidth at or below its limit, or delay or jitter at or above, is a violation.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Thresholds {
    bandwidth: Option<Rate>,
    delay: Option<Time>,
    jitter: Option<Time>,
}

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Topology).to_value()
}
