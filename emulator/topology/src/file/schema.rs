//! The JSON Schema of topology files, for editors.
//!
//! These types mirror the file as a user writes it; nothing is parsed with them, so that the schema can describe what
//! the reader accepts without binding it to one error at a time. Tests hold them against the reader's key lists and
//! against every shipped file.
#![expect(dead_code, clippy::large_enum_variant, reason = "the types exist for their schema; none is ever made")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

/// A topology of the DAMC testbed.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "DAMC topology")]
struct Topology {
    /// Name of the topology and of its lab.
    name: Id,
    /// The trust domain of all nodes.
    domain: Id,
    /// What links have that say nothing themselves.
    defaults: Option<Defaults>,
    /// The nodes, by identity.
    nodes: BTreeMap<Id, Node>,
    /// The links: `[a, b]`, or a map with `between`.
    links: Vec<Link>,
    /// What the SPAs may grant to each pod. Left out: each pod exactly what it lists.
    licences: Option<BTreeMap<Id, Vec<Name>>>,
    /// Measurement and thresholds.
    qos: Option<Qos>,
    /// What happens during a run.
    events: Option<Vec<Event>>,
}

/// 1 to 32 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit.
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
    /// Properties of every link, both ways.
    link: Option<Direction>,
}

/// A node.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Node {
    /// What it is.
    kind: Kind,
    /// Pod: its services.
    services: Option<Vec<Service>>,
    /// SG: carries traffic of others too.
    transit: Option<bool>,
    /// SG, SR: starts with the overload bit set.
    overload: Option<bool>,
    /// A foreign implementation: command and arguments; `{config}` stands for the path of its configuration.
    exec: Option<Vec<Word>>,
    /// Where drawings put it: right and down, in node distances.
    position: Option<(f64, f64)>,
}

/// What a node is.
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
    /// The program that serves it: command and arguments, with {name}, {address}, {host} and {domain} for the service's.
    run: Option<Vec<Word>>,
    /// Variables of the program.
    env: Option<BTreeMap<String, Word>>,
    /// Working directory of the program, from the folder of this file on; that folder where nothing is said.
    cwd: Option<String>,
    /// When the program is ready; only then is the service announced. At its start where nothing is said.
    ready: Option<Ready>,
    /// How long that may take; 15s where nothing is said.
    within: Option<Time>,
    /// What follows the program's end; always where nothing is said.
    restart: Option<Restart>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Ready {
    /// Something listens on a TCP port.
    Port(ReadyPort),
    /// A path is answered.
    Http(ReadyHttp),
    /// It has printed a line.
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
    /// Path that is answered with a status of 200 to 399.
    http: String,
    /// TCP port.
    port: u16,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ReadyLine {
    /// What the line contains.
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
    /// The two ends.
    between: (Id, Id),
    /// From the first to the second end only.
    forward: Option<Direction>,
    /// From the second to the first end only.
    backward: Option<Direction>,
    /// Metric of plain routing; 1 where nothing is said.
    cost: Option<u32>,
    /// Time every frame takes.
    delay: Option<Time>,
    /// Deviation of the delay.
    jitter: Option<Time>,
    /// Shape of the deviation.
    distribution: Option<Distribution>,
    /// Frames lost.
    loss: Option<Loss>,
    /// Frames delivered twice.
    duplicate: Option<Share>,
    /// Frames with one bit flipped.
    corrupt: Option<Share>,
    /// Frames that overtake.
    reorder: Option<Reorder>,
    /// Rate.
    rate: Option<Rate>,
    /// Frames held at most.
    limit: Option<u32>,
}

/// Properties of one direction.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Direction {
    /// Metric of plain routing.
    cost: Option<u32>,
    /// Time every frame takes.
    delay: Option<Time>,
    /// Deviation of the delay.
    jitter: Option<Time>,
    /// Shape of the deviation.
    distribution: Option<Distribution>,
    /// Frames lost.
    loss: Option<Loss>,
    /// Frames delivered twice.
    duplicate: Option<Share>,
    /// Frames with one bit flipped.
    corrupt: Option<Share>,
    /// Frames that overtake.
    reorder: Option<Reorder>,
    /// Rate.
    rate: Option<Rate>,
    /// Frames held at most.
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
    /// Each frame by itself.
    Random(Share),
    /// In bursts.
    Bursts(GilbertElliott),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GilbertElliott {
    model: LossModel,
    /// From the good to the bad state.
    p: Share,
    /// Back to the good state.
    r: Share,
    /// Received in the bad state; 0% where nothing is said.
    h: Option<Share>,
    /// Received in the good state; 100% where nothing is said.
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
    /// Any frame.
    Any(Share),
    /// Every so-manieth frame.
    Gap(GapReorder),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct GapReorder {
    /// Probability that a frame whose turn it is overtakes.
    probability: Share,
    /// Every how many frames it is one's turn.
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

/// Violated when bandwidth is at or below, delay or jitter at or above the preset; any one suffices.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Thresholds {
    bandwidth: Option<Rate>,
    delay: Option<Time>,
    jitter: Option<Time>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Event {
    /// A link changes.
    Link(LinkEvent),
    /// A node changes.
    Node(NodeEvent),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct LinkEvent {
    /// Time after convergence.
    at: Time,
    /// The ends of the link.
    link: (Id, Id),
    /// `down`, `up`, or new properties.
    set: LinkState,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum LinkState {
    Carrier(Carrier),
    Properties(Change),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Carrier {
    Down,
    Up,
}

/// New properties of a link; what is left out stays.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Change {
    /// From the first to the second end only.
    forward: Option<Direction>,
    /// From the second to the first end only.
    backward: Option<Direction>,
    delay: Option<Time>,
    jitter: Option<Time>,
    distribution: Option<Distribution>,
    loss: Option<Loss>,
    duplicate: Option<Share>,
    corrupt: Option<Share>,
    reorder: Option<Reorder>,
    rate: Option<Rate>,
    limit: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct NodeEvent {
    /// Time after convergence.
    at: Time,
    /// The node.
    node: Id,
    /// What happens to its process.
    r#do: NodeAction,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum NodeAction {
    Kill,
    Stop,
    Start,
    Pause,
    Resume,
}

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Topology).to_value()
}
