//! The timeline.

use schemars::JsonSchema;

use super::{Direction, Distribution, Id, Loss, Name, Rate, Reorder, Share, Time, Word};

/// An entry of the timeline: a time, and one thing that happens or is expected.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Event {
    /// Time after convergence.
    at: Option<Span>,
    /// Begins when the event of this label is over.
    after: Option<Id>,
    /// A label for other events.
    r#as: Option<Id>,
    /// From one start to the next; needs `times`.
    every: Option<Span>,
    /// Times in all; needs `every`.
    times: Option<u32>,
    /// How long each time lasts; what was done is taken back then.
    r#for: Option<Span>,
    /// The ends of a link that changes; needs `set`, `clear` or `follow`.
    link: Option<(Id, Id)>,
    /// `down`, `up`, `silent`, or new properties.
    set: Option<LinkState>,
    /// The link goes back to what the topology says.
    clear: Option<bool>,
    /// A trace that the link follows: a file with columns time, delay, rate, loss, or one of Mahimahi.
    follow: Option<String>,
    /// A node that changes; needs `do`.
    node: Option<Id>,
    /// A service that changes; needs `do`.
    service: Option<Name>,
    /// What a node or a service does.
    r#do: Option<Step>,
    /// A new service of a pod: `/X/9 on pod-2`.
    announce: Option<String>,
    /// An announced service goes: `/X/9`, or `/X/9 on pod-2`.
    withdraw: Option<String>,
    /// A pod whose licence changes; needs `grant` or `revoke`.
    licence: Option<Id>,
    /// What it may announce from now on.
    grant: Option<Name>,
    /// What it may no longer announce.
    revoke: Option<Name>,
    /// Groups of nodes between which nothing passes.
    partition: Option<Vec<Group>>,
    /// Requests at fixed times.
    load: Option<Load>,
    /// A program in a pod.
    run: Option<RunEvent>,
    /// What is expected: exactly one of its members.
    expect: Option<Expectation>,
    /// It becomes true within this time.
    within: Option<Span>,
    /// It is true all the time.
    throughout: Option<bool>,
}

/// A time with its unit, at most an hour.
#[derive(JsonSchema)]
struct Span(#[schemars(regex(pattern = r"^([0-9]+\.?[0-9]*|\.[0-9]+) *(ns|us|ms|s|min|h)$"))] String);

/// Requests each second, from 0.1/s to 10000/s.
#[derive(JsonSchema)]
struct PerSecond(#[schemars(regex(pattern = r"^([0-9]+\.?[0-9]*|\.[0-9]+) */s$"))] String);

/// Bytes, at most 1kB.
#[derive(JsonSchema)]
struct Size(#[schemars(regex(pattern = r"^([0-9]+\.?[0-9]*|\.[0-9]+) *k?B$"))] String);

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Group {
    /// These nodes.
    Nodes(Vec<Id>),
    /// All others.
    Rest(Rest),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Rest {
    Rest,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Load {
    /// The pod that asks.
    from: Id,
    /// Whom.
    to: Name,
    /// How often.
    rate: PerSecond,
    /// Bytes of a request; 16 by default.
    size: Option<Size>,
    /// How; rmi by default.
    kind: Option<LoadKind>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum LoadKind {
    Rmi,
    Udp,
    Tcp,
    Http,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct RunEvent {
    /// The pod.
    r#in: Id,
    /// Command and arguments.
    command: Vec<Word>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Expectation {
    /// A call is answered.
    reachable: Option<Called>,
    /// A call is refused or has no answer.
    unreachable: Option<Called>,
    /// A call takes this way.
    path: Option<Path>,
    /// A forwarding table has a way, these next hops, or none.
    fib: Option<FibEntry>,
    /// A policy is in force.
    policy: Option<PolicyEntry>,
    /// Requests of a load without an answer.
    lost: Option<Lost>,
    /// Median of the times that requests of a load took.
    p50: Option<Latency>,
    /// 99th percentile of them.
    p99: Option<Latency>,
    /// 99.9th percentile of them.
    #[schemars(rename = "p99.9")]
    p999: Option<Latency>,
    /// No user's frame crosses a link, or a node sends nothing; needs `for`.
    silent: Option<Silent>,
    /// What holds in every network once it is quiet, and in each state before.
    invariants: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Called {
    /// The pod that calls.
    from: Id,
    /// Whom.
    name: Name,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Path {
    /// From a pod to the first service of another, every node of the way.
    Whole(Vec<Id>),
    /// From a pod to a name.
    ToName(PathToName),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PathToName {
    /// The pod that calls.
    from: Id,
    /// Whom.
    name: Name,
    /// All SGs and SRs of the way, in order.
    nodes: Option<Vec<Id>>,
    /// Some of them, in order.
    via: Option<Vec<Id>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct FibEntry {
    /// SG or SR.
    node: Id,
    prefix: Name,
    /// All its next hops.
    next: Option<NextHops>,
    /// It has no way.
    absent: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum NextHops {
    One(Id),
    Several(Vec<Id>),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct PolicyEntry {
    /// SG or SR.
    node: Id,
    prefix: Name,
    /// It has none.
    absent: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Lost {
    /// Label of the load.
    of: Id,
    /// Requests.
    at_most: u32,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Latency {
    /// Label of the load.
    of: Id,
    at_most: Span,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Silent {
    Link((Id, Id)),
    Node(Id),
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
    /// Frames are lost, carrier stays.
    Silent,
}

/// New properties of a link; the others stay as they are.
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
#[schemars(rename_all = "lowercase")]
enum Step {
    Kill,
    Stop,
    Start,
    Pause,
    Resume,
    Overload,
    Normal,
    /// Of a service: its process is killed, and the pod starts it again.
    Restart,
}
