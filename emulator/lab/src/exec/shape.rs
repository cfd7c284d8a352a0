//! Which queueing discipline makes a link do what its specification says.

use super::qdisc::{Netem, NetemLoss, Qdisc, Tbf};
use damc_impair::{DirectionSpec, Loss};

/// Longest frame a lab's link carries: MTU 1500 and the Ethernet header.
const FRAME_BYTES: u32 = 1514;
/// Least time at full rate that fits into a token bucket: the kernel's timers are no finer on slow machines.
const BURST_NS: u64 = 1_000_000;

/// The discipline for the sending end; none where the kernel's default does. `in_place`: netem is there already, and
/// stays whatever the spec, because taking a discipline away drops the frames it holds.
#[must_use]
pub fn egress(spec: &DirectionSpec, seed: u64, in_place: bool) -> Option<Qdisc> {
    if in_place || !spec.is_plain() {
        return Some(Qdisc::Netem(netem(spec, seed)));
    }
    spec.rate_bps.map(|rate_bps| Qdisc::Tbf(tbf(spec, rate_bps)))
}

fn tbf(spec: &DirectionSpec, rate_bps: u64) -> Tbf {
    let burst = u128::from(rate_bps) * u128::from(BURST_NS) / 8_000_000_000;
    let frames = u32::try_from(spec.limit_frames()).unwrap_or(u32::MAX);
    Tbf {
        rate_bps,
        burst_bytes: u32::try_from(burst).unwrap_or(u32::MAX).max(2 * FRAME_BYTES),
        limit_bytes: frames.saturating_mul(FRAME_BYTES),
    }
}

fn netem(spec: &DirectionSpec, seed: u64) -> Netem {
    let loss = match spec.loss {
        _ if spec.silent => Some(NetemLoss::Random(1.0)),
        Loss::None => None,
        Loss::Random { probability } => Some(NetemLoss::Random(probability)),
        Loss::GilbertElliott { to_bad, to_good, bad_loss, good_loss } => {
            Some(NetemLoss::GilbertElliott { p: to_bad, r: to_good, loss_bad: bad_loss, loss_good: good_loss })
        }
    };
    Netem {
        delay_ns: spec.delay_ns,
        jitter_ns: spec.jitter_ns,
        distribution: Some(spec.distribution.kernel_table()),
        limit: u32::try_from(spec.limit_frames()).unwrap_or(u32::MAX),
        loss,
        duplicate: spec.duplicate,
        corrupt: spec.corrupt,
        reorder: spec.reorder.map_or(0.0, |reorder| reorder.probability),
        gap: spec.reorder.map_or(0, |reorder| reorder.gap),
        rate_bps: spec.rate_bps,
        seed: Some(seed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_link_keeps_the_default_discipline() {
        assert_eq!(egress(&DirectionSpec::default(), 1, false), None);
        // Where netem is in place it stays, without doing anything.
        let Some(Qdisc::Netem(idle)) = egress(&DirectionSpec::default(), 1, true) else { panic!("not netem") };
        assert_eq!((idle.delay_ns, idle.rate_bps, idle.limit), (0, None, 1000));
    }

    #[test]
    fn a_rate_alone_is_a_token_bucket_that_holds_the_longest_frame() {
        let spec = DirectionSpec { rate_bps: Some(1_000_000), limit: Some(10), ..DirectionSpec::default() };
        let expected = Tbf { rate_bps: 1_000_000, burst_bytes: 3028, limit_bytes: 15_140 };
        assert_eq!(egress(&spec, 1, false), Some(Qdisc::Tbf(expected)));
    }

    #[test]
    fn a_delay_takes_netem_with_a_queue_that_holds_what_is_in_flight() {
        let spec = DirectionSpec { delay_ns: 50_000_000, rate_bps: Some(1_000_000_000), ..DirectionSpec::default() };
        let Some(Qdisc::Netem(netem)) = egress(&spec, 7, false) else { panic!("not netem") };
        assert!(u64::from(netem.limit) >= 1_000_000_000 / 8 / u64::from(FRAME_BYTES) / 20, "limit {}", netem.limit);
        assert_eq!((netem.delay_ns, netem.seed, netem.loss), (50_000_000, Some(7), None));
    }

    #[test]
    fn silence_is_the_loss_of_everything() {
        let spec = DirectionSpec { silent: true, ..DirectionSpec::default() };
        let Some(Qdisc::Netem(netem)) = egress(&spec, 1, false) else { panic!("not netem") };
        assert_eq!(netem.loss, Some(NetemLoss::Random(1.0)));
    }
}
