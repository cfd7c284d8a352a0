//! netem as the kernel has it after the lab said what it wants.

use std::time::Duration;

use damc_impair::{DirectionChange, DirectionSpec, Distribution, Loss, Reorder};
use damc_lab::Lab;
use damc_lab::control::{Direction, LinkChange};
use damc_lab::job::{Job, LinksBy};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::support::{self, lab_name, run};

/// From this program on the host, all that follows in one guest each.
pub fn the_kernel_shows_what_was_asked() -> Result<(), Failed> {
    crate::in_guest("guest-shows").map(|shown| print!("{shown}"))
}

pub fn a_change_keeps_the_rest_and_what_is_under_way() -> Result<(), Failed> {
    crate::in_guest("guest-changes").map(|shown| print!("{shown}"))
}

pub fn who_goes_around_the_shaping_is_noticed() -> Result<(), Failed> {
    crate::in_guest("guest-bypass").map(|shown| print!("{shown}"))
}

const MS: u64 = 1_000_000;

fn by_netem(name: &str, spec: DirectionSpec) -> Job {
    support::served_by(LinksBy::Netem, support::pair(name, spec))
}

/// The root discipline of the port of `left`, as `tc` reads it.
fn tc(lab: &str) -> Result<Value, Failed> {
    let text = support::inside(lab, "left", &["tc", "-j", "qdisc", "show", "dev", "right"])?;
    let all: Value = serde_json::from_str(&text)?;
    let root = all.as_array().and_then(|all| all.iter().find(|qdisc| qdisc["root"] == true));
    root.cloned().ok_or_else(|| format!("no root discipline: {text}").into())
}

/// Whether tc shows a number, to its own precision.
fn expect(shown: &Value, pointer: &str, expected: f64) -> Result<(), Failed> {
    let value = shown.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
    if (value - expected).abs() <= 1e-6 + expected.abs() * 1e-5 {
        return Ok(());
    }
    Err(format!("{pointer}: asked {expected}, tc shows {value} in {shown}").into())
}

/// Everything a spec says, compared with what tc shows.
fn compare(spec: &DirectionSpec, shown: &Value) -> Result<(), Failed> {
    if shown["kind"] != "netem" {
        return Err(format!("not netem: {shown}").into());
    }
    let (random, elliott) = match spec.loss {
        _ if spec.silent => (1.0, None),
        Loss::None => (0.0, None),
        Loss::Random { probability } => (probability, None),
        Loss::GilbertElliott { to_bad, to_good, bad_loss, good_loss } => {
            (0.0, Some([to_bad, to_good, bad_loss, good_loss]))
        }
    };
    for (name, value) in ["p", "r", "1-h", "1-k"].into_iter().zip(elliott.unwrap_or_default()) {
        expect(shown, &format!("/options/loss-gemodel/{name}"), value)?;
    }
    let reorder = spec.reorder.filter(|_| spec.delay_ns > 0);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let numbers = [
        ("/options/limit", spec.limit_frames() as f64),
        ("/options/delay/delay", spec.delay_ns as f64 / 1e9),
        ("/options/delay/jitter", spec.jitter_ns as f64 / 1e9),
        ("/options/loss-random/loss", random),
        ("/options/duplicate/duplicate", spec.duplicate),
        ("/options/corrupt/corrupt", spec.corrupt),
        ("/options/reorder/reorder", reorder.map_or(0.0, |reorder| reorder.probability)),
        ("/options/gap", reorder.map_or(0.0, |reorder| f64::from(reorder.gap))),
        ("/options/rate/rate", spec.rate_bps.map_or(0.0, |rate| (rate / 8) as f64)),
    ];
    numbers.into_iter().try_for_each(|(pointer, value)| expect(shown, pointer, value))
}

/// Specs over every property, one after the other on one link: each replaces the one before whole.
fn specs() -> Vec<DirectionSpec> {
    let perfect = DirectionSpec::default();
    let delay = |ms: u64| DirectionSpec { delay_ns: ms * MS, ..perfect };
    let elliott = Loss::GilbertElliott { to_bad: 0.02, to_good: 0.25, bad_loss: 0.75, good_loss: 0.001 };
    let everything = DirectionSpec {
        delay_ns: 80 * MS + 1,
        jitter_ns: 5 * MS,
        distribution: Distribution::Normal,
        loss: elliott,
        duplicate: 0.02,
        corrupt: 0.03,
        reorder: Some(Reorder { probability: 0.25, gap: 5 }),
        rate_bps: Some(20_000_000),
        limit: Some(777),
        silent: false,
    };
    vec![
        delay(1),
        delay(80),
        DirectionSpec { jitter_ns: 3 * MS, ..delay(10) },
        DirectionSpec { jitter_ns: 3 * MS, distribution: Distribution::Pareto, ..delay(10) },
        DirectionSpec { loss: Loss::Random { probability: 0.015 }, ..perfect },
        DirectionSpec { loss: elliott, ..delay(1) },
        everything,
        perfect,
        DirectionSpec { duplicate: 0.1, ..perfect },
        DirectionSpec { corrupt: 0.1, ..perfect },
        everything,
        DirectionSpec { reorder: Some(Reorder { probability: 0.5, gap: 1 }), ..delay(5) },
        delay(5),
        DirectionSpec { rate_bps: Some(1_000), ..perfect },
        DirectionSpec { rate_bps: Some(40_000_000_000), ..perfect },
        DirectionSpec { rate_bps: Some(100_000_000), limit: Some(12), ..delay(50) },
        DirectionSpec { silent: true, ..everything },
        everything,
    ]
}

pub fn shows() -> Result<(), Failed> {
    let name = lab_name("shows");
    run(async {
        let lab = support::up(by_netem(&name, DirectionSpec { delay_ns: MS, ..DirectionSpec::default() })).await?;
        for spec in specs() {
            set(&lab, Direction::Forward, DirectionChange::from(&spec)).await?;
            compare(&spec, &tc(&name)?)
                .map_err(|failed| Failed::from(format!("{spec:?}: {}", failed.message().unwrap_or_default())))?;
        }
        lab.down().await?;
        println!("{} specs shown as asked", specs().len());
        Ok(())
    })
}

async fn set(lab: &Lab, direction: Direction, properties: DirectionChange) -> Result<(), Failed> {
    Ok(lab.link("left", "right", LinkChange::Set { direction, properties }).await?)
}

pub fn changes() -> Result<(), Failed> {
    const FRAMES: usize = 20;
    let name = lab_name("changes");
    run(async {
        let asked = DirectionSpec { delay_ns: 700 * MS, limit: Some(500), ..DirectionSpec::default() };
        let lab = support::up(by_netem(&name, asked)).await?;
        let before = tc(&name)?;
        // Frames that are under way while one property after the other changes.
        let pdus: Vec<Vec<u8>> = (0..FRAMES).map(|i| vec![0x40 + u8::try_from(i).unwrap_or(0); 60]).collect();
        lab.inject_all("left", "right", &pdus).await?;
        let mut expected = asked;
        let named: [DirectionChange; 4] = [
            DirectionChange { loss: Some(Loss::Random { probability: 1.0 }), ..DirectionChange::default() },
            DirectionChange { rate_bps: Some(1_000_000), ..DirectionChange::default() },
            DirectionChange { delay_ns: Some(10 * MS), ..DirectionChange::default() },
            DirectionChange {
                delay_ns: Some(0),
                rate_bps: Some(0),
                loss: Some(Loss::None),
                ..DirectionChange::default()
            },
        ];
        for change in named {
            set(&lab, Direction::Forward, change).await?;
            expected = expected.with(&change);
            let shown = tc(&name)?;
            compare(&expected, &shown)?;
            if shown["handle"] != before["handle"] {
                return Err(format!("{} was replaced by {}", before["handle"], shown["handle"]).into());
            }
        }
        let other = support::inside(&name, "right", &["tc", "-j", "qdisc", "show", "dev", "left"])?;
        compare(&asked, &serde_json::from_str::<Value>(&other)?[0])?;
        let arrived = arrivals(&lab, FRAMES).await?;
        if arrived != FRAMES {
            return Err(format!("{arrived} of {FRAMES} frames arrived that were under way during the changes").into());
        }
        lab.link("left", "right", LinkChange::Clear).await?;
        compare(&asked, &tc(&name)?)?;
        lab.down().await?;
        println!("{FRAMES} frames survived {} changes, and clear resets", named.len());
        Ok(())
    })
}

/// Frames of the lab's EtherType that `right` received, once there are so many or two seconds are over.
async fn arrivals(lab: &Lab, wanted: usize) -> Result<usize, Failed> {
    use damc_lab::recording::Wanted;
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    loop {
        let only = Wanted { node: Some("right".to_owned()), sent: Some(false), ..Wanted::default() };
        let count = lab.recording().await?.read(&only)?.len();
        if count >= wanted || std::time::Instant::now() > deadline {
            return Ok(count);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn bypasses() -> Result<(), Failed> {
    let name = lab_name("bypass");
    run(async {
        let asked = DirectionSpec { delay_ns: 5 * MS, ..DirectionSpec::default() };
        let lab = support::up(by_netem(&name, asked)).await?;
        lab.inject_all("left", "right", &vec![vec![1; 60]; 7]).await?;
        let honest = lab.link_status("left", "right").await?;
        if !honest.bypassed().is_empty() {
            return Err(format!("an honest sender is blamed: {honest:?}").into());
        }
        support::inside(&name, "left", &["/proc/self/exe", "guest-raw"])?;
        let status = lab.link_status("left", "right").await?;
        if status.bypassed() != [("left", "right", 9)] {
            return Err(format!("9 frames went around the shaping, seen were {status:?}").into());
        }
        lab.down().await?;
        println!("9 of 16 frames seen to go around the shaping");
        Ok(())
    })
}
