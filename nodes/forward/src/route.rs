//! The vocabulary of forwarding: the control plane emits it, [`crate::FibBuilder`] follows it.

use damc_wire::Name;
use damc_wire::frame::LinkKey;

use crate::Admission;

/// A port of a node: the index of its configuration. A point-to-point link with one neighbour lies behind each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

/// One change of the forwarding table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Set the route of a prefix.
    Set(Route),
    /// Remove the route of a prefix. The table needs no reason; what stands beside it may.
    Remove {
        /// Prefix.
        prefix: Name,
        /// Why it goes. One that went as unreachable may be withdrawn later: then this comes a second time.
        gone: Gone,
    },
    /// Set the route of a label; the label is not 0.
    SetLabel(LabelRoute),
    /// Remove the route of a label.
    RemoveLabel(u32),
    /// What may come in by a port.
    Admit {
        /// Port.
        port: PortId,
        /// Rule.
        rule: Admission,
    },
    /// Under which keys frames pass a port. Where there are none, link MACs are neither checked nor written.
    Keys {
        /// Port.
        port: PortId,
        /// Keys, while there is an adjacency.
        keys: Option<LinkKeys>,
    },
    /// A port went down or came up: next hops over it are skipped at once, before any route changes. Ports nobody spoke
    /// of are up.
    PortState {
        /// Port.
        port: PortId,
        /// Frames can leave by it.
        up: bool,
    },
}

/// Why there is no route to a prefix any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nobody advertises it: it was withdrawn, purged or revoked, or its time was over.
    Withdrawn,
    /// It is advertised, but nobody who does can be reached. It may be back in a moment.
    Unreachable,
}

/// The keys of a link, as one end has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkKeys {
    /// Of what comes in.
    pub inbound: LinkKey,
    /// Of what leaves.
    pub outbound: LinkKey,
}

/// The route of a prefix. Why it is there and who advertises it is the control plane's own business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Prefix.
    pub prefix: Name,
    /// Matches the name itself only, not what lies below it.
    pub exact: bool,
    /// Leads to an own pod or the node itself: goes before any label the frame carries.
    pub local: bool,
    /// The node itself is the destination: give to the control plane.
    pub deliver: bool,
    /// Equal next hops; empty together with `deliver` false never occurs.
    pub next_hops: Vec<NextHop>,
    /// Loop-free alternates: used while no next hop's port is up. Empty where equal next hops stand in for each other.
    pub backups: Vec<NextHop>,
    /// Sum of costs to the destination; 0: not known.
    pub cost: u64,
    /// Ingress of a policy: what frames from own pods get.
    pub stamp: Option<Stamp>,
}

impl Route {
    /// A plain route: matches what lies below its prefix too, leads to other nodes, has no alternate, no cost and no policy.
    #[must_use]
    pub const fn plain(prefix: Name, next_hops: Vec<NextHop>) -> Self {
        let (exact, local, deliver) = (false, false, false);
        Self { prefix, exact, local, deliver, next_hops, backups: Vec::new(), cost: 0, stamp: None }
    }
}

/// One next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// Port towards it.
    pub port: PortId,
    /// Share; 0 counts as 1.
    pub weight: u16,
    /// What flows know it by, among the next hops of all routes of this node. Two next hops of one route with one key count
    /// as one.
    pub key: u16,
}

impl NextHop {
    /// A next hop that flows know by the number of its port.
    #[must_use]
    pub const fn new(port: PortId, weight: u16) -> Self {
        Self { port, weight, key: port.0 }
    }
}

/// Label and first hop of a policy path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Label.
    pub label: u32,
    /// Port of labelled frames.
    pub port: PortId,
}

/// Where frames with a label go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRoute {
    /// Label.
    pub label: u32,
    /// Good for destinations under this prefix.
    pub prefix: Name,
    /// Good for this very destination only.
    pub exact: bool,
    /// Port.
    pub port: PortId,
}
