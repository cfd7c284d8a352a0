//! The first witness: recorded frames, kept in memory because cases search them again and again.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use damc_testbed::recording::{Entry, Header, Record, RecordedPort, Wanted, is_ipv6};
use damc_testbed::{World, WorldError};
use damc_wire::MessageType;

use super::Testbed;
use super::log::{Log, Place};
use crate::case::Stop;
use crate::trace::Seen;

/// Types of which thousands of frames come each second; cases see them only when they ask for the type.
const INCESSANT: [MessageType; 3] = [MessageType::Echo, MessageType::Probe, MessageType::ProbeReply];

/// Span of passing frames that is kept after a case, ns. Forged frames need the hop MAC counter of a port's newest
/// frame, which may be an echo.
const KEPT_NS: u64 = 1_000_000_000;

/// Offset of the message type in a frame: after the Ethernet header and the version.
const TYPE_AT: usize = 15;

/// What was recorded so far and still matters, in the order it was read. That is only roughly the order of the time
/// stamps, because ports are drained one after the other.
#[derive(Default)]
pub(super) struct Tail {
    /// The ports, in the order of the recording.
    ports: Vec<RecordedPort>,
    frames: Frames,
}

/// Control frames are kept for the whole run, and so is the first frame of every type at every port in each direction.
/// Other calls, packets, echoes and probes are forgotten after their case, because they are the bulk.
#[derive(Default)]
struct Frames {
    control: Log,
    calls: Log,
    incessant: Log,
    /// The first frame of each kind that is otherwise forgotten.
    first: Log,
    /// Packets between pods and their SGs, for captures; cases look at DAMC frames.
    ipv6: Log,
    kinds: HashSet<(u16, bool, u8)>,
}

impl Frames {
    fn push(&mut self, entry: Entry<'_>) {
        if is_ipv6(entry.frame) {
            return self.ipv6.push(entry);
        }
        let kind = type_code(&entry).unwrap_or_default();
        let incessant = INCESSANT.iter().any(|t| t.code() == kind);
        let call = kind == MessageType::Data.code() || kind == MessageType::Packet.code();
        if (incessant || call) && self.kinds.insert((entry.port, entry.sent, kind)) {
            self.first.push(entry);
        } else if incessant {
            self.incessant.push(entry);
        } else if call {
            self.calls.push(entry);
        } else {
            self.control.push(entry);
        }
    }

    fn forget_before(&mut self, at_ns: u64) {
        self.calls.forget_before(at_ns);
        self.incessant.forget_before(at_ns);
        self.ipv6.forget_before(at_ns);
    }

    /// All frames since `from_ns`.
    fn since(&self, from_ns: u64) -> impl Iterator<Item = Entry<'_>> {
        let logs = [&self.control, &self.calls, &self.incessant, &self.first];
        logs.into_iter().flat_map(move |log| log.since(from_ns))
    }

    /// All frames since `from_ns` that cases see without asking for their type.
    fn events(&self, from_ns: u64) -> impl Iterator<Item = Entry<'_>> {
        let logs = [&self.control, &self.calls, &self.first];
        logs.into_iter().flat_map(move |log| log.since(from_ns)).filter(|e| !is_incessant(e))
    }
}

impl Tail {
    /// Takes what a world has recorded since the last time.
    fn take(&mut self, world: &dyn World) -> Result<(), WorldError> {
        if self.ports.is_empty() {
            self.ports.clone_from(&world.recorded().ports);
        }
        let frames = &mut self.frames;
        world.drain(&mut |entry| frames.push(entry))
    }

    fn port(&self, entry: &Entry<'_>) -> Option<&RecordedPort> {
        self.ports.get(usize::from(entry.port))
    }

    /// Decodes frames and sorts them by time stamp. A clock may be too coarse to tell the ends of a link apart (a
    /// guest's counts in 256 ns): of two frames with the same stamp the one that was sent comes first.
    fn decoded<'a>(&self, entries: impl Iterator<Item = Entry<'a>>) -> Vec<Seen> {
        let mut seen: Vec<_> = entries.filter_map(|e| Seen::decode(&e, self.port(&e)?)).collect();
        seen.sort_by_key(|s| (s.at_ns, !s.sent));
        seen
    }

    /// What a node sent to its neighbour.
    fn sent(&self, from_ns: u64, node: &str, neighbour: &str) -> impl Iterator<Item = Entry<'_>> {
        let port = self.ports.iter().position(|p| p.node == node && p.port == neighbour);
        let entries = port.map(|port| self.frames.since(from_ns).filter(move |e| usize::from(e.port) == port));
        entries.into_iter().flatten().filter(|e| e.sent)
    }
}

impl Testbed {
    /// The recording up to now.
    async fn tail(&self) -> Result<MutexGuard<'_, Tail>, Stop> {
        self.lab.flush_recording().await?;
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.take(&*self.lab)?;
        Ok(tail)
    }

    /// Decoded frames since `from_ns`, at every port of every node unless `wanted` narrows it: all control frames, and
    /// calls that are not forgotten yet. Echoes, probes and their answers are left out.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn seen(&self, from_ns: u64, wanted: Wanted) -> Result<Vec<Seen>, Stop> {
        let wanted = Wanted { from_ns: Some(from_ns), ..wanted };
        let tail = self.tail().await?;
        let takes = |e: &Entry<'_>| tail.port(e).is_some_and(|port| wanted.takes(e.at_ns, port, e.sent));
        Ok(tail.decoded(tail.frames.events(from_ns).filter(takes)))
    }

    /// All frames since `from_ns`, without echoes, probes and their answers.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn frames(&self, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        self.seen(from_ns, Wanted::default()).await
    }

    /// All frames of the wanted types since the lab began; calls only as far as they are not forgotten yet.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn history(&self, wanted: impl Fn(MessageType) -> bool) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        let wanted = |e: &Entry<'_>| type_code(e).and_then(MessageType::from_code).is_some_and(&wanted);
        Ok(tail.decoded(tail.frames.since(0).filter(wanted)))
    }

    /// Calls and packets between names since `from_ns`, the first `most` of them.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn calls(&self, from_ns: u64, most: usize) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        let calls = |e: &Entry<'_>| is_of(e, MessageType::Data) || is_of(e, MessageType::Packet);
        Ok(tail.decoded(tail.frames.since(from_ns).filter(calls).take(most)))
    }

    /// Frames of every type at the ports of `node` since `from_ns` that are not forgotten yet.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn frames_at(&self, node: &str, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        Ok(tail.decoded(tail.frames.since(from_ns).filter(|e| tail.port(e).is_some_and(|p| p.node == node))))
    }

    /// Frames of every type since `from_ns`; of types forgotten after their case, at least the first at every port.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn frames_of_every_type(&self, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        Ok(tail.decoded(tail.frames.since(from_ns)))
    }

    /// Probes and their answers since `from_ns`, or since the current case began.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn probes(&self, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        let probes = |e: &Entry<'_>| is_of(e, MessageType::Probe) || is_of(e, MessageType::ProbeReply);
        Ok(tail.decoded(tail.frames.since(from_ns).filter(probes)))
    }

    /// Frames of a type since `from_ns` that `sender` put on its link to `receiver`.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn sent(&self, from_ns: u64, sender: &str, receiver: &str, t: MessageType) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        Ok(tail.decoded(tail.sent(from_ns, sender, receiver).filter(|e| is_of(e, t))))
    }

    /// Every frame that `sender` put on its link to `receiver` since `from_ns` and that is not forgotten yet.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn all_sent(&self, from_ns: u64, sender: &str, receiver: &str) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        Ok(tail.decoded(tail.sent(from_ns, sender, receiver)))
    }

    /// The bytes of every frame that left `node` since `from_ns`, also of those that are no DAMC frames.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn raw_sent_by(&self, node: &str, from_ns: u64) -> Result<Vec<Vec<u8>>, Stop> {
        let tail = self.tail().await?;
        let sent = tail.frames.since(from_ns).filter(|e| e.sent && tail.port(e).is_some_and(|p| p.node == node));
        Ok(sent.map(|e| e.pdu().to_vec()).collect())
    }

    /// Waits for a recorded frame since `from_ns` that `pick` accepts; echoes, probes and their answers are left out.
    ///
    /// # Errors
    /// [`Stop::Failed`] at the deadline.
    pub async fn wait_frame(
        &self,
        what: &str,
        from_ns: u64,
        within: Duration,
        pick: impl Fn(&Seen) -> bool,
    ) -> Result<Seen, Stop> {
        let (began, deadline) = (self.now_ns(), self.deadline(within));
        let (mut looked_at, mut count) = ([Place::default(); 3], 0);
        self.awaits(what.to_owned());
        loop {
            let looked = self.now_ns();
            {
                let tail = self.tail().await?;
                let logs = [&tail.frames.control, &tail.frames.calls, &tail.frames.first];
                let fresh = logs.iter().zip(looked_at).flat_map(|(log, place)| log.after(place));
                let fresh = fresh.filter(|e| e.at_ns >= from_ns && !is_incessant(e));
                let fresh = fresh.filter_map(|e| Seen::decode(&e, tail.port(&e)?));
                let found = fresh.inspect(|_| count += 1).filter(|s| pick(s));
                if let Some(seen) = found.min_by_key(|s| (s.at_ns, !s.sent)) {
                    self.take_awaited();
                    self.rests_on(&seen, what);
                    return Ok(seen);
                }
                looked_at = logs.map(Log::end);
            }
            if self.now_ns() >= deadline {
                let within = within.as_millis();
                return Err(Stop::Failed(format!(
                    "expected within {within} ms: {what}; saw: no such frame among {count}"
                )));
            }
            self.pause(began, looked).await;
        }
    }

    /// Forgets the frames that no later case needs.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn forget_passing_frames(&self) -> Result<(), Stop> {
        let kept_from = self.now_ns().saturating_sub(KEPT_NS);
        self.tail().await?.frames.forget_before(kept_from);
        Ok(())
    }

    /// Whether every recorded frame was read before the recording dropped it.
    #[must_use]
    pub fn recording_is_complete(&self) -> bool {
        self.lab.recording_is_complete()
    }

    /// All frames since `from_ns`, IPv6 between pods and their SGs too, and the ports of the lab: for captures.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn records(&self, from_ns: u64) -> Result<(Header, Vec<Record>), Stop> {
        let tail = self.tail().await?;
        let entries = tail.frames.since(from_ns).chain(tail.frames.ipv6.since(from_ns));
        let records = entries.filter_map(|e| Some(e.record(tail.port(&e)?))).collect();
        Ok((self.lab.recorded().clone(), records))
    }
}

fn type_code(entry: &Entry<'_>) -> Option<u8> {
    entry.frame.get(TYPE_AT).copied()
}

fn is_of(entry: &Entry<'_>, t: MessageType) -> bool {
    type_code(entry) == Some(t.code())
}

fn is_incessant(entry: &Entry<'_>) -> bool {
    INCESSANT.iter().any(|t| is_of(entry, *t))
}
