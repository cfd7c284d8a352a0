//! The calls a service works on, whoever does its other work.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::{Duration, Instant};

use damc_proto::rmi::builtin::{self, Outcome};
use damc_wire::RefusalReason;

use super::channel::{Answer, Channel};

/// Calls a service works on at one time; a further one is refused.
const CAPACITY: usize = 256;

/// A call that answers later.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sleeper {
    due: Instant,
    invocation: u64,
    result: Vec<u8>,
}

/// The calls of one service.
pub(super) struct Calls {
    prefix: String,
    /// By time: one sleeping call holds up no other.
    sleepers: BinaryHeap<Reverse<Sleeper>>,
    served: u64,
}

impl Calls {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix, sleepers: BinaryHeap::new(), served: 0 }
    }

    /// Calls ever.
    pub(super) const fn served(&self) -> u64 {
        self.served
    }

    /// The share of the calls at one time that are there, in millionths.
    pub(super) fn load_ppm(&self) -> u32 {
        u32::try_from(self.sleepers.len() * 1_000_000 / CAPACITY).unwrap_or(u32::MAX)
    }

    /// How long until a call has slept enough. Rounded up to a millisecond: a call must not sleep too short.
    pub(super) fn next_in(&self) -> Option<Duration> {
        let Reverse(next) = self.sleepers.peek()?;
        Some(next.due.saturating_duration_since(Instant::now()) + Duration::from_micros(999))
    }

    /// Answers the calls that have slept enough.
    pub(super) fn wake(&mut self, channel: &Channel) -> io::Result<()> {
        let now = Instant::now();
        while self.sleepers.peek().is_some_and(|Reverse(s)| s.due <= now) {
            if let Some(Reverse(sleeper)) = self.sleepers.pop() {
                channel.deliver(&Answer::Done { invocation: sleeper.invocation }, &sleeper.result)?;
            }
        }
        Ok(())
    }

    /// Takes a call; its answer comes at once, or from [`Calls::wake`].
    pub(super) fn invoke(
        &mut self,
        channel: &Channel,
        invocation: u64,
        (method, traceparent): (&str, Option<&str>),
        payload: &[u8],
    ) -> io::Result<()> {
        if self.sleepers.len() >= CAPACITY {
            let refusal = Answer::failed(invocation, RefusalReason::Overloaded);
            return channel.deliver(&refusal, b"too many calls at once");
        }
        self.served += 1;
        let context = traceparent.and_then(|text| text.parse().ok());
        match builtin::run(&self.prefix, method, payload, context) {
            Outcome::Done(result) => channel.deliver(&Answer::Done { invocation }, &result),
            Outcome::Failed(reason, detail) => channel.deliver(&Answer::failed(invocation, reason), detail.as_bytes()),
            Outcome::Later(time) => {
                // A time beyond the range of the clock is as good as a century.
                let due =
                    Instant::now().checked_add(time).unwrap_or_else(|| Instant::now() + Duration::from_secs(1 << 31));
                self.sleepers.push(Reverse(Sleeper { due, invocation, result: payload.to_vec() }));
                Ok(())
            }
        }
    }
}
