//! netem and tbf as the kernel takes them: the bytes of TCA_OPTIONS (linux/pkt_sched.h), host byte order.

/// A queueing discipline at the root of a link.
#[derive(Clone, Debug, PartialEq)]
pub enum Qdisc {
    /// Delay, loss and their kin.
    Netem(Netem),
    /// Rate alone.
    Tbf(Tbf),
}

impl Qdisc {
    /// Its name in the kernel.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Netem(_) => "netem",
            Self::Tbf(_) => "tbf",
        }
    }

    /// Payload of TCA_OPTIONS.
    #[must_use]
    pub fn options(&self) -> Vec<u8> {
        match self {
            Self::Netem(netem) => netem.options(),
            Self::Tbf(tbf) => tbf.options(),
        }
    }
}

/// Probabilities are shares of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Netem {
    /// Mean delay.
    pub delay_ns: u64,
    /// Deviation of the delay.
    pub jitter_ns: u64,
    /// Quantiles of the delay's distribution; none for uniform, unless a table was set before: the kernel keeps that.
    pub distribution: Option<Vec<i16>>,
    /// Packets that fit into the queue.
    pub limit: u32,
    /// Loss.
    pub loss: Option<NetemLoss>,
    /// Share sent twice.
    pub duplicate: f64,
    /// Share with one bit flipped.
    pub corrupt: f64,
    /// Share sent at once, before the delayed ones. Needs a delay.
    pub reorder: f64,
    /// One packet in `gap` may be reordered; 0 counts as 1.
    pub gap: u32,
    /// bit/s.
    pub rate_bps: Option<u64>,
    /// Seed of the kernel's generator; kernels before 6.6 do not know it.
    pub seed: Option<u64>,
}

/// How packets are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NetemLoss {
    /// Each on its own.
    Random(f64),
    /// Gilbert–Elliott.
    GilbertElliott {
        /// Good → bad.
        p: f64,
        /// Bad → good.
        r: f64,
        /// Loss in the bad state.
        loss_bad: f64,
        /// Loss in the good state.
        loss_good: f64,
    },
}

/// Token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tbf {
    /// bit/s.
    pub rate_bps: u64,
    /// Bytes of the bucket; must hold the longest frame.
    pub burst_bytes: u32,
    /// Bytes that may wait.
    pub limit_bytes: u32,
}

// linux/pkt_sched.h
const TCA_NETEM_DELAY_DIST: u16 = 2;
const TCA_NETEM_REORDER: u16 = 3;
const TCA_NETEM_CORRUPT: u16 = 4;
const TCA_NETEM_LOSS: u16 = 5;
const TCA_NETEM_RATE: u16 = 6;
const TCA_NETEM_RATE64: u16 = 8;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_NETEM_JITTER64: u16 = 11;
const TCA_NETEM_PRNG_SEED: u16 = 14;
const NETEM_LOSS_GE: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const NLA_F_NESTED: u16 = 1 << 15;
/// TC_LINKLAYER_ETHERNET: the kernel then computes transmission times itself and wants no rate table.
const LINKLAYER_ETHERNET: u8 = 1;
/// A psched tick.
const TICK_NS: u64 = 64;

impl Netem {
    fn options(&self) -> Vec<u8> {
        let reorder = if self.delay_ns > 0 { probability(self.reorder) } else { 0 };
        let loss = if let Some(NetemLoss::Random(share)) = self.loss { probability(share) } else { 0 };
        // tc_netem_qopt {latency, limit, loss, gap, duplicate, jitter}; the 64-bit attributes below carry the times
        // in ns, the 32-bit fields would round them to 64 ns.
        let gap = if reorder > 0 { self.gap.max(1) } else { 0 };
        let mut out = words(&[0, self.limit, loss, gap, probability(self.duplicate), 0]);
        if let (true, Some(table)) = (self.jitter_ns > 0, &self.distribution) {
            let table: Vec<u8> = table.iter().flat_map(|quantile| quantile.to_ne_bytes()).collect();
            attribute(&mut out, TCA_NETEM_DELAY_DIST, &table);
        }
        // A change of a discipline keeps what is not in the message, so all that could be left over is.
        attribute(&mut out, TCA_NETEM_REORDER, &words(&[reorder, 0]));
        attribute(&mut out, TCA_NETEM_CORRUPT, &words(&[probability(self.corrupt), 0]));
        if let Some(NetemLoss::GilbertElliott { p, r, loss_bad, loss_good }) = self.loss {
            // tc_netem_gemodel {p, r, h, k1}: h is the share that *passes* in the bad state, k1 the loss in the good one.
            let model = words(&[p, r, 1.0 - loss_bad, loss_good].map(probability));
            let mut nested = Vec::new();
            attribute(&mut nested, NETEM_LOSS_GE, &model);
            attribute(&mut out, TCA_NETEM_LOSS | NLA_F_NESTED, &nested);
        }
        // 0 is no limit: a rate too low to be said in bytes is the lowest that can.
        let bytes_per_second = self.rate_bps.map_or(0, |rate_bps| (rate_bps / 8).max(1));
        if bytes_per_second > u64::from(u32::MAX) {
            attribute(&mut out, TCA_NETEM_RATE64, &bytes_per_second.to_ne_bytes());
        }
        // tc_netem_rate {rate, packet_overhead, cell_size, cell_overhead}.
        attribute(&mut out, TCA_NETEM_RATE, &words(&[saturated(bytes_per_second), 0, 0, 0]));
        attribute(&mut out, TCA_NETEM_LATENCY64, &self.delay_ns.to_ne_bytes());
        attribute(&mut out, TCA_NETEM_JITTER64, &self.jitter_ns.to_ne_bytes());
        if let Some(seed) = self.seed {
            attribute(&mut out, TCA_NETEM_PRNG_SEED, &seed.to_ne_bytes());
        }
        out
    }
}

impl Tbf {
    fn options(&self) -> Vec<u8> {
        let bytes_per_second = (self.rate_bps / 8).max(1);
        let burst_ticks = u64::from(self.burst_bytes).saturating_mul(1_000_000_000) / bytes_per_second / TICK_NS;
        // tc_tbf_qopt {tc_ratespec rate, tc_ratespec peakrate, limit, buffer, mtu}, with
        // tc_ratespec {cell_log: u8, linklayer: u8, overhead: u16, cell_align: i16, mpu: u16, rate: u32}.
        let mut parameters = vec![0, LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
        parameters.extend(words(&[saturated(bytes_per_second)]));
        parameters.extend([0; 12]);
        parameters.extend(words(&[self.limit_bytes, saturated(burst_ticks), 0]));
        let mut out = Vec::new();
        attribute(&mut out, TCA_TBF_PARMS, &parameters);
        if bytes_per_second > u64::from(u32::MAX) {
            attribute(&mut out, TCA_TBF_RATE64, &bytes_per_second.to_ne_bytes());
        }
        attribute(&mut out, TCA_TBF_BURST, &self.burst_bytes.to_ne_bytes());
        out
    }
}

/// A share of one on the kernel's scale, rounded to the nearest.
fn probability(share: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range, `as` saturates")]
    let scaled = (share.clamp(0.0, 1.0) * f64::from(u32::MAX)).round() as u32;
    scaled
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// Appends a netlink attribute: length and kind, value, padding to four bytes.
fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("invariant: no attribute here comes near 64 KiB");
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    /// Bytes written as hexadecimal in groups, so that a test reads as the header does.
    fn hex(text: &str) -> Vec<u8> {
        damc_wire::hex::from_hex(&text.split_whitespace().collect::<String>()).expect("hexadecimal in groups")
    }

    #[test]
    fn netem_delay_and_jitter_travel_as_nanoseconds() {
        let netem = Netem { delay_ns: 80_000_000, jitter_ns: 1_000_001, limit: 1000, ..Netem::default() };
        let expected = "00000000 e8030000 00000000 00000000 00000000 00000000
                        0c00 0300 00000000 00000000
                        0c00 0400 00000000 00000000
                        1400 0600 00000000 00000000 00000000 00000000
                        0c00 0a00 00b4c40400000000
                        0c00 0b00 41420f0000000000";
        assert_eq!(netem.options(), hex(expected));
    }

    #[test]
    fn netem_random_loss_and_duplicates_are_in_the_fixed_part() {
        let netem =
            Netem { limit: 7, loss: Some(NetemLoss::Random(0.01)), duplicate: 0.5, seed: Some(42), ..Netem::default() };
        // 1 % of 2^32−1 = 42949672.95 → 0x028f5c29; one half rounds up to 0x80000000.
        let expected = "00000000 07000000 295c8f02 00000000 00000080 00000000
                        0c00 0300 00000000 00000000
                        0c00 0400 00000000 00000000
                        1400 0600 00000000 00000000 00000000 00000000
                        0c00 0a00 0000000000000000
                        0c00 0b00 0000000000000000
                        0c00 0e00 2a00000000000000";
        assert_eq!(netem.options(), hex(expected));
    }

    #[test]
    fn netem_gilbert_elliott_sends_what_passes_in_the_bad_state() {
        let loss = NetemLoss::GilbertElliott { p: 0.01, r: 1.0, loss_bad: 1.0, loss_good: 0.0 };
        let netem = Netem { limit: 1, loss: Some(loss), ..Netem::default() };
        let expected = "00000000 01000000 00000000 00000000 00000000 00000000
                        0c00 0300 00000000 00000000
                        0c00 0400 00000000 00000000
                        1800 0580  1400 0200 295c8f02 ffffffff 00000000 00000000
                        1400 0600 00000000 00000000 00000000 00000000
                        0c00 0a00 0000000000000000
                        0c00 0b00 0000000000000000";
        assert_eq!(netem.options(), hex(expected));
    }

    #[test]
    fn netem_reorder_sets_the_gap_and_needs_a_delay() {
        let netem = Netem { delay_ns: 1, limit: 1, reorder: 1.0, corrupt: 1.0, ..Netem::default() };
        let expected = "00000000 01000000 00000000 01000000 00000000 00000000
                        0c00 0300 ffffffff 00000000
                        0c00 0400 ffffffff 00000000
                        1400 0600 00000000 00000000 00000000 00000000
                        0c00 0a00 0100000000000000
                        0c00 0b00 0000000000000000";
        assert_eq!(netem.options(), hex(expected));
        let undelayed = Netem { delay_ns: 0, corrupt: 0.0, ..netem }.options();
        assert_eq!(undelayed[12..16], [0; 4], "no gap");
        assert_eq!(undelayed[24..36], hex("0c00 0300 00000000 00000000"), "and a reorder left over from before ends");
    }

    #[test]
    fn netem_rate_is_bytes_a_second_and_grows_to_64_bits() {
        let rate = |rate_bps| Netem { limit: 1, rate_bps: Some(rate_bps), ..Netem::default() }.options();
        let tail = "0c00 0a00 0000000000000000 0c00 0b00 0000000000000000";
        let head = "00000000 01000000 00000000 00000000 00000000 00000000
                    0c00 0300 00000000 00000000 0c00 0400 00000000 00000000";
        // 100 Mbit/s = 12 500 000 B/s = 0xbebc20.
        assert_eq!(rate(100_000_000), hex(&format!("{head} 1400 0600 20bcbe00 00000000 00000000 00000000 {tail}")));
        // 40 Gbit/s = 5·10^9 B/s = 0x1_2a05f200.
        let wide = "0c00 0800 00f2052a01000000 1400 0600 ffffffff 00000000 00000000 00000000";
        assert_eq!(rate(40_000_000_000), hex(&format!("{head} {wide} {tail}")));
    }

    #[test]
    fn netem_distribution_is_a_table_of_16_bit_quantiles() {
        let netem = Netem { jitter_ns: 1, distribution: Some(vec![-1, 2, 3]), limit: 1, ..Netem::default() };
        let expected = "00000000 01000000 00000000 00000000 00000000 00000000
                        0a00 0200 ffff 0200 0300 0000
                        0c00 0300 00000000 00000000
                        0c00 0400 00000000 00000000
                        1400 0600 00000000 00000000 00000000 00000000
                        0c00 0a00 0000000000000000
                        0c00 0b00 0100000000000000";
        assert_eq!(netem.options(), hex(expected));
    }

    #[test]
    fn tbf_names_the_link_layer_and_the_burst() {
        // 10 Mbit/s = 1 250 000 B/s = 0x1312d0; 5000 bytes take 4 ms = 62 500 ticks = 0xf424.
        let tbf = Tbf { rate_bps: 10_000_000, burst_bytes: 5000, limit_bytes: 30_000 };
        let expected = "2800 0100  00 01 0000 0000 0000 d0121300  00 00 0000 0000 0000 00000000
                        30750000 24f40000 00000000
                        0800 0600 88130000";
        assert_eq!(tbf.options(), hex(expected));
    }
}
