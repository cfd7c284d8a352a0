//! A wire between two nodes: two directions of the model that the relay has too.

use core::time::Duration;

use damc_impair::{DirectionCounters, DirectionModel, DirectionSpec, FramePool, Loss, Slot};
use damc_wire::Timestamp;
use damc_wire::registry::ETHERTYPE;

/// Bytes of an Ethernet header.
const HEADER: usize = 14;
/// Where the EtherType stands in it.
const ETHERTYPE_AT: usize = 12;

/// Bytes of the frame that carries a PDU.
pub(crate) fn on_wire(pdu: &[u8]) -> u64 {
    (pdu.len() + HEADER) as u64
}

/// A link that delays and does nothing else.
#[must_use]
pub fn delayed(delay: Duration) -> DirectionSpec {
    DirectionSpec { delay_ns: u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX), ..DirectionSpec::default() }
}

/// A link as it is where nobody says anything else: one that delays by 0.1 ms.
#[must_use]
pub fn usual() -> DirectionSpec {
    delayed(Duration::from_micros(100))
}

/// A link that loses this share of its frames, reorders them within 2 ms and duplicates a third as many as it loses.
#[must_use]
pub fn lossy(share: f64) -> DirectionSpec {
    DirectionSpec {
        jitter_ns: 1_000_000,
        loss: Loss::Random { probability: share },
        duplicate: share / 3.0,
        ..delayed(Duration::from_micros(1300))
    }
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Index of the node.
    pub(crate) node: usize,
    /// Its port.
    pub(crate) port: damc_proto::io::PortId,
}

/// A link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    /// By sending end.
    pub(crate) directions: [Direction; 2],
    /// Both ends see carrier.
    pub(crate) up: bool,
    /// Rises when the link goes down: what was under way is lost.
    pub(crate) epoch: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub(crate) struct Direction {
    model: DirectionModel,
    /// An event in the queue takes out what is due then.
    armed: Option<Timestamp>,
}

impl Direction {
    pub(crate) fn new(spec: DirectionSpec, seed: u64) -> Self {
        Self { model: DirectionModel::new(spec, seed), armed: None }
    }

    pub(crate) fn spec(&self) -> &DirectionSpec {
        self.model.spec()
    }

    pub(crate) fn counters(&self) -> &DirectionCounters {
        self.model.counters()
    }

    /// Takes a PDU as the frame it is on an Ethernet, which is what lengths and damage are counted over.
    pub(crate) fn enqueue(&mut self, now: Timestamp, pdu: &[u8], frame: &mut Vec<u8>, pool: &mut FramePool) {
        frame.clear();
        frame.resize(HEADER, 0);
        frame[ETHERTYPE_AT..].copy_from_slice(&ETHERTYPE.to_be_bytes());
        frame.extend_from_slice(pdu);
        self.model.enqueue(now, frame, pool);
    }

    /// The next frame that is due, to be given back to the pool.
    pub(crate) fn pop_due(&mut self, now: Timestamp, pool: &FramePool) -> Option<Slot> {
        self.armed = self.armed.filter(|armed| *armed > now);
        let due = self.model.pop_due(now)?;
        self.model.delivered(due, pool.frame(due.slot).len(), now);
        Some(due.slot)
    }

    /// When an event has to take out what is due, where there is none in time.
    pub(crate) fn arm(&mut self) -> Option<Timestamp> {
        let next = self.model.next_due()?;
        let needed = self.armed.is_none_or(|armed| next < armed);
        if needed {
            self.armed = Some(next);
        }
        needed.then_some(next)
    }

    /// Does this from now on. A new rate moves what waits, so the caller arms it again.
    pub(crate) fn set(&mut self, now: Timestamp, spec: &DirectionSpec) {
        self.model.change(now, &spec.into());
        self.armed = None;
    }

    /// Loses what is under way.
    pub(crate) fn cut(&mut self, pool: &mut FramePool) {
        while let Some(due) = self.model.pop_due(Timestamp::FAR_FUTURE) {
            self.model.refused();
            pool.release(due.slot);
        }
    }
}

/// The PDU of a frame as a node's socket takes it: not where damage made another EtherType of it.
pub(crate) fn pdu_of(frame: &[u8]) -> Option<&[u8]> {
    let (header, payload) = frame.split_at_checked(HEADER)?;
    (header[ETHERTYPE_AT..] == ETHERTYPE.to_be_bytes()).then(|| damc_wire::frame::without_padding(payload))
}
