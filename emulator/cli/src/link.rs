//! `damc link`.

use damc_impair::{DirectionChange, DirectionSpec};
use damc_lab::Lab;
use damc_lab::control::{Direction, LinkChange, LinkStatus};
use damc_topology::{describe, set_property};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};

/// Show or change a link.
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
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let change = change(args)?;
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        if let Some(change) = change {
            lab.link(&args.a, &args.b, change).await.map_err(of_lab)?;
        }
        let status = lab.link_status(&args.a, &args.b).await.map_err(of_lab)?;
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

fn properties(words: &[String]) -> Result<DirectionChange, Failure> {
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

fn print(status: &LinkStatus) {
    let carrier = if status.up { "up" } else { "down" };
    println!("{} – {}: {carrier}, {}", status.a, status.b, status.service.label());
    let says = |spec: &DirectionSpec| {
        let silent = if spec.silent { "silent " } else { "" };
        let text = format!("{silent}{}", describe(spec).join(" "));
        if text.is_empty() { "nothing added".to_owned() } else { text }
    };
    println!("  {} → {}: {}", status.a, status.b, says(&status.forward));
    println!("  {} → {}: {}", status.b, status.a, says(&status.backward));
    for (from, to, frames) in status.bypassed() {
        println!("  {from} → {to}: {frames} frames went around the shaping (PACKET_QDISC_BYPASS)");
    }
}
