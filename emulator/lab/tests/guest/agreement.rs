//! The same thirty specs on the relay and on netem.

use std::collections::BTreeMap;

use damc_lab::calibration_lab::CalibrationLab;
use damc_lab::job::LinksBy;
use damc_lab::relay::calibrate::{Calibration, Depth, Measurement, Property};
use libtest_mimic::Failed;

use crate::support::run;

fn grid(links: LinksBy) -> Result<Calibration, Failed> {
    run(async {
        let bench = CalibrationLab::up(links).await?;
        let calibration = bench.calibrate(Depth::Grid).await;
        bench.down().await?;
        Ok(calibration?)
    })
}

/// In the guest: prints the measurements.
pub fn grid_on_netem() -> Result<(), Failed> {
    println!("{}", serde_json::to_string(&grid(LinksBy::Netem)?)?);
    Ok(())
}

/// Times the two are compared at most. Both are timed, one after the other: whatever else the host does for a moment, it does
/// to one of them.
const COMPARISONS: usize = 3;

/// Relay on the host, netem in the guest. What differs every time differs.
pub fn relay_and_netem_agree() -> Result<(), Failed> {
    let mut problems = compare()?;
    for _ in 1..COMPARISONS {
        if problems.is_empty() {
            break;
        }
        println!("to be compared again: {}", problems.values().cloned().collect::<Vec<_>>().join("\n"));
        let again = compare()?;
        problems.retain(|what, _| again.contains_key(what));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.into_values().collect::<Vec<_>>().join("\n").into()) }
}

/// One comparison: what differs, by link and property.
fn compare() -> Result<BTreeMap<String, String>, Failed> {
    let netem: Calibration = serde_json::from_str(&crate::in_guest("guest-grid")?)?;
    let relay = grid(LinksBy::Relay)?;
    let mut problems: BTreeMap<String, String> = BTreeMap::new();
    println!("| link | property | asked | relay | netem | difference |\n|---|---|---|---|---|---|");
    for (number, (relay, netem)) in relay.measurements.iter().zip(&netem.measurements).enumerate() {
        assert_eq!((relay.property, relay.spec), (netem.property, netem.spec));
        println!("{}", row(relay, netem));
        for (by, measured) in [("relay", relay), ("netem", netem)].into_iter().filter(|(_, m)| !m.within) {
            problems.insert(format!("{by} {number}"), format!("{by} is not what was asked for: {measured:?}"));
        }
        if let Some(why) = disagreement(relay, netem) {
            problems.insert(format!("both {number}"), format!("{why}: {relay:?} {netem:?}"));
        }
    }
    assert_eq!(relay.measurements.len(), netem.measurements.len());
    Ok(problems)
}

/// What differs more than it may; none where the two agree.
fn disagreement(relay: &Measurement, netem: &Measurement) -> Option<String> {
    let apart = |a: Option<f64>, b: Option<f64>| a.zip(b).map_or(f64::INFINITY, |(a, b)| (a - b).abs());
    let share = |a: f64, b: f64| (a / b - 1.0).abs();
    let (mean, p50, p99) =
        (apart(Some(relay.measured), Some(netem.measured)), apart(relay.p50, netem.p50), apart(relay.p99, netem.p99));
    match relay.property {
        Property::Base | Property::Delay if mean > 0.3 || p50 > 0.3 || p99 > 1.0 => {
            Some(format!("mean {mean:.3} ms, p50 {p50:.3} ms, p99 {p99:.3} ms apart"))
        }
        Property::Jitter => {
            let (sigma, rfc) = (share(relay.measured, netem.measured), apart(relay.rfc3550_ms, netem.rfc3550_ms));
            let asked = relay.rfc3550_ms.unwrap_or(0.0);
            (sigma > 0.15 || rfc > 0.15 * asked + 0.1)
                .then(|| format!("sigma {sigma:.3} of it, RFC 3550 {rfc:.3} ms apart"))
        }
        Property::Rate if share(relay.measured, netem.measured) > 0.03 => Some("rates more than 3 % apart".to_owned()),
        Property::Loss
        | Property::BurstLoss
        | Property::BurstLength
        | Property::Duplicate
        | Property::Corrupt
        | Property::Reorder
            if relay.interval.low > netem.interval.high || netem.interval.low > relay.interval.high =>
        {
            Some("99 % intervals do not meet".to_owned())
        }
        _ => None,
    }
}

fn row(relay: &Measurement, netem: &Measurement) -> String {
    let what = damc_topology::describe(&relay.spec).join(" ");
    let figure = |m: &Measurement| match (m.property, m.p50, m.p99) {
        (Property::Rate, ..) => format!("{:.3} Mbit/s", m.measured / 1e6),
        (Property::Base | Property::Delay, Some(p50), Some(p99)) => {
            format!("{:.3} ms (p50 {p50:.3}, p99 {p99:.3})", m.measured)
        }
        (Property::Jitter, ..) => format!("σ {:.3} ms, RFC 3550 {:.3} ms", m.measured, m.rfc3550_ms.unwrap_or(0.0)),
        (Property::BurstLength, ..) => format!("{:.3} frames", m.measured),
        _ => format!("{:.3} % [{:.3}, {:.3}]", m.measured * 100.0, m.interval.low * 100.0, m.interval.high * 100.0),
    };
    let difference = match relay.property {
        Property::Base | Property::Delay => format!("{:.3} ms", netem.measured - relay.measured),
        Property::Rate | Property::Jitter | Property::BurstLength => {
            format!("{:+.2} %", (netem.measured / relay.measured - 1.0) * 100.0)
        }
        _ => format!("{:+.3} points", (netem.measured - relay.measured) * 100.0),
    };
    let asked = match relay.property {
        Property::Rate => format!("{} Mbit/s", relay.asked / 1e6),
        Property::Base | Property::Delay | Property::Jitter => format!("{:.3} ms", relay.asked),
        Property::BurstLength => format!("{:.3} frames", relay.asked),
        _ => format!("{:.3} %", relay.asked * 100.0),
    };
    let property = format!("{:?}", relay.property).to_lowercase();
    let what = if what.is_empty() { "nothing added".to_owned() } else { what };
    format!("| {what} | {property} | {asked} | {} | {} | {difference} |", figure(relay), figure(netem))
}
