//! Results and arguments that do not fit one message: whoever has them holds them under a name, and whoever they are for
//! fetches them segment by segment (GAP-18, RMI-05; `nodes/WIRE.md`, section 16).

use std::collections::BTreeMap;
use std::time::Duration;

use damc_wire::frame::FLAG_TRACE;
use damc_wire::message::{Data, DataKind};
use damc_wire::registry::MAX_PDU;
use damc_wire::{Frame, Message, Name, RefusalReason, Timestamp};
use sha2::{Digest as _, Sha256};

use super::server::Request;

/// Component that marks names of what is held.
pub const HELD: &str = "~h";
/// Method that asks for a manifest or a segment.
pub const GET: &str = "get";
/// Method that says that all of it has come.
pub const DROP: &str = "drop";
/// Most bytes of one result or argument.
pub const LONGEST: usize = 16 << 20;
/// Most bytes of a segment.
const SEGMENT: usize = 1200;
/// Bytes of a manifest.
const MANIFEST: usize = 39;

/// Most things held at one time, and their bytes.
const ENTRIES: usize = 1024;
const BYTES: usize = 64 << 20;

/// The part of a name that says what is held there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which of the things held.
    pub handle: u64,
    /// One segment of it; none: its manifest.
    pub segment: Option<u32>,
}

impl Held {
    /// Splits a name of something held: under whose name, and what.
    #[must_use]
    pub fn of(name: &Name) -> Option<(Name, Self)> {
        let components: Vec<&str> = name.components().collect();
        let at = components.iter().rposition(|c| *c == HELD)?;
        let holder = Name::from_components(components[..at].iter().copied()).ok()?;
        let (handle, segment) = match &components[at + 1..] {
            [handle] => (handle, None),
            [handle, segment] => (handle, Some(segment.parse().ok()?)),
            _ => return None,
        };
        let canonical = handle.len() == 16 && handle.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let handle = u64::from_str_radix(handle, 16).ok().filter(|_| canonical)?;
        Some((holder, Self { handle, segment }))
    }

    /// Its name behind that of the holder; none where that name is too long to have it.
    #[must_use]
    pub fn behind(self, holder: &Name) -> Option<Name> {
        let handle = format!("{:016x}", self.handle);
        let segment = self.segment.map(|segment| segment.to_string());
        let tail = [HELD, &handle].into_iter().chain(segment.as_deref());
        Name::from_components(holder.components().chain(tail)).ok()
    }
}

/// What a manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// The method still runs.
    Running,
    /// All of it is there.
    Ready {
        /// It tells an error: the code of the reason, then a detail.
        error: bool,
        /// Bytes.
        length: u32,
        /// Bytes of each segment but the last.
        segment: u16,
        /// SHA-256 of all bytes.
        digest: [u8; 32],
    },
}

impl Manifest {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; MANIFEST];
        if let Self::Ready { error, length, segment, digest } = self {
            bytes[0] = if *error { 2 } else { 1 };
            bytes[1..5].copy_from_slice(&length.to_be_bytes());
            bytes[5..7].copy_from_slice(&segment.to_be_bytes());
            bytes[7..].copy_from_slice(digest);
        }
        bytes
    }

    /// Reads one; none where it is none, or announces more than [`LONGEST`].
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MANIFEST] = bytes.try_into().ok()?;
        if bytes[0] == 0 {
            return Some(Self::Running);
        }
        let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let segment = u16::from_be_bytes([bytes[5], bytes[6]]);
        let fits = length as usize <= LONGEST && (1..=MAX_PDU).contains(&usize::from(segment));
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes[7..]);
        (bytes[0] <= 2 && fits).then_some(Self::Ready { error: bytes[0] == 2, length, segment, digest })
    }
}

#[derive(Debug)]
struct Holding {
    /// Under whose name.
    holder: Name,
    bytes: Vec<u8>,
    manifest: Manifest,
    forget_at: Timestamp,
}

/// What a pod holds for others.
#[derive(Debug, Default)]
pub struct Holdings {
    /// By whom it is for, and handle.
    all: BTreeMap<(Name, u64), Holding>,
    bytes: usize,
    served: u64,
}

impl Holdings {
    /// Holds a place for something that is not there yet; false where too much is held, or this handle is taken.
    pub fn reserve(&mut self, holder: &Name, (whom, handle): (&Name, u64), forget_at: Timestamp) -> bool {
        let key = (whom.clone(), handle);
        let nameable = Held { handle, segment: Some(u32::MAX) }.behind(holder).is_some();
        if self.all.len() >= ENTRIES || self.all.contains_key(&key) || !nameable {
            return false;
        }
        let holding = Holding { holder: holder.clone(), bytes: Vec::new(), manifest: Manifest::Running, forget_at };
        self.all.insert(key, holding);
        true
    }

    /// Fills a place; false where there is none, or too many bytes are held: then the place says so.
    pub fn fill(&mut self, (whom, handle): (&Name, u64), result: Result<Vec<u8>, (RefusalReason, String)>) -> bool {
        let free = BYTES.saturating_sub(self.bytes).min(LONGEST);
        let Some(holding) = self.all.get_mut(&(whom.clone(), handle)) else { return false };
        let fits = result.as_ref().map_or(true, |bytes| bytes.len() <= free);
        let result = if fits { result } else { Err((RefusalReason::Overloaded, "too much is held".to_owned())) };
        let error = result.is_err();
        let bytes = result.unwrap_or_else(|(reason, detail)| {
            core::iter::once(reason.code()).chain(detail.into_bytes().into_iter().take(200)).collect()
        });
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let segment = segment_size(&holding.holder, whom);
        holding.manifest = Manifest::Ready { error, length, segment, digest: Sha256::digest(&bytes).into() };
        self.bytes += bytes.len();
        holding.bytes = bytes;
        fits
    }

    /// Holds something that is there: [`Holdings::reserve`] and [`Holdings::fill`].
    pub fn hold(&mut self, holder: &Name, whom: (&Name, u64), bytes: Vec<u8>, forget_at: Timestamp) -> bool {
        let held = self.reserve(holder, whom, forget_at);
        if held && !self.fill(whom, Ok(bytes)) {
            self.release(whom.0, whom.1);
            return false;
        }
        held
    }

    /// Whether something is held for this one under this name.
    #[must_use]
    pub fn has(&self, holder: &Name, (whom, handle): (&Name, u64)) -> bool {
        self.all.get(&(whom.clone(), handle)).is_some_and(|holding| holding.holder == *holder)
    }

    /// Lets go of something.
    pub fn release(&mut self, whom: &Name, handle: u64) {
        if let Some(holding) = self.all.remove(&(whom.clone(), handle)) {
            self.bytes -= holding.bytes.len();
        }
    }

    /// Answers a request whose destination names something held. What is not there, and what is not for the one who asks,
    /// is answered alike.
    pub fn handle_request(&mut self, request: &Request, (holder, held): (&Name, Held)) -> Option<Frame> {
        let DataKind::Request { method, .. } = &request.data.kind else { return None };
        let key = (request.source.clone(), held.handle);
        let found = self.all.get(&key).filter(|h| h.holder == *holder);
        let (kind, payload) = match (method.as_str(), found) {
            (GET | DROP, None) => {
                let reason = RefusalReason::NoSuchInstance;
                (DataKind::Error { reason }, b"nothing is held for you under this name".to_vec())
            }
            (GET, Some(holding)) => match held.segment {
                None => (DataKind::Response, holding.manifest.encode()),
                Some(index) => segment(holding, index),
            },
            (DROP, Some(_)) => {
                self.release(&request.source, held.handle);
                (DataKind::Response, Vec::new())
            }
            _ => {
                let reason = RefusalReason::NoSuchMethod;
                (DataKind::Error { reason }, b"what is held knows get and drop".to_vec())
            }
        };
        self.served += 1;
        let data = Data { correlation: request.data.correlation, kind, payload, hops: request.data.hops.clone() };
        let (to, flow) = (request.source.clone(), request.header.flow);
        let frame = Frame::plain(to, holder.clone(), flow, Message::Data(data));
        Some(if request.header.flags & FLAG_TRACE == 0 { frame } else { frame.traced() })
    }

    /// Forgets what nobody fetched in time.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.all.retain(|_, holding| holding.forget_at > now);
        self.bytes = self.all.values().map(|holding| holding.bytes.len()).sum();
    }

    /// Time at which [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.all.values().map(|holding| holding.forget_at).min()
    }

    /// Things held, and requests for them answered.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.all.len() as u64, self.served)
    }
}

fn segment(holding: &Holding, index: u32) -> (DataKind, Vec<u8>) {
    let Manifest::Ready { segment, .. } = holding.manifest else {
        return (DataKind::Error { reason: RefusalReason::NoSuchInstance }, b"the method still runs".to_vec());
    };
    let from = (index as usize).saturating_mul(usize::from(segment));
    match holding.bytes.get(from..) {
        Some(rest) if !rest.is_empty() => (DataKind::Response, rest[..rest.len().min(usize::from(segment))].to_vec()),
        _ => (DataKind::Error { reason: RefusalReason::NoSuchInstance }, b"no such segment".to_vec()),
    }
}

/// The longest segment that fits a message from `holder` to `whom`, within [`SEGMENT`].
fn segment_size(holder: &Name, whom: &Name) -> u16 {
    // Header and link MAC, heads of the two names, body, head of the payload, checksum.
    let others = 32 + 2 * 3 + 12 + 3 + 7;
    let left = MAX_PDU - others - holder.wire().len() - whom.wire().len();
    u16::try_from(left.min(SEGMENT)).unwrap_or(u16::MAX)
}

/// How long something is held after whoever it is for has given up.
pub const LINGER: Duration = Duration::from_secs(5);
