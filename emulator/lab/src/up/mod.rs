//! Bringing a topology up: plan, keys and configurations, node programs, then the building itself.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use damc_mgmt::config::NodeConfig;
use damc_mgmt::order::OrderRequest;

use crate::control::Phase;
use crate::error::{LabError, Result};
use crate::job::{EndJob, Job, LinkJob, LinksBy, NodeJob};
use crate::lab::{self, Lab};
use crate::pace::Calibration;
use crate::plan::{LinkEnd, Plan, PlanOptions, Program, plan};
use crate::rundir::RunDir;
use crate::topology::Topology;

/// Choices of one run of a topology.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Name of the lab; the topology's where absent.
    pub lab: Option<String>,
    /// Seed of keys and of link randomness.
    pub seed: u64,
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
    /// Folder of our node programs: `DAMC_NODE_DIR` or beside the executable where absent.
    pub node_folder: Option<PathBuf>,
}

impl Default for UpOptions {
    fn default() -> Self {
        Self {
            lab: None,
            seed: 0,
            links_by: LinksBy::Auto,
            all_relayed: false,
            detached: false,
            record_bytes: 256 << 20,
            ready_within: Duration::from_secs(15),
            calibration: Calibration::default(),
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
            },
        );
        let program = lab::program()?;
        let folder = node_folder(options, &program);
        let mut plan = plan;
        find_own_programs(&mut plan, &folder);
        check_programs(&plan, &folder)?;
        let longest = plan.processes.iter().map(|process| process.node.len()).max().unwrap_or(0);
        let prepare = |directory: &RunDir| {
            for process in &plan.processes {
                write_config(&directory.node_config(&process.node), &process.config)?;
            }
            Ok(job(&plan, options, program.clone(), &folder, directory, began_at_ns))
        };
        let lab = Self::build(&name, longest, options.detached, prepare, tell).await?;
        for process in plan.processes.iter().filter(|process| process.overload) {
            lab.order(&process.node, &OrderRequest::Overload { on: true }).await?;
        }
        Ok(lab)
    }
}

/// Says where programs that are shipped with ours lie: `{bin}` in a command or a variable.
fn find_own_programs(plan: &mut Plan, folder: &Path) {
    let folder = folder.display().to_string();
    let services = plan.processes.iter_mut().flat_map(|process| &mut process.config.services);
    for run in services.filter_map(|service| service.run.as_mut()) {
        for word in run.argv.iter_mut().chain(run.env.values_mut()) {
            *word = word.replace("{bin}", &folder);
        }
    }
}

/// Where our node programs are.
#[must_use]
pub fn node_folder(options: &UpOptions, program: &Path) -> PathBuf {
    let configured = options.node_folder.clone().or_else(|| std::env::var_os("DAMC_NODE_DIR").map(PathBuf::from));
    configured.unwrap_or_else(|| program.parent().unwrap_or(Path::new(".")).to_owned())
}

/// Whether a file is there and may be executed by somebody.
#[must_use]
pub fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn check_programs(plan: &Plan, folder: &Path) -> Result<()> {
    let mut missing: Vec<PathBuf> =
        plan.processes.iter().filter_map(|process| missing_program(&process.program, folder)).collect();
    missing.sort();
    missing.dedup();
    if !missing.is_empty() {
        return Err(LabError::MissingPrograms(missing));
    }
    let services = plan.processes.iter().flat_map(|process| &process.config.services);
    let programs = services.filter_map(|service| Some((service.prefix.clone(), service.run.as_ref()?)));
    let missing = programs.filter_map(|(prefix, run)| Some((prefix, missing_word(run.argv.first()?, &run.cwd)?)));
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(LabError::MissingServices(missing)) }
}

fn missing_program(program: &Program, folder: &Path) -> Option<PathBuf> {
    let wanted = match program {
        Program::Own(name) => folder.join(name),
        Program::Foreign(words) => PathBuf::from(words.first()?),
    };
    absent(wanted)
}

/// The program of a service: a path is one from its working directory.
fn missing_word(word: &str, cwd: &Path) -> Option<PathBuf> {
    let by_path = Path::new(word).components().count() > 1;
    absent(if by_path { cwd.join(word) } else { PathBuf::from(word) })
}

fn absent(wanted: PathBuf) -> Option<PathBuf> {
    let by_path = wanted.components().count() > 1;
    let found = if by_path {
        is_program(&wanted)
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| is_program(&folder.join(&wanted)))
    };
    (!found).then_some(wanted)
}

/// Writes a configuration for its owner's eyes: it holds the node's secrets.
fn write_config(path: &Path, config: &NodeConfig) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let text = serde_json::to_vec_pretty(config).map_err(|error| LabError::Lab(format!("{}: {error}", doing())))?;
    let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    options.and_then(|mut file| file.write_all(&text)).map_err(LabError::io(doing()))
}

fn job(plan: &Plan, options: &UpOptions, program: PathBuf, folder: &Path, directory: &RunDir, began_at_ns: u64) -> Job {
    let end = |end: &LinkEnd| EndJob { node: end.node.clone(), interface: end.interface.clone(), address: end.address };
    let node = |process: &crate::plan::Process| {
        let services = &process.config.services;
        let pools = services.iter().filter_map(|service| service.pool.clone());
        NodeJob {
            name: process.node.clone(),
            kind: process.config.role.clone(),
            argv: process.program.argv(folder, &directory.node_config(&process.node)),
            names: services.iter().map(|service| service.prefix.clone()).chain(pools).collect(),
        }
    };
    let link = |link: &crate::plan::PlannedLink| LinkJob {
        a: end(&link.a),
        b: end(&link.b),
        forward: link.forward,
        backward: link.backward,
    };
    Job {
        lab: plan.lab.clone(),
        topology: plan.topology.clone(),
        domain: plan.domain.clone(),
        seed: plan.seed,
        links_by: options.links_by,
        all_relayed: options.all_relayed,
        program,
        began_at_ns,
        record_bytes: options.record_bytes,
        ready_within_ms: u64::try_from(options.ready_within.as_millis()).unwrap_or(u64::MAX),
        nodes: plan.processes.iter().map(node).collect(),
        links: plan.links.iter().map(link).collect(),
    }
}
