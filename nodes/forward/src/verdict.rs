//! What is done with one routed PDU.

use damc_wire::frame::{Ahead, RoutedView};
use damc_wire::{DropReason, Header, MessageType};

use crate::admission::Gate;
use crate::fib::Fib;
use crate::group::Group;
use crate::route::{NextHop, PortId};

/// Where a PDU comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingress {
    /// From a neighbour.
    Port(PortId),
    /// Made here of what the pod behind this port sent in another form.
    Made(PortId),
    /// From this node.
    Local,
}

impl Ingress {
    /// The port it came in by, if any.
    const fn port(self) -> Option<PortId> {
        match self {
            Self::Port(port) | Self::Made(port) => Some(port),
            Self::Local => None,
        }
    }
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out by this port. Hop limit and label in the PDU are already those of the next hop; [`Fib::seal`] writes the link MAC.
    Send(PortId),
    /// To this node's control plane.
    Deliver,
    /// Nowhere.
    Drop {
        /// Why.
        reason: DropReason,
        /// The source is to be told.
        reply: bool,
    },
}

/// Parses `pdu`, a routed PDU as it came in or as the node's own control plane made it, and decides about it as
/// [`decide`] does. What is not well-formed is dropped.
#[must_use]
pub fn forward(fib: &Fib, ingress: Ingress, pdu: &mut [u8]) -> Verdict {
    match RoutedView::parse(pdu) {
        Ok(mut frame) => decide(fib, ingress, &mut frame),
        Err(error) => Verdict::Drop { reason: error.drop_reason(), reply: false },
    }
}

/// Decides about a routed PDU and makes its header that of the next hop.
///
/// In order: sent by the neighbour on this port, by its link MAC; allowed in by this port; local destinations before labels; the label of a policy; the longest matching
/// prefix. Frames of one flow of one source take the same of several equal ways, and leave it only when its port goes
/// down; where all of them are down they take the loop-free alternate. No frame leaves by the port it came in by, except
/// from one service of a pod to another (FWD-02).
#[must_use]
pub fn decide(fib: &Fib, ingress: Ingress, frame: &mut RoutedView<&mut [u8]>) -> Verdict {
    let decision = weigh(fib, ingress, frame);
    if let Some(hop_limit) = decision.hop_limit {
        frame.set_hop_limit(hop_limit);
    }
    if let Some(label) = decision.label {
        frame.set_label(label);
    }
    if let Some(ahead) = decision.ahead {
        frame.set_ahead(ahead);
    }
    decision.verdict
}

/// A verdict and the header fields that change with it.
struct Decision {
    verdict: Verdict,
    hop_limit: Option<u8>,
    label: Option<u32>,
    ahead: Option<Ahead>,
}

/// Who sent the frame, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Pod,
    Forwarder,
    Own,
}

fn weigh(fib: &Fib, ingress: Ingress, view: &RoutedView<&mut [u8]>) -> Decision {
    let (header, told) = (view.header(), view.ahead());
    let sender = match admit(fib, ingress, view) {
        Ok(sender) => sender,
        Err(reason) => return drop(header, reason, reason == DropReason::SourceNotAuthorised),
    };
    let route = fib.lookup(view.destination());
    match way(fib, ingress, sender, view, route) {
        Way::Deliver => Decision { verdict: Verdict::Deliver, hop_limit: None, label: None, ahead: None },
        Way::Drop(reason) => drop(header, reason, true),
        Way::Out { port, label } => {
            let said = match sender {
                Sender::Forwarder if header.label == 0 => told,
                // A label has led the frame here on a path of its own.
                Sender::Forwarder => Ahead { cost: 0, ..told },
                Sender::Pod | Sender::Own => Ahead::default(),
            };
            let Some(ahead) = descend(route.filter(|r| label == 0 && !r.local), said) else {
                return drop(header, DropReason::Looped, true);
            };
            let ahead = (ahead != told).then_some(ahead);
            let label = (label != header.label).then_some(label);
            if sender == Sender::Own {
                return Decision { verdict: Verdict::Send(port), hop_limit: None, label, ahead };
            }
            match header.hop_limit {
                0 | 1 => drop(header, DropReason::HopLimitExceeded, true),
                left => Decision { verdict: Verdict::Send(port), hop_limit: Some(left - 1), label, ahead },
            }
        }
    }
}

/// Lets a frame in, or says why not.
fn admit(fib: &Fib, ingress: Ingress, view: &RoutedView<&mut [u8]>) -> Result<Sender, DropReason> {
    let Some(port) = ingress.port() else { return Ok(Sender::Own) };
    let Some(port) = fib.ports.get(usize::from(port.0)) else { return Err(DropReason::NoAdjacency) };
    if let (Ingress::Port(_), Some(keys)) = (ingress, &port.keys) {
        keys.inbound.check(view.pdu())?;
    }
    match &*port.gate {
        Gate::Closed => Err(DropReason::NoAdjacency),
        Gate::Open => Ok(Sender::Forwarder),
        Gate::Pod(_) if !is_of_pods(view.header().message_type) => Err(DropReason::WrongRole),
        Gate::Pod(sources) if sources.cover(view.source()) => Ok(Sender::Pod),
        Gate::Pod(_) => Err(DropReason::SourceNotAuthorised),
    }
}

/// Whether a pod may send routed messages of this type: calls and what answers them, probes and tasks (`nodes/WIRE.md`,
/// section 14). Telemetry, policies and queries are between SGs, SRs and the SCSC, and each costs its receiver a
/// signature.
const fn is_of_pods(message_type: MessageType) -> bool {
    matches!(
        message_type,
        MessageType::Data | MessageType::Packet | MessageType::Nack | MessageType::ProbeReply | MessageType::TaskReport
    )
}

/// Which way a frame goes and which label it carries there.
enum Way {
    Deliver,
    Out { port: PortId, label: u32 },
    Drop(DropReason),
}

fn way(fib: &Fib, ingress: Ingress, sender: Sender, view: &RoutedView<&mut [u8]>, route: Option<&Group>) -> Way {
    // Pods do not choose paths: what they wrote as label is no label.
    let label = if sender == Sender::Pod { 0 } else { view.header().label };
    if route.is_some_and(|r| r.deliver) {
        return Way::Deliver;
    }
    let stamp = route.and_then(|r| r.stamp);
    if let Some(stamp) = stamp.filter(|s| sender == Sender::Pod && may_leave(fib, ingress, sender, s.port)) {
        return Way::Out { port: stamp.port, label: stamp.label };
    }
    // Own frames with the label of a policy that begins here (probes along its path): the first hop is in the stamp, and
    // the policy may lead away from an instance of the pool behind an own port.
    let first = stamp.filter(|s| sender == Sender::Own && s.label == label).map(|s| s.port);
    if label != 0 && (first.is_some() || !route.is_some_and(|r| r.local)) {
        let port = first.or_else(|| fib.label_port(label, view.destination()));
        if let Some(port) = port.filter(|p| may_leave(fib, ingress, sender, *p)) {
            return Way::Out { port, label };
        }
    }
    let Some(route) = route else { return Way::Drop(DropReason::NoRoute) };
    let hash = fib.key.flow(view.header().flow, view.source());
    match choose(&route.next_hops, hash, |port| may_leave(fib, ingress, sender, port)) {
        // On the last hop the label has served; before that, a label that is not known here is cleared.
        Some(port) => Way::Out { port, label: if route.local { label } else { 0 } },
        // It came back from where it has to go.
        None if route.next_hops.iter().any(|hop| fib.is_usable(hop.port)) => Way::Drop(DropReason::Looped),
        None => match choose(&route.backups, hash, |port| may_leave(fib, ingress, sender, port)) {
            Some(port) => Way::Out { port, label: 0 },
            None => Way::Drop(DropReason::PortDown),
        },
    }
}

/// What a frame on this plain route, if it is on one, tells the next forwarder; none where it goes in circles. By plain
/// routes each node is nearer to the destination than the one before. Where a change has not reached all tables yet, or a
/// loop-free alternate is used, one node may be an exception; at the second the frame has come to wrong tables twice and
/// ends. So no frame goes round for as long as its hop limit lets it.
fn descend(plain: Option<&Group>, told: Ahead) -> Option<Ahead> {
    let cost = plain.map_or(0, |route| route.cost);
    let uphill = told.cost != 0 && cost >= told.cost;
    (!uphill || !told.uphill).then_some(Ahead { cost, uphill: told.uphill || uphill })
}

/// Whether a frame may leave by a port: the port is up, and the frame did not come in by it or comes from a pod.
fn may_leave(fib: &Fib, ingress: Ingress, sender: Sender, port: PortId) -> bool {
    fib.is_usable(port) && (ingress.port() != Some(port) || sender == Sender::Pod)
}

/// Chooses among the usable next hops by weight, so that each flow has its own order of preference: one that goes moves only
/// the flows that used it, in proportion to the others, and one that comes takes its share from all (rendezvous hashing,
/// Thaler and Ravishankar).
fn choose(hops: &[NextHop], hash: u64, usable: impl Fn(PortId) -> bool) -> Option<PortId> {
    let mut usable = hops.iter().filter(|hop| usable(hop.port));
    let first = usable.next()?;
    let Some(second) = usable.next() else { return Some(first.port) };
    let all = [first, second].into_iter().chain(usable);
    if hops.iter().all(|hop| hop.weight.max(1) == first.weight.max(1)) {
        return all.max_by_key(|hop| draw(hash, hop.key)).map(|hop| hop.port);
    }
    let cost = |hop: &NextHop| -unit(draw(hash, hop.key)).ln() / f64::from(hop.weight.max(1));
    all.min_by(|a, b| cost(a).total_cmp(&cost(b))).map(|hop| hop.port)
}

/// What a next hop draws for a flow: evenly spread, and independent of what others draw (the finaliser of SplitMix64). The
/// hash is keyed, so nobody outside of this node knows what comes.
const fn draw(hash: u64, key: u16) -> u64 {
    let mut x = hash ^ (key as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The upper 53 bits of a draw as a number above 0 and at most 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
const fn unit(draw: u64) -> f64 {
    ((draw >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// A drop. Negative replies and acknowledgements are never answered with a negative reply: that could go on for ever.
fn drop(header: &Header, reason: DropReason, reply: bool) -> Decision {
    let answerable = !matches!(header.message_type, MessageType::Nack | MessageType::QosAck);
    Decision {
        verdict: Verdict::Drop { reason, reply: reply && answerable },
        hop_limit: None,
        label: None,
        ahead: None,
    }
}
