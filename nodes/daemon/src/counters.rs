//! Counters of one thread: written without locks by that thread, read by any.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use damc_link::SendReport;
use damc_mgmt::counts::Counts;
use damc_mgmt::label::Label;
use damc_mgmt::view::CountersView;
pub(crate) use damc_mgmt::words::GatewayCounter as GatewayCount;
use damc_wire::frame::HeaderView;
use damc_wire::{DropReason, MessageType};

/// Counters of a gateway.
const GATEWAY: usize = GatewayCount::ALL.len();

/// Frames and drops of one thread, by code point.
pub(crate) struct Counters {
    received: [AtomicU64; 256],
    sent: [AtomicU64; 256],
    dropped: [AtomicU64; 256],
    forwarded: AtomicU64,
    delivered: AtomicU64,
    control_overflow: AtomicU64,
    gateway: [AtomicU64; GATEWAY],
}

impl Counters {
    pub(crate) const fn new() -> Self {
        Self {
            received: [const { AtomicU64::new(0) }; 256],
            sent: [const { AtomicU64::new(0) }; 256],
            dropped: [const { AtomicU64::new(0) }; 256],
            forwarded: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            control_overflow: AtomicU64::new(0),
            gateway: [const { AtomicU64::new(0) }; GATEWAY],
        }
    }

    /// A frame came in.
    pub(crate) fn received(&self, pdu: &[u8]) {
        add(&self.received[type_of(pdu)], 1);
    }

    /// A frame goes out.
    pub(crate) fn sent(&self, pdu: &[u8]) {
        add(&self.sent[type_of(pdu)], 1);
    }

    /// Frames were dropped.
    pub(crate) fn dropped(&self, reason: DropReason, count: u64) {
        add(&self.dropped[usize::from(reason.code())], count);
    }

    /// The kernel dropped frames for the control thread, whose socket was full.
    pub(crate) fn control_overflown(&self, count: u64) {
        add(&self.control_overflow, count);
        self.dropped(DropReason::QueueFull, count);
    }

    /// Frames were handed to the kernel for the next hop, or not.
    pub(crate) fn transmitted(&self, report: SendReport) {
        self.dropped(DropReason::QueueFull, report.queue_full);
        self.dropped(DropReason::PortDown, report.down);
        self.dropped(DropReason::SendFailed, report.failed);
    }

    /// Frames were forwarded for others.
    pub(crate) fn forwarded(&self, count: u64) {
        add(&self.forwarded, count);
    }

    /// A frame was given to the own control plane.
    pub(crate) fn delivered(&self) {
        add(&self.delivered, 1);
    }

    /// A packet passed the gateway.
    pub(crate) fn gateway(&self, count: GatewayCount) {
        self.gateway_many(count, 1);
    }

    /// Packets passed the gateway.
    pub(crate) fn gateway_many(&self, what: GatewayCount, count: u64) {
        add(&self.gateway[what as usize], count);
    }

    /// How the flow table stands.
    pub(crate) fn flows(&self, counts: damc_gateway::FlowCounts) {
        let damc_gateway::FlowCounts { flows, begun, evicted, reset } = counts;
        for (what, count) in [
            (GatewayCount::Flows, flows),
            (GatewayCount::FlowsBegun, begun),
            (GatewayCount::FlowsEvicted, evicted),
            (GatewayCount::FlowsReset, reset),
        ] {
            self.gateway[what as usize].store(count, Relaxed);
        }
    }

    /// Adds this thread's share to a view; every drop reason is listed.
    pub(crate) fn add_to(&self, view: &mut CountersView) {
        for t in MessageType::ALL {
            accumulate(&mut view.received, *t, &self.received[usize::from(t.code())]);
            accumulate(&mut view.sent, *t, &self.sent[usize::from(t.code())]);
        }
        for reason in DropReason::ALL {
            view.dropped.add(*reason, self.dropped[usize::from(reason.code())].load(Relaxed));
        }
        for what in GatewayCount::ALL {
            accumulate(&mut view.gateway, *what, &self.gateway[*what as usize]);
        }
        view.forwarded += self.forwarded.load(Relaxed);
        view.delivered += self.delivered.load(Relaxed);
        view.control_overflow += self.control_overflow.load(Relaxed);
    }
}

/// Adds a count where there is anything to add.
fn accumulate<K: Label>(view: &mut Counts<K>, what: K, counter: &AtomicU64) {
    let count = counter.load(Relaxed);
    if count > 0 {
        view.add(what, count);
    }
}

/// Only one thread writes a counter, so that load and store do, which are cheaper than an atomic addition.
fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
    }
}

/// The code point of the message type; 0 (unassigned) where there is none.
fn type_of(pdu: &[u8]) -> usize {
    usize::from(HeaderView::of(pdu).type_code())
}
