//! `damc link`.

use crate::exit::{Outcome, not_available};

/// Show or change a link.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One end; a change concerns what it sends and what it receives.
    pub a: String,
    /// The other end.
    pub b: String,
    /// set, down, up or show.
    pub action: String,
    /// For set: properties as in a topology file, such as delay=80ms loss=1%.
    pub properties: Vec<String>,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("link")
}
