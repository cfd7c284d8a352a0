//! `damc down`.

use damc_lab::Lab;

use crate::exit::{Exit, Outcome};
use crate::session::{block_on, of_lab};

/// Tear a lab down: its nodes are told to end, killed a twentieth of a second later, and the name is free. The kernel may
/// take some seconds more to clear hundreds of namespaces away.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab; the only one where absent.
    pub name: Option<String>,
    /// The lab, as other commands name it.
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    pub lab: Option<String>,
}

pub fn run(args: Args) -> Outcome {
    block_on(async {
        let lab = Lab::attach(args.name.or(args.lab).as_deref()).map_err(of_lab)?;
        let name = lab.name().to_owned();
        lab.down().await.map_err(of_lab)?;
        println!("lab {name} is down");
        Ok(Exit::Passed)
    })
}
