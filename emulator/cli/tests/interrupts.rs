//! Ctrl-C while a lab is up: one line, exit code 130, nothing left.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod support;

use support::cannot;

/// `damc doctor --calibrate` holds a lab for some seconds and needs no node programs.
struct Held {
    run_dir: PathBuf,
    command: Child,
}

impl Held {
    fn start(test: &str) -> Self {
        let run_dir = std::env::temp_dir().join(format!("damc-{test}-{}", std::process::id()));
        let command = Command::new(env!("CARGO_BIN_EXE_damc"))
            .args(["doctor", "--calibrate", "--links", "relay"])
            .env("DAMC_RUN_DIR", &run_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("damc starts");
        Self { run_dir, command }
    }

    fn interrupted(self) -> (PathBuf, Output) {
        kill(Pid::from_raw(self.command.id().cast_signed()), Signal::SIGINT).expect("our own child");
        (self.run_dir, self.command.wait_with_output().expect("our own child"))
    }
}

fn left_in(run_dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(run_dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::yield_now();
    }
}

fn ends_in_order(test: &str, moment: impl Fn(&Path) -> bool) {
    if cannot() {
        return;
    }
    let held = Held::start(test);
    until("the moment", || moment(&held.run_dir));
    let (run_dir, output) = held.interrupted();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "damc: interrupted\n");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(left_in(&run_dir), Vec::<PathBuf>::new());
    std::fs::remove_dir(&run_dir).expect("our own empty folder");
}

#[test]
fn while_it_is_being_built() {
    ends_in_order("int-building", |run_dir| !left_in(run_dir).is_empty());
}

#[test]
fn while_it_is_up() {
    ends_in_order("int-up", |run_dir| left_in(run_dir).iter().any(|lab| lab.join("control.sock").exists()));
}
