//! `damc call`.

use crate::exit::{Outcome, not_available};

/// Invoke a method of a service.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pod that calls.
    pub from: String,
    /// Name of the service, instance or pool.
    pub name: String,
    /// Method, such as echo, add, whoami, sleep or fail.
    pub method: String,
    /// Its argument.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub argument: Vec<String>,
    /// Print the path taken.
    #[arg(long)]
    pub trace: bool,
    /// The lab to use, where more than one is up.
    #[arg(long, value_name = "NAME")]
    pub lab: Option<String>,
}

pub fn run(_args: Args) -> Outcome {
    not_available("call")
}
