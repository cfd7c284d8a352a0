//! `damc lab-init`.

use crate::exit::{Outcome, not_available};

/// The first process of a lab.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Arguments of the lab.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("lab-init")
}
