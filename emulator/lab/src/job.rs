//! What `lab-init` is asked to build: the plan of a topology together with the choices of this run. Written to `lab.json`
//! in the run directory, where it also tells other commands what the lab is. There are no secrets in it.

use std::path::PathBuf;

use damc_topology::plan::Plan;
use serde::{Deserialize, Serialize};

/// A lab to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What it is made of.
    pub plan: Plan,
    /// How it is made.
    pub choices: Choices,
}

/// The choices of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// What serves impaired links.
    pub links_by: LinksBy,
    /// Serve every link so that any impairment can be set later, plain ones too.
    pub all_relayed: bool,
    /// The executable that knows the hidden commands.
    pub program: PathBuf,
    /// When the caller began, `CLOCK_MONOTONIC`, ns.
    pub began_at_ns: u64,
    /// Bytes that the recording keeps, the newest ones; 0 for no recording.
    pub record_bytes: u64,
    /// How long recorded frames may gather before they are taken, ms.
    pub record_every_ms: u64,
    /// How long nodes may take to become ready, ms.
    pub ready_within_ms: u64,
}

/// Which backend is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinksBy {
    /// netem where the kernel has it, else the relay.
    #[default]
    Auto,
    /// netem or nothing.
    Netem,
    /// The relay.
    Relay,
}

impl std::str::FromStr for LinksBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "netem" => Ok(Self::Netem),
            "relay" => Ok(Self::Relay),
            other => Err(format!("links are served by auto, netem or relay, not by `{other}`")),
        }
    }
}
