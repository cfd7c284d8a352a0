//! The FIBs of every shipped topology by the emulation: real processes, namespaces and links.
//!
//! It runs as root or where unprivileged user namespaces are allowed. Elsewhere it is skipped and says so; where `CI` is
//! set a skip is a failure.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use damc_lab::up::UpOptions;
use damc_lab::{Lab, LabError};
use damc_mgmt::view::FibView;
use damc_topology::Topology;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod shipped;

/// How long a lab may take to converge.
const CONVERGED: Duration = Duration::from_secs(20);
/// How long it may take to settle after that. Long, because on a busy host links look bad and policies come and go.
const SETTLED: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    // A lab starts this very program again, with a hidden command.
    if let Some(code) = damc_lab::reexec::dispatch() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    // One lab after the other: side by side they would starve each other on a small host.
    arguments.test_threads.get_or_insert(1);
    let missing = missing_permission();
    if let Some(reason) = &missing {
        eprintln!("SKIPPED: no lab can be built here, the live FIB snapshots are NOT checked: {reason}");
    }
    let trials = shipped::BUILT_IN.into_iter().map(|name| {
        let missing = missing.clone();
        Trial::ignorable_test(format!("rib_02_fibs_of_{name}_live"), move || match missing {
            None => live(name).map(|()| Completion::Completed),
            Some(reason) if std::env::var_os("CI").is_some() => Err(Failed::from(reason)),
            Some(reason) => Ok(Completion::ignored_with(reason)),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn live(name: &str) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let topology = shipped::load(name);
    let fibs = runtime.block_on(fibs_of_a_lab(&topology)).map_err(|error| match error {
        LabError::MissingPrograms(_) => {
            format!("{}; build them first: cargo build --workspace --bins", error.one_line())
        }
        other => other.one_line(),
    })?;
    shipped::assert_fibs(name, &fibs);
    Ok(())
}

/// Brings a topology up and gives the FIBs it settles on.
async fn fibs_of_a_lab(topology: &Topology) -> Result<BTreeMap<String, FibView>, LabError> {
    let options = UpOptions {
        lab: Some(format!("snapshot-{}-{}", topology.name(), std::process::id())),
        seed: 1,
        record_bytes: 0,
        node_folder: std::env::var_os("DAMC_NODE_DIR").is_none().then(programs),
        ..UpOptions::default()
    };
    let lab = Lab::up(topology, &options).await?;
    lab.wait_converged(CONVERGED).await?;
    let deadline = Instant::now() + SETTLED;
    loop {
        let mut fibs = BTreeMap::new();
        for node in shipped::routers(topology) {
            fibs.insert(node.clone(), lab.show(&node).await?);
        }
        let unsettled = shipped::unsettled(topology, &fibs);
        if unsettled.is_none() {
            lab.down().await?;
            return Ok(fibs);
        }
        if Instant::now() >= deadline {
            let last = unsettled.unwrap_or_default();
            return Err(LabError::Deadline { what: "settled forwarding tables".to_owned(), within: SETTLED, last });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The folder of the node programs: test programs lie in `deps` below it.
fn programs() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    test.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default()
}

/// Tries what labs need; the reason where it is not allowed.
fn missing_permission() -> Option<String> {
    // Root makes namespaces without a user namespace.
    if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
        return None;
    }
    match Command::new("unshare").args(["-Urnm", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("user namespaces: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Some(format!("user namespaces: cannot try unshare: {error}")),
    }
}
