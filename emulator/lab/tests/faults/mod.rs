//! Processes that die, in the lab and around it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use damc_impair::DirectionSpec;
use damc_lab::LabError;
use damc_lab::control::{LabState, NodeAction, NodeState};
use damc_lab::rundir::RunDir;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{self, Host, IDLE, Test, copy_of_this_program, eventually, lab_name, processes_of, run};

/// The tests.
pub const TESTS: &[(&str, Test)] = &[
    ("a_node_that_dies_fails_the_lab_with_its_last_words", a_node_that_dies_fails_the_lab_with_its_last_words),
    ("nodes_obey_orders", nodes_obey_orders),
    ("a_killed_node_takes_its_services_along", a_killed_node_takes_its_services_along),
    ("a_node_that_does_not_start_leaves_nothing", a_node_that_does_not_start_leaves_nothing),
    ("the_relay_dying_fails_the_lab", the_relay_dying_fails_the_lab),
    ("killing_the_caller_ends_the_lab", killing_the_caller_ends_the_lab),
    ("killing_the_first_process_ends_the_lab", killing_the_first_process_ends_the_lab),
    ("a_detached_lab_outlives_its_caller", a_detached_lab_outlives_its_caller),
    ("a_lab_needs_no_privilege", a_lab_needs_no_privilege),
];

fn a_node_that_dies_fails_the_lab_with_its_last_words() -> Result<(), Failed> {
    let name = lab_name("dies");
    let dying = "echo ready; echo so be it >&2; kill -9 $$";
    run(async {
        let nodes = [("left", dying), ("right", IDLE)];
        let job = support::job(&name, &nodes, &[("left", "right", DirectionSpec::default())]);
        // It may die before or after the lab counts as up.
        let failure = match support::up(job).await {
            Ok(lab) => {
                let failure = lab.failed().await;
                assert_eq!(lab.status().await?.state, LabState::Failed);
                lab.down().await?;
                failure
            }
            Err(failure) => failure,
        };
        let text = failure.to_string();
        assert!(text.contains("left ended unasked: SIGKILL") && text.contains("so be it"), "{text}");
        assert!(!support::directory(&name).exists());
        Ok(())
    })
}

fn nodes_obey_orders() -> Result<(), Failed> {
    let name = lab_name("orders");
    run(async {
        let lab = support::up(support::pair(&name, DirectionSpec::default())).await?;
        let state = async |node: usize| Ok::<_, LabError>(lab.status().await?.nodes[node].clone());
        for (action, expected) in [
            (NodeAction::Pause, NodeState::Paused),
            (NodeAction::Resume, NodeState::Ready),
            (NodeAction::Kill, NodeState::Stopped),
            (NodeAction::Start, NodeState::Ready),
            (NodeAction::Pause, NodeState::Paused),
            (NodeAction::Stop, NodeState::Stopped),
            (NodeAction::Start, NodeState::Ready),
        ] {
            lab.node("left", action).await?;
            assert_eq!(state(0).await?.state, expected, "after {action:?}");
        }
        assert_eq!((state(0).await?.starts, state(1).await?.starts), (3, 1));
        assert!(lab.node("left", NodeAction::Start).await.is_err());
        assert!(lab.node("nobody", NodeAction::Kill).await.is_err());
        lab.check().await?;
        lab.down().await?;
        Ok(())
    })
}

fn a_killed_node_takes_its_services_along() -> Result<(), Failed> {
    let name = lab_name("services");
    run(async {
        let serving = "sleep 1001.25 & echo ready; exec sleep 1000";
        let lab = support::up(support::job(&name, &[("left", serving), ("right", IDLE)], &[])).await?;
        // Matches the service and not the pattern's own command line.
        let services = || support::inside(&name, "right", &["sh", "-c", "pgrep -f '^sleep 1001[.]25' || true"]);
        assert_ne!(services()?, "");
        lab.node("left", NodeAction::Kill).await?;
        eventually("the service is gone", || services().is_ok_and(|pids| pids.is_empty()))?;
        lab.down().await?;
        Ok(())
    })
}

fn a_node_that_does_not_start_leaves_nothing() -> Result<(), Failed> {
    let name = lab_name("failing");
    let before = Host::now();
    let job = support::job(&name, &[("left", "echo no such thing >&2; exit 3"), ("right", IDLE)], &[]);
    let error = run(support::up(job)).map(|_| ()).expect_err("a node that ends at once is no node").to_string();
    assert!(error.contains("left ended unasked: exit code 3") && error.contains("no such thing"), "{error}");
    assert!(!support::directory(&name).exists());
    assert_eq!(Host::now(), before);
    eventually("no process is left", || processes_of(&name).is_empty())
}

fn the_relay_dying_fails_the_lab() -> Result<(), Failed> {
    let name = lab_name("norelay");
    run(async {
        let spec = DirectionSpec { delay_ns: 1_000_000, ..DirectionSpec::default() };
        let lab = support::up(support::job_by_relay(&name, spec)).await?;
        support::inside(&name, "left", &["sh", "-c", "kill -9 $(pgrep -f 'lab-rela[y]')"])?;
        let text = lab.failed().await.to_string();
        assert!(text.contains("the relay ended unasked: SIGKILL"), "{text}");
        lab.down().await?;
        Ok(())
    })
}

fn killing_the_caller_ends_the_lab() -> Result<(), Failed> {
    let name = lab_name("caller");
    let before = Host::now();
    let mut caller = hold(&name, &[])?;
    kill(pid_of(&caller), Signal::SIGKILL)?;
    caller.wait()?;
    ended(&name, &before)
}

fn killing_the_first_process_ends_the_lab() -> Result<(), Failed> {
    let name = lab_name("first");
    let before = Host::now();
    let mut caller = hold(&name, &[])?;
    let first = processes_of(&name).into_iter().find(|pid| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.windows(8).any(|word| word == b"lab-init"))
    });
    kill(Pid::from_raw(first.ok_or("no lab-init")?), Signal::SIGKILL)?;
    // The caller notices and says so.
    assert!(!caller.wait()?.success());
    ended(&name, &before)
}

fn a_detached_lab_outlives_its_caller() -> Result<(), Failed> {
    let name = lab_name("detached");
    let before = Host::now();
    let mut caller = hold(&name, &["--detach"])?;
    assert!(caller.wait()?.success());
    run(async {
        let lab = damc_lab::Lab::attach(Some(&name))?;
        assert_eq!(lab.status().await?.state, LabState::Running);
        lab.down().await?;
        Ok::<_, Failed>(())
    })?;
    ended(&name, &before)
}

/// The user nobody brings a lab up, with a copy of this program where that user can read it.
fn a_lab_needs_no_privilege() -> Result<(), Failed> {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        // All the other tests have shown it.
        return Ok(());
    }
    let name = lab_name("nobody");
    let folder = std::env::temp_dir().join(format!("damc-{name}"));
    std::fs::create_dir_all(&folder)?;
    let program = folder.join("labs");
    copy_of_this_program(&program)?;
    std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY))?;
    let before = Host::now();
    let mut command = Command::new(&program);
    command.args(["test-hold", &name]).uid(NOBODY).gid(NOBODY).current_dir("/").env("DAMC_RUN_DIR", folder.join("run"));
    let mut caller = held(command)?;
    kill(pid_of(&caller), Signal::SIGKILL)?;
    caller.wait()?;
    eventually("no process is left", || processes_of(&name).is_empty())?;
    assert_eq!(Host::now(), before);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// A process of its own that holds a lab.
fn hold(name: &str, arguments: &[&str]) -> Result<Child, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("test-hold").arg(name).args(arguments);
    held(command)
}

/// Returns when the lab is up.
fn held(mut command: Command) -> Result<Child, Failed> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    if line == "up\n" { Ok(child) } else { Err(format!("the caller said {line:?}").into()) }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn ended(name: &str, before: &Host) -> Result<(), Failed> {
    eventually("no process is left", || processes_of(name).is_empty())?;
    eventually("the lock is free", || !RunDir::of(name).is_live())?;
    assert!(RunDir::of(name).sweep()?);
    assert_eq!(&Host::now(), before);
    Ok(())
}
