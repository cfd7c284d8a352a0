//! `damc link`.

use std::time::Duration;

use damc_impair::{DirectionChange, DirectionCounters, DirectionSpec};
use damc_lab::Lab;
use damc_lab::control::{Direction, LinkChange, LinkStatus};
use damc_topology::{describe, set_property};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};
use crate::wait::WaitOption;

/// Show or change a link.
///
/// Shows what each direction is told to do, and what the relay did to its frames since the lab is up.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One end.
    pub a: String,
    /// The other end.
    pub b: String,
    /// set, clear (back to what the topology says), down, up or show.
    pub action: String,
    /// For set: properties as in a topology file, such as delay=80ms loss=1%; silent=on loses every frame without a
    /// carrier event. What is not named stays.
    pub properties: Vec<String>,
    /// For set: only what the first end sends.
    #[arg(long, conflicts_with = "backward")]
    pub forward: bool,
    /// For set: only what the second end sends.
    #[arg(long)]
    pub backward: bool,
    /// For show: what the link does in the next so many seconds, instead of since the lab is up.
    #[arg(long = "for", value_name = "SECONDS", allow_negative_numbers = true)]
    pub span: Option<f64>,
    #[command(flatten)]
    pub wait: WaitOption,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let change = change(args)?;
    let span = span(args)?;
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        if let Some(change) = change {
            lab.link(&args.a, &args.b, change).await.map_err(of_lab)?;
        }
        args.wait.settle(&lab, args.json).await?;
        let mut status = lab.link_status(&args.a, &args.b).await.map_err(of_lab)?;
        if let Some(span) = span {
            tokio::time::sleep(span).await;
            let after = lab.link_status(&args.a, &args.b).await.map_err(of_lab)?;
            status = during(&status, after);
        }
        if args.json {
            println!("{}", serde_json::to_string(&status)?);
        } else {
            print(&status);
        }
        Ok(Exit::Passed)
    })
}

/// The change wanted; none to show only.
fn change(args: &Args) -> Result<Option<LinkChange>, Failure> {
    if args.action != "set" && !args.properties.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!("properties go with `set`, not with `{}`", args.action)));
    }
    match args.action.as_str() {
        "show" => Ok(None),
        "down" => Ok(Some(LinkChange::Down)),
        "up" => Ok(Some(LinkChange::Up)),
        "clear" => Ok(Some(LinkChange::Clear)),
        "set" if args.properties.is_empty() => {
            Err(Failure::usage(anyhow::anyhow!("`set` needs properties, such as delay=80ms loss=1%")))
        }
        "set" => {
            let direction = match (args.forward, args.backward) {
                (true, _) => Direction::Forward,
                (_, true) => Direction::Backward,
                _ => Direction::Both,
            };
            Ok(Some(LinkChange::Set { direction, properties: properties(&args.properties)? }))
        }
        other => Err(Failure::usage(anyhow::anyhow!("a link knows set, clear, down, up and show, not `{other}`"))),
    }
}

/// The change that some properties mean, as `set` takes them.
///
/// # Errors
/// A word is no property, or has no such value.
pub fn properties(words: &[String]) -> Result<DirectionChange, Failure> {
    let mut change = DirectionChange::default();
    for word in words {
        let (property, text) = word
            .split_once('=')
            .ok_or_else(|| Failure::usage(anyhow::anyhow!("`{word}` is no property; write it as delay=80ms")))?;
        match (property, text) {
            ("silent", "on") => change.silent = Some(true),
            ("silent", "off") => change.silent = Some(false),
            ("silent", _) => return Err(Failure::usage(anyhow::anyhow!("silent is on or off, not `{text}`"))),
            _ => set_property(&mut change, property, text).map_err(Failure::usage)?,
        }
    }
    Ok(change)
}

/// How long `show` watches.
fn span(args: &Args) -> Result<Option<Duration>, Failure> {
    let wrong = |why: &str| Failure::usage(anyhow::anyhow!("--for {why}"));
    match args.span {
        Some(_) if args.action != "show" => Err(wrong("goes with `show`")),
        Some(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(Some(Duration::from_secs_f64(seconds))),
        Some(_) => Err(wrong("is from 0.001 to 86400 seconds")),
        None => Ok(None),
    }
}

/// The link as it is after a time, with what it did in that time.
fn during(before: &LinkStatus, mut after: LinkStatus) -> LinkStatus {
    after.forward_relayed = between(before.forward_relayed, after.forward_relayed);
    after.backward_relayed = between(before.backward_relayed, after.backward_relayed);
    after.relayed_ms = after.relayed_ms.zip(before.relayed_ms).map(|(after, before)| after.saturating_sub(before));
    for (after, before) in
        [(&mut after.forward_counted, before.forward_counted), (&mut after.backward_counted, before.backward_counted)]
    {
        if let (Some(after), Some(before)) = (after.as_mut(), before) {
            after.shaped = after.shaped.saturating_sub(before.shaped);
            after.dropped = after.dropped.saturating_sub(before.dropped);
            after.bypassed = after.bypassed.saturating_sub(before.bypassed);
        }
    }
    after
}

/// What was counted between two looks. Extremes are of the whole life of a direction and cannot be told of a part.
fn between(before: Option<DirectionCounters>, after: Option<DirectionCounters>) -> Option<DirectionCounters> {
    let (before, after) = before.zip(after)?;
    Some(DirectionCounters {
        received: after.received.saturating_sub(before.received),
        received_bytes: after.received_bytes.saturating_sub(before.received_bytes),
        delivered: after.delivered.saturating_sub(before.delivered),
        delivered_bytes: after.delivered_bytes.saturating_sub(before.delivered_bytes),
        duplicated: after.duplicated.saturating_sub(before.duplicated),
        corrupted: after.corrupted.saturating_sub(before.corrupted),
        reordered: after.reordered.saturating_sub(before.reordered),
        lost: after.lost.saturating_sub(before.lost),
        lost_silent: after.lost_silent.saturating_sub(before.lost_silent),
        lost_limit: after.lost_limit.saturating_sub(before.lost_limit),
        lost_interface: after.lost_interface.saturating_sub(before.lost_interface),
        delay_ns: after.delay_ns.saturating_sub(before.delay_ns),
        delay_min_ns: 0,
        delay_max_ns: 0,
        late_ns: after.late_ns.saturating_sub(before.late_ns),
        late_max_ns: 0,
        late_frames: after.late_frames.saturating_sub(before.late_frames),
    })
}

fn print(status: &LinkStatus) {
    let carrier = if status.up { "up" } else { "down" };
    println!("{} – {}: {carrier}, {}", status.a, status.b, status.service.label());
    let says = |spec: &DirectionSpec| {
        let silent = if spec.silent { "silent " } else { "" };
        let text = format!("{silent}{}", describe(spec).join(" "));
        if text.is_empty() { "nothing added".to_owned() } else { text }
    };
    for (from, to, spec, relayed, counted) in [
        (&status.a, &status.b, &status.forward, status.forward_relayed, status.forward_counted),
        (&status.b, &status.a, &status.backward, status.backward_relayed, status.backward_counted),
    ] {
        println!("  {from} → {to}: {}", says(spec));
        if let (Some(counters), Some(ms)) = (relayed, status.relayed_ms) {
            println!("    {}", did(&counters, Duration::from_millis(ms)));
        }
        if let Some(counted) = counted {
            println!("    {} frames shaped, {} dropped, as the kernel counts", counted.shaped, counted.dropped);
        }
    }
    for (from, to, frames) in status.bypassed() {
        println!("  {from} → {to}: {frames} frames went around the shaping (PACKET_QDISC_BYPASS)");
    }
}

/// What the relay did to the frames of one direction, in a line.
fn did(counters: &DirectionCounters, span: Duration) -> String {
    let seconds = span.as_secs_f64();
    let mut parts = vec![format!("in {seconds:.1} s {} of {} frames delivered", counters.delivered, counters.received)];
    if let Some(mean) = counters.delay_ns.checked_div(counters.delivered) {
        let ms = |ns: u64| format!("{:.3}", ns as f64 / 1e6);
        let mean = ms(mean);
        let whole = counters.delay_max_ns > 0;
        let extremes = format!(" ({} to {})", ms(counters.delay_min_ns), ms(counters.delay_max_ns));
        parts.push(format!("{:.1} kbit/s", counters.delivered_bytes as f64 * 8.0 / 1e3 / seconds.max(1e-3)));
        parts.push(format!("delay {mean} ms{}", if whole { extremes } else { String::new() }));
    }
    let lost = [
        ("lost", counters.lost),
        ("lost in silence", counters.lost_silent),
        ("dropped for a full queue", counters.lost_limit),
        ("refused by the far end", counters.lost_interface),
        ("duplicated", counters.duplicated),
        ("corrupted", counters.corrupted),
        ("reordered", counters.reordered),
    ];
    let offered = (counters.received + counters.duplicated).max(1) as f64;
    let told = lost.into_iter().filter(|(_, count)| *count > 0);
    parts.extend(told.map(|(what, count)| format!("{count} {what} ({:.2} %)", count as f64 * 100.0 / offered)));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: DirectionCounters = DirectionCounters {
        received: 100,
        received_bytes: 100_000,
        delivered: 90,
        delivered_bytes: 90_000,
        duplicated: 0,
        corrupted: 0,
        reordered: 5,
        lost: 10,
        lost_silent: 0,
        lost_limit: 0,
        lost_interface: 0,
        delay_ns: 450_000_000,
        delay_min_ns: 4_000_000,
        delay_max_ns: 7_500_000,
        late_ns: 0,
        late_max_ns: 0,
        late_frames: 0,
    };

    #[test]
    fn a_direction_says_rate_delay_and_losses() {
        assert_eq!(
            did(&SEEN, Duration::from_secs(2)),
            "in 2.0 s 90 of 100 frames delivered, 360.0 kbit/s, delay 5.000 ms (4.000 to 7.500), 10 lost (10.00 %), \
             5 reordered (5.00 %)"
        );
    }

    #[test]
    fn between_two_looks_only_what_happened_counts() {
        let later = DirectionCounters {
            received: 300,
            delivered: 290,
            delivered_bytes: 290_000,
            delay_ns: 2_450_000_000,
            ..SEEN
        };
        let span = between(Some(SEEN), Some(later)).unwrap();
        assert_eq!((span.received, span.delivered, span.lost), (200, 200, 0));
        assert_eq!(
            did(&span, Duration::from_secs(1)),
            "in 1.0 s 200 of 200 frames delivered, 1600.0 kbit/s, delay 10.000 ms"
        );
        assert_eq!(between(None, Some(later)), None, "a link that is not relayed");
    }
}
