//! `damc logs`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use damc_lab::{Lab, LabError};

use crate::exit::{Exit, Failure, Outcome};
use crate::session::{block_on, of_lab};

/// Pause between two looks at a growing log.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Print the log of a node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node; `lab` for what the lab's own processes say, `relay` for what its relay says.
    pub node: String,
    /// Go on as it grows, until the lab ends.
    #[arg(short, long)]
    pub follow: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(args: &Args) -> Outcome {
    block_on(async {
        let lab = Lab::attach(args.lab.as_deref()).map_err(of_lab)?;
        let path = match args.node.as_str() {
            "lab" => lab.directory().lab_log(),
            "relay" if lab.nodes().all(|node| node != "relay") => relay_log(&lab)?,
            node => {
                // Names the nodes there are where this is none.
                lab.management(node).map_err(of_lab)?;
                lab.directory().node_log(node)
            }
        };
        let doing = format!("read {}", path.display());
        let mut log = File::open(&path).map_err(LabError::io(doing.clone())).map_err(of_lab)?;
        loop {
            let live = lab.directory().is_live();
            let copied = io::copy(&mut log.by_ref(), &mut io::stdout().lock());
            match copied {
                // Whoever read our output has enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Passed),
                other => other.map_err(LabError::io(doing.clone())).map_err(of_lab)?,
            };
            if !args.follow || !live {
                return Ok(Exit::Passed);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
}

fn relay_log(lab: &Lab) -> Result<PathBuf, Failure> {
    let log = lab.directory().relay_log();
    if log.exists() { Ok(log) } else { Err(Failure::usage(anyhow::anyhow!("lab {} has no relay", lab.name()))) }
}
