//! The first witness: recorded frames, in memory, because cases look back at them again and again.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use damc_lab::recording::{Record, Recording, Wanted, write_pcapng};
use damc_wire::MessageType;

use super::{Bench, POLL};
use crate::case::Stop;
use crate::trace::Seen;

/// Frames that come by the hundred each second and say nothing any more once the case they came in is over.
const PASSING: [MessageType; 3] = [MessageType::Echo, MessageType::Probe, MessageType::ProbeReply];

/// Where the message type is in a frame: behind the Ethernet header and the version.
const TYPE_AT: usize = 15;

/// What was recorded so far and still matters, in the order it was read. That is the order of the stamps only roughly:
/// ports are drained one after the other.
pub(super) struct Tail {
    recording: Recording,
    records: Vec<Record>,
}

impl Tail {
    pub(super) fn new(recording: Recording) -> Self {
        Self { recording, records: Vec::new() }
    }
}

impl Bench {
    /// The recording up to now.
    async fn tail(&self) -> Result<MutexGuard<'_, Tail>, Stop> {
        self.lab.flush_recording().await?;
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = tail.recording.read(&Wanted::default())?;
        tail.records.extend(fresh);
        Ok(tail)
    }

    /// Decoded frames since `from_ns`, at every port of every node unless narrowed. Echoes and probes from before the
    /// current case are forgotten, everything else reaches back to the lab's first frame.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn seen(&self, from_ns: u64, wanted: Wanted) -> Result<Vec<Seen>, Stop> {
        let wanted = Wanted { from_ns: Some(from_ns), ..wanted };
        let tail = self.tail().await?;
        let mut seen: Vec<_> =
            tail.records.iter().filter(|r| matches(&wanted, r)).filter_map(Seen::from_record).collect();
        drop(tail);
        seen.sort_by_key(|s| s.at_ns);
        Ok(seen)
    }

    /// All frames since `from_ns`.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn frames(&self, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        self.seen(from_ns, Wanted::default()).await
    }

    /// Frames of a type since `from_ns` that `sender` put on its link to `receiver`.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn sent(&self, from_ns: u64, sender: &str, receiver: &str, t: MessageType) -> Result<Vec<Seen>, Stop> {
        let wanted =
            Wanted { node: Some(sender.into()), port: Some(receiver.into()), sent: Some(true), ..Wanted::default() };
        Ok(self.seen(from_ns, wanted).await?.into_iter().filter(|s| s.message_type() == t).collect())
    }

    /// Waits for a recorded frame since `from_ns` that `pick` wants.
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
        let deadline = Instant::now() + within;
        let (mut looked_at, mut count) = (0, 0);
        loop {
            {
                let tail = self.tail().await?;
                let fresh = tail.records[looked_at..].iter().filter(|r| r.at_ns >= from_ns);
                let found = fresh.filter_map(Seen::from_record).inspect(|_| count += 1).filter(|s| pick(s));
                if let Some(seen) = found.min_by_key(|s| s.at_ns) {
                    return Ok(seen);
                }
                looked_at = tail.records.len();
            }
            if Instant::now() >= deadline {
                let within = within.as_millis();
                return Err(Stop::Failed(format!("{what}: no such frame within {within} ms among {count}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Forgets what no later case can want.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn forget_passing_frames(&self) -> Result<(), Stop> {
        self.tail().await?.records.retain(|r| !is_passing(r));
        Ok(())
    }

    /// Whether everything recorded was read before the recording let go of it.
    #[must_use]
    pub fn recording_is_complete(&self) -> bool {
        !self.tail.lock().unwrap_or_else(PoisonError::into_inner).recording.missed()
    }

    /// The frames since `from_ns` as pcapng.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn pcapng(&self, from_ns: u64, comment: &str) -> Result<Vec<u8>, Stop> {
        let tail = self.tail().await?;
        let mut records: Vec<_> = tail.records.iter().filter(|r| r.at_ns >= from_ns).collect();
        records.sort_by_key(|r| r.at_ns);
        let mut bytes = Vec::new();
        write_pcapng(&mut bytes, tail.recording.header(), comment, records)
            .map_err(|e| Stop::Inconclusive(format!("no capture: {e}")))?;
        Ok(bytes)
    }
}

fn is_passing(record: &Record) -> bool {
    let code = record.frame.get(TYPE_AT).copied();
    PASSING.iter().any(|t| code == Some(t.code()))
}

fn matches(wanted: &Wanted, record: &Record) -> bool {
    wanted.node.as_ref().is_none_or(|n| *n == record.node)
        && wanted.port.as_ref().is_none_or(|p| *p == record.port)
        && wanted.sent.is_none_or(|s| s == record.sent)
        && wanted.from_ns.is_none_or(|t| record.at_ns >= t)
        && wanted.until_ns.is_none_or(|t| record.at_ns < t)
}
