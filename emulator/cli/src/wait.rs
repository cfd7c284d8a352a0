//! `--wait`: until the network has converged around a change.

use std::time::Duration;

use damc_lab::Lab;

use crate::exit::Failure;
use crate::session::of_lab;

/// Whether a command returns at once or when the network has converged.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct WaitOption {
    /// Return when the network has converged around the change: whoever is concerned has noticed it, databases are equal
    /// again, and each part that is left has its names and no others.
    #[arg(long)]
    pub wait: bool,
    /// Longest wait, in seconds; the exit code is 1 if it passes.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", requires = "wait")]
    pub wait_within: u64,
}

impl WaitOption {
    /// Waits if asked to; says how long that was unless the command prints JSON.
    ///
    /// # Errors
    /// The time is over, with what was missing last.
    pub async fn settle(self, lab: &Lab, json: bool) -> Result<(), Failure> {
        if !self.wait {
            return Ok(());
        }
        let took = lab.wait_around_outages(Duration::from_secs(self.wait_within)).await.map_err(of_lab)?;
        if !json {
            println!("converged after {:.0} ms", took.as_secs_f64() * 1e3);
        }
        Ok(())
    }
}
