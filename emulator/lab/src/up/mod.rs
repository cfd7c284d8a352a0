//! Bringing a topology up: plan, keys and configurations, node programs, then the building itself.

pub mod keys;
mod programs;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use damc_mgmt::command::Command;
use damc_mgmt::config::NodeConfig;
use damc_topology::Topology;
use damc_topology::plan::{KeySeed, PlanOptions, plan};
use damc_topology::timers::Calibration;

use crate::control::Phase;
use crate::error::{LabError, Result};
use crate::job::{Choices, Job, LinksBy};
use crate::lab::{self, Lab};
use crate::recorder::NAP;
use crate::rundir::RunDir;

pub use programs::{find, find_program, is_program, program_on_path};

/// Choices of one run of a topology.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Name of the lab; the topology's where absent.
    pub lab: Option<String>,
    /// Seed of link randomness.
    pub seed: u64,
    /// What the keys are made of; new ones where absent.
    pub keys: Option<KeySeed>,
    /// What serves impaired links.
    pub links_by: LinksBy,
    /// Serve every link in a way that allows any impairment later. Without netem this puts every link onto the relay,
    /// which costs each frame some microseconds; `damc run` does so because its suites impair any link.
    pub all_relayed: bool,
    /// Outlive this process; to be followed by [`Lab::detach`].
    pub detached: bool,
    /// Bytes that the recording of all frames keeps, the newest ones; 0 for no recording.
    pub record_bytes: u64,
    /// How long the nodes may take to become ready.
    pub ready_within: Duration,
    /// What calibration found about this host.
    pub calibration: Calibration,
    /// Period of the echo, ms, where somebody asks for one.
    pub echo_ms: Option<u64>,
    /// Folder with programs in the place of ours: `DAMC_NODE_DIR` where absent. What it lacks is taken from beside the
    /// executable.
    pub node_folder: Option<PathBuf>,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            lab: None,
            seed: 0,
            keys: None,
            links_by: LinksBy::Auto,
            all_relayed: false,
            detached: false,
            record_bytes: 256 << 20,
            ready_within: Duration::from_secs(15),
            calibration: Calibration::default(),
            echo_ms: None,
            node_folder: None,
        }
    }
}

impl Lab {
    /// Brings a topology up; every process is ready when it returns.
    ///
    /// # Errors
    /// When a node program is missing (nothing is created then), or the lab cannot be built (nothing is left then).
    pub async fn up(topology: &Topology, options: &UpOptions) -> Result<Self> {
        Self::up_telling(topology, options, |_| {}).await
    }

    /// As [`Lab::up`], telling each phase of the building when it is over.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub async fn up_telling(topology: &Topology, options: &UpOptions, tell: impl FnMut(&Phase)) -> Result<Self> {
        let began_at_ns = damc_link::monotonic_now();
        let name = options.lab.clone().unwrap_or_else(|| topology.name().to_string());
        let run_dir = RunDir::of(&name);
        let plan = plan(
            topology,
            &PlanOptions {
                lab: options.lab.clone(),
                seed: options.seed,
                run_dir: run_dir.path().to_owned(),
                calibration: options.calibration,
                echo_ms: options.echo_ms,
            },
        );
        let program = lab::program()?;
        let mut plan = plan;
        programs::find_own_programs(&mut plan, &node_folders(options, &program));
        programs::check_programs(&plan)?;
        let longest = plan.processes.iter().map(|process| process.node.len()).max().unwrap_or(0);
        let choices = Choices {
            links_by: options.links_by,
            all_relayed: options.all_relayed,
            program,
            began_at_ns,
            record_bytes: options.record_bytes,
            record_every_ms: millis(options.calibration.stretched(NAP)),
            ready_within_ms: millis(options.ready_within),
        };
        let keys = options.keys.clone().map_or_else(keys::drawn, Ok)?;
        let prepare = |directory: &RunDir| {
            keys::write(&directory.key_seed(), &keys)?;
            let (file, text) = (directory.topology(), damc_topology::written(topology, &[]));
            std::fs::write(&file, text).map_err(LabError::io(format!("write {}", file.display())))?;
            for config in plan.configs(&keys).map_err(|error| LabError::Lab(error.to_string()))? {
                write_config(&directory.node_config(&config.node), &config)?;
            }
            Ok(Job { plan: plan.clone(), choices })
        };
        let lab = Self::build(&name, longest, options.detached, prepare, tell).await?;
        for process in plan.processes.iter().filter(|process| process.overload) {
            lab.order(&process.node, &Command::Overload { on: true }).await?;
        }
        Ok(lab)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where our node programs are, the folder that is searched first in front.
#[must_use]
pub fn node_folders(options: &UpOptions, program: &Path) -> Vec<PathBuf> {
    let configured = options.node_folder.clone().or_else(|| std::env::var_os("DAMC_NODE_DIR").map(PathBuf::from));
    configured.into_iter().chain([program.parent().unwrap_or(Path::new(".")).to_owned()]).collect()
}

/// Writes a configuration for its owner's eyes: it holds the node's secrets.
fn write_config(path: &Path, config: &NodeConfig) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let text = serde_json::to_vec_pretty(config).map_err(|error| LabError::Lab(format!("{}: {error}", doing())))?;
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    options.and_then(|mut file| file.write_all(&text)).map_err(LabError::io(doing()))
}
