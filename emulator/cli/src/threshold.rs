//! `damc threshold`.

use damc_impair::DirectionChange;
use damc_lab::Lab;
use damc_mgmt::command::{Command, Preset};
use damc_topology::set_property;
use damc_wire::{Name, NodeId};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};

/// Preset other conditions for the paths to a service, while the lab is up.
///
/// The SCSC judges by them at once. `damc show policies scsc` shows those that are set.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service or pool, with all names below it that have no conditions of their own; `default` for all services that
    /// have none.
    pub prefix: String,
    /// Conditions as in a topology file: delay=20ms jitter=5ms bandwidth=10mbit. What is not named is as in the topology
    /// file; after `clear` all is.
    #[arg(required = true)]
    pub conditions: Vec<String>,
    /// Only for the traffic of this SG.
    #[arg(long, value_name = "SG")]
    pub from: Option<String>,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    let order = order(args)?;
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let nodes = lab.status().await.map_err(of_lab)?.nodes;
        let judges: Vec<&str> =
            nodes.iter().filter(|node| node.kind == "scsc").map(|node| node.name.as_str()).collect();
        if judges.is_empty() {
            return Err(Failure::usage(anyhow::anyhow!("the lab has no SCSC, so nobody judges paths")));
        }
        if let Command::Thresholds { source: Some(sg), .. } = &order
            && !nodes.iter().any(|node| node.kind == "sg" && node.name == sg.as_str())
        {
            return Err(Failure::usage(anyhow::anyhow!("--from: the lab has no SG {sg}")));
        }
        for scsc in judges {
            lab.order(scsc, &order).await.map_err(of_lab)?;
        }
        Ok(Exit::Passed)
    })
}

fn order(args: &Args) -> Result<Command, Failure> {
    let prefix = match args.prefix.as_str() {
        "default" => None,
        name => Some(name.parse::<Name>().map_err(|e| Failure::usage(anyhow::anyhow!("{name:?}: {e}")))?),
    };
    let source =
        args.from.as_deref().map(|sg| NodeId::new(sg).map_err(|e| Failure::usage(anyhow::anyhow!("{sg:?}: {e}"))));
    Ok(Command::Thresholds { prefix, source: source.transpose()?, preset: preset(&args.conditions)? })
}

/// The conditions named; none after `clear`.
fn preset(words: &[String]) -> Result<Preset, Failure> {
    if let [word] = words
        && word == "clear"
    {
        return Ok(Preset::default());
    }
    let mut change = DirectionChange::default();
    for word in words {
        let (property, text) = match word.split_once('=') {
            Some(("bandwidth", text)) => ("rate", text),
            Some((property @ ("delay" | "jitter"), text)) => (property, text),
            _ => {
                let known = "delay=, jitter=, bandwidth= or `clear` alone";
                return Err(Failure::usage(anyhow::anyhow!("conditions are {known}, not `{word}`")));
            }
        };
        set_property(&mut change, property, text).map_err(Failure::usage)?;
    }
    Ok(Preset { bandwidth_bps: change.rate_bps, delay_ns: change.delay_ns, jitter_ns: change.jitter_ns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset_of(words: &[&str]) -> Result<Preset, Failure> {
        preset(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn conditions_are_written_as_in_topology_files() {
        let all = preset_of(&["delay=20ms", "jitter=5ms", "bandwidth=10mbit"]).ok();
        let expected =
            Preset { bandwidth_bps: Some(10_000_000), delay_ns: Some(20_000_000), jitter_ns: Some(5_000_000) };
        assert_eq!(all, Some(expected));
        assert_eq!(preset_of(&["clear"]).ok(), Some(Preset::default()));
        for wrong in [&["loss=1%"][..], &["delay"], &["clear", "delay=1ms"], &["delay=fast"]] {
            assert!(preset_of(wrong).is_err(), "{wrong:?}");
        }
    }
}
