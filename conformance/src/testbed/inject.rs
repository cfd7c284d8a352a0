//! Frames that a case puts on a link itself. It counts what becomes of each, so that the link must carry them all: where
//! the topology has it lose frames, or where they outlast its rate, the case says so and judges nothing.

use std::time::Duration;

use damc_impair::{DirectionSpec, Loss};

use super::Testbed;
use crate::case::Stop;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

impl Testbed {
    /// Injects bytes out of `from`'s port to `to`.
    ///
    /// # Errors
    /// [`Stop::NotApplicable`] where the link does not carry every frame; or the lab refuses.
    pub async fn inject(&self, from: &str, to: &str, pdu: &[u8]) -> Result<(), Stop> {
        self.carries(from, to, pdu.len(), Duration::ZERO)?;
        Ok(self.lab.inject(from, to, pdu).await?)
    }

    /// Injects PDUs out of `from`'s port to `to` in one go.
    ///
    /// # Errors
    /// As [`Testbed::inject`].
    pub async fn inject_all(&self, from: &str, to: &str, pdus: &[Vec<u8>]) -> Result<(), Stop> {
        self.carries(from, to, bytes(pdus), Duration::ZERO)?;
        Ok(self.lab.inject_all(from, to, pdus).await?)
    }

    /// Injects PDUs out of `from`'s port to `to`, one each `spacing`.
    ///
    /// # Errors
    /// As [`Testbed::inject`].
    pub async fn inject_stream(&self, from: &str, to: &str, pdus: &[Vec<u8>], spacing: Duration) -> Result<(), Stop> {
        self.carries(from, to, bytes(pdus), spacing * u32::try_from(pdus.len()).unwrap_or(u32::MAX))?;
        Ok(self.lab.inject_stream(from, to, pdus, spacing).await?)
    }

    /// Whether the link as configured carries so many bytes that are sent over this time, without loss and without a queue
    /// in which its neighbours would miss echoes.
    pub(super) fn carries(&self, from: &str, to: &str, bytes: usize, sent_over: Duration) -> Result<(), Stop> {
        let ((from_id, _), (to_id, _)) = (self.role(from)?, self.role(to)?);
        let link = self.topology.link(&from_id, &to_id).and_then(|link| link.from(&from_id));
        let Some(spec) = link.map(|direction| &direction.spec) else { return Ok(()) };
        let echoes = u64::from(self.timers.echo_multiplier) * self.timers.echo_interval_ms;
        why_not(spec, bytes, sent_over + Duration::from_millis(echoes / 2))
            .map_or(Ok(()), |why| Err(Stop::NotApplicable(format!("{from} → {to} {why}"))))
    }
}

pub(super) fn bytes(pdus: &[Vec<u8>]) -> usize {
    pdus.iter().map(|pdu| pdu.len() + ETHERNET).sum()
}

/// Why a link does not carry so many bytes within this time; `None` where it does.
fn why_not(spec: &DirectionSpec, bytes: usize, within: Duration) -> Option<String> {
    if spec.loss != Loss::None || spec.corrupt > 0.0 {
        return Some("loses frames by itself: what a case injects there need not arrive".into());
    }
    let bits = 8 * bytes as u128;
    let rate = spec.rate_bps.map(u128::from)?;
    let carried = rate * within.as_nanos() / 1_000_000_000;
    (bits > carried).then(|| {
        format!("carries {} kbit in {} ms, and the case injects {}", carried / 1000, within.as_millis(), bits / 1000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_loses_or_is_slow_does_not_carry_all() {
        let within = Duration::from_millis(100);
        let good = DirectionSpec { rate_bps: Some(10_000_000), ..DirectionSpec::default() };
        assert_eq!(why_not(&good, 125_000, within), None, "a million bits in a tenth of a second");
        let why = why_not(&good, 125_001, within);
        assert_eq!(why.as_deref(), Some("carries 1000 kbit in 100 ms, and the case injects 1000"));
        assert_eq!(why_not(&DirectionSpec { rate_bps: None, ..good }, usize::MAX / 8, within), None);
        let loss = Loss::Random { probability: 0.001 };
        assert!(why_not(&DirectionSpec { loss, ..good }, 1, within).is_some());
        assert!(why_not(&DirectionSpec { corrupt: 0.1, ..good }, 1, within).is_some());
    }
}
