//! The first witness: recorded frames, in memory, because cases look back at them again and again.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use damc_lab::recording::{Record, Recording, Wanted, write_pcapng};
use damc_wire::MessageType;

use super::{Bench, POLL};
use crate::case::Stop;
use crate::trace::Seen;

/// Frames that come by the thousand each second. Cases have to ask for them by their type, and those of earlier cases
/// are forgotten.
const PASSING: [MessageType; 3] = [MessageType::Echo, MessageType::Probe, MessageType::ProbeReply];

/// How much of them is kept: the counters of hop MACs go on from the newest frame of a port, which may be an echo.
const KEPT_NS: u64 = 1_000_000_000;

/// Where the message type is in a frame: behind the Ethernet header and the version.
const TYPE_AT: usize = 15;

/// What was recorded so far and still matters, in the order it was read. That is the order of the stamps only roughly:
/// ports are drained one after the other.
pub(super) struct Tail {
    recording: Recording,
    lasting: Vec<Record>,
    passing: Vec<Record>,
}

impl Tail {
    pub(super) fn new(recording: Recording) -> Self {
        Self { recording, lasting: Vec::new(), passing: Vec::new() }
    }
}

impl Bench {
    /// The recording up to now.
    async fn tail(&self) -> Result<MutexGuard<'_, Tail>, Stop> {
        self.lab.flush_recording().await?;
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        for record in tail.recording.read(&Wanted::default())? {
            let of_its_kind = if is_passing(&record) { &mut tail.passing } else { &mut tail.lasting };
            of_its_kind.push(record);
        }
        Ok(tail)
    }

    /// Decoded frames since `from_ns`, back to the lab's first, at every port of every node unless narrowed; without
    /// echoes, probes and their answers.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn seen(&self, from_ns: u64, wanted: Wanted) -> Result<Vec<Seen>, Stop> {
        let wanted = Wanted { from_ns: Some(from_ns), ..wanted };
        Ok(decoded(self.tail().await?.lasting.iter().filter(|r| matches(&wanted, r))))
    }

    /// All frames since `from_ns`, without echoes, probes and their answers.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn frames(&self, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        self.seen(from_ns, Wanted::default()).await
    }

    /// All frames since `from_ns`, and echoes, probes and their answers as far as they are not forgotten.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn frames_of_every_type(&self, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        Ok(decoded(tail.lasting.iter().chain(&tail.passing).filter(|r| r.at_ns >= from_ns)))
    }

    /// Probes and their answers since `from_ns`, or since the current case began.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn probes(&self, from_ns: u64) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        let probes = tail.passing.iter().filter(|r| r.at_ns >= from_ns && !is_of(r, MessageType::Echo));
        Ok(decoded(probes))
    }

    /// Frames of a type since `from_ns` that `sender` put on its link to `receiver`.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn sent(&self, from_ns: u64, sender: &str, receiver: &str, t: MessageType) -> Result<Vec<Seen>, Stop> {
        let at_port = |r: &&Record| r.sent && r.node == sender && r.port == receiver && is_of(r, t);
        let tail = self.tail().await?;
        let of_its_kind = if PASSING.contains(&t) { &tail.passing } else { &tail.lasting };
        Ok(decoded(of_its_kind.iter().filter(|r| r.at_ns >= from_ns).filter(at_port)))
    }

    /// Everything that `sender` put on its link to `receiver` since `from_ns`, as far as it is not forgotten.
    ///
    /// # Errors
    /// The recording cannot be read.
    pub async fn all_sent(&self, from_ns: u64, sender: &str, receiver: &str) -> Result<Vec<Seen>, Stop> {
        let tail = self.tail().await?;
        let at_port = |r: &&Record| r.sent && r.node == sender && r.port == receiver && r.at_ns >= from_ns;
        Ok(decoded(tail.lasting.iter().chain(&tail.passing).filter(at_port)))
    }

    /// Waits for a recorded frame since `from_ns` that `pick` wants; echoes, probes and their answers are not looked at.
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
                let fresh = tail.lasting[looked_at..].iter().filter(|r| r.at_ns >= from_ns);
                let found = fresh.filter_map(Seen::from_record).inspect(|_| count += 1).filter(|s| pick(s));
                if let Some(seen) = found.min_by_key(|s| s.at_ns) {
                    return Ok(seen);
                }
                looked_at = tail.lasting.len();
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
        let kept_from = self.now_ns().saturating_sub(KEPT_NS);
        self.tail().await?.passing.retain(|r| r.at_ns >= kept_from);
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
        let mut records: Vec<_> = tail.lasting.iter().chain(&tail.passing).filter(|r| r.at_ns >= from_ns).collect();
        records.sort_by_key(|r| r.at_ns);
        let mut bytes = Vec::new();
        write_pcapng(&mut bytes, tail.recording.header(), comment, records)
            .map_err(|e| Stop::Inconclusive(format!("no capture: {e}")))?;
        Ok(bytes)
    }
}

/// In the order of their stamps.
fn decoded<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<Seen> {
    let mut seen: Vec<_> = records.filter_map(Seen::from_record).collect();
    seen.sort_by_key(|s| s.at_ns);
    seen
}

fn is_of(record: &Record, t: MessageType) -> bool {
    record.frame.get(TYPE_AT) == Some(&t.code())
}

fn is_passing(record: &Record) -> bool {
    PASSING.iter().any(|t| is_of(record, *t))
}

fn matches(wanted: &Wanted, record: &Record) -> bool {
    wanted.node.as_ref().is_none_or(|n| *n == record.node)
        && wanted.port.as_ref().is_none_or(|p| *p == record.port)
        && wanted.sent.is_none_or(|s| s == record.sent)
        && wanted.from_ns.is_none_or(|t| record.at_ns >= t)
        && wanted.until_ns.is_none_or(|t| record.at_ns < t)
}
