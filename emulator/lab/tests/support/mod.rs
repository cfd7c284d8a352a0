//! What the tests share: labs of dummy processes, and a look at the host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use damc_impair::DirectionSpec;
use damc_lab::job::{Choices, Job, LinksBy};
use damc_lab::rundir::RunDir;
use damc_lab::{Lab, LabError};
use damc_mgmt::config::Timers;
use damc_topology::plan::{ForeignProgram, LinkEnd, Plan, PlannedLink, Process, Program};
use libtest_mimic::Failed;

/// A test: what it does, or why it failed.
pub type Test = fn() -> Result<(), Failed>;

/// Longest time of a test.
const DEADLINE: Duration = Duration::from_secs(60);

/// Copies the program of these tests. By a process of its own: a child that another test starts meanwhile would inherit the
/// descriptor that writes here, and no file is executed while somebody may write to it.
pub fn copy_of_this_program(to: &Path) -> Result<(), Failed> {
    let copied = Command::new("cp").arg(std::env::current_exe()?).arg(to).status()?;
    if copied.success() { Ok(()) } else { Err(format!("cp: {copied}").into()) }
}

/// Tries what labs need; the reason where it is not allowed.
pub fn missing_permission() -> Option<String> {
    let try_out = Command::new("unshare").args(["-Urnm", "true"]).output();
    let as_root = nix::unistd::geteuid().is_root();
    match try_out {
        Ok(output) if output.status.success() => None,
        _ if as_root => None,
        Ok(output) => Some(format!("user namespaces: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("user namespaces: cannot try unshare: {error}")),
    }
}

/// Runs a test on a thread of its own, which is given up when it takes too long.
pub fn within_deadline(name: &str, test: Test) -> Result<(), Failed> {
    within(DEADLINE, name, test)
}

/// The same with another deadline.
pub fn within(deadline: Duration, name: &str, test: Test) -> Result<(), Failed> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(test()));
    match receiver.recv_timeout(deadline) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("{name} took longer than {deadline:?}").into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(format!("{name} panicked").into()),
    }
}

/// Runs asynchronous work.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// A node that does nothing but say that it is ready.
pub const IDLE: &str = "echo ready; exec sleep 1000";

/// A name for a lab that no other test has.
pub fn lab_name(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// A job: nodes with the shell program each runs, and links between them.
pub fn job(lab: &str, nodes: &[(&str, &str)], links: &[(&str, &str, DirectionSpec)]) -> Job {
    let end = |number: usize, side: u8, node: &str, neighbour: &str| LinkEnd {
        node: node.to_owned(),
        interface: neighbour.to_owned(),
        address: [2, 0, 0, 0, u8::try_from(number).expect("few links"), side],
        cost: 1,
    };
    let links = links.iter().enumerate().map(|(number, (a, b, spec))| PlannedLink {
        a: end(number, 0, a, b),
        b: end(number, 1, b, a),
        forward: *spec,
        backward: *spec,
        impaired: !spec.is_plain(),
    });
    let plan = Plan {
        lab: lab.to_owned(),
        topology: lab.to_owned(),
        domain: "example".to_owned(),
        seed: 1,
        timers: Timers::default(),
        namespaces: nodes.iter().map(|(name, _)| (*name).to_owned()).collect(),
        links: links.collect(),
        processes: nodes.iter().map(|(name, script)| process(name, script)).collect(),
    };
    let choices = Choices {
        links_by: LinksBy::Auto,
        all_relayed: false,
        program: std::env::current_exe().expect("a running program has a path"),
        began_at_ns: damc_link::monotonic_now(),
        record_bytes: 16 << 20,
        record_every_ms: 4,
        ready_within_ms: 10_000,
    };
    Job { plan, choices }
}

/// A node that is a shell program and reads no configuration.
fn process(name: &str, script: &str) -> Process {
    let config = serde_json::json!({
        "node": name, "role": "sr", "domain": "example", "admin_socket": "", "ports": [], "pace": Timers::default(),
    });
    Process {
        node: name.to_owned(),
        program: Program::Foreign(ForeignProgram {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            env: BTreeMap::new(),
            folder: "/".into(),
        }),
        config: serde_json::from_value(config).expect("a configuration"),
        overload: false,
        granted_later: Vec::new(),
    }
}

/// Brings a job up.
pub async fn up(job: Job) -> Result<Lab, LabError> {
    let name = job.plan.lab.clone();
    Lab::build(&name, 16, false, |_| Ok(job), |_| {}).await
}

/// Two nodes and a link.
pub fn pair(lab: &str, spec: DirectionSpec) -> Job {
    job(lab, &[("left", IDLE), ("right", IDLE)], &[("left", "right", spec)])
}

/// The same with the relay whatever the kernel has.
pub fn job_by_relay(lab: &str, spec: DirectionSpec) -> Job {
    served_by(LinksBy::Relay, pair(lab, spec))
}

/// The same job with links by this backend.
pub fn served_by(links_by: LinksBy, job: Job) -> Job {
    Job { choices: Choices { links_by, ..job.choices }, ..job }
}

/// What a program prints inside a node. Entering is for good, so a process of its own does it: this program again.
pub fn inside(lab: &str, node: &str, argv: &[&str]) -> Result<String, Failed> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).arg("test-enter").arg(lab).arg(node).args(argv).output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{argv:?} in {node}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// Whether an interface has carrier.
pub fn carrier(lab: &str, node: &str, interface: &str) -> Result<bool, Failed> {
    // A carrier file cannot be read while its interface is down.
    let script = format!("cat /sys/class/net/{interface}/carrier 2>/dev/null || echo 0");
    Ok(inside(lab, node, &["sh", "-c", &script])? == "1\n")
}

/// Programs that a test starts as processes of their own: this program again, with one of these commands.
pub fn hidden() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["test-enter", lab, node, ..] => {
            let entry = Lab::attach(Some(lab)).and_then(|lab| lab.enter(node));
            entry.and_then(|entry| entry.run(&arguments[3..])).map(ExitCode::from)
        }
        ["test-hold", lab] => run(hold(lab, false)),
        ["test-hold", lab, "--detach"] => run(hold(lab, true)),
        _ => return None,
    };
    Some(outcome.unwrap_or_else(|error| {
        eprintln!("{}", error.one_line());
        ExitCode::FAILURE
    }))
}

/// Brings a lab up, says so, and stays until it fails.
async fn hold(name: &str, detached: bool) -> Result<ExitCode, LabError> {
    let spec = DirectionSpec { delay_ns: 1_000_000, ..DirectionSpec::default() };
    let mut lab = Lab::build(name, 16, detached, |_| Ok(pair(name, spec)), |_| {}).await?;
    println!("up");
    if detached {
        lab.detach();
        return Ok(ExitCode::SUCCESS);
    }
    Err(lab.failed().await)
}

/// Run directory of a lab.
pub fn directory(lab: &str) -> PathBuf {
    RunDir::of(lab).path().to_owned()
}

/// What of the host a lab must leave alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Host {
    links: BTreeSet<String>,
    mounts: String,
    namespaces: BTreeSet<String>,
}

impl Host {
    /// The host as it is now.
    pub fn now() -> Self {
        let names = |folder: &str| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        Self {
            links: names("/sys/class/net"),
            mounts: std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            namespaces: names("/run/netns"),
        }
    }
}

/// Ids of the processes that carry this lab in their command line.
pub fn processes_of(lab: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // The process's own command line may name tests.
        *pid != std::process::id().cast_signed() && String::from_utf8_lossy(&command).contains(lab)
    })
    .collect()
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > deadline {
            return Err(format!("not so within 10 s: {what}").into());
        }
        std::thread::yield_now();
    }
    Ok(())
}
