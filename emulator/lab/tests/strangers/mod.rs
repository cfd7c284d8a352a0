//! What another user of the host can do to a caller. They need root, to be two users.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::Failed;

use crate::support::{self, Test, copy_of_this_program, lab_name};

/// The tests.
pub const TESTS: &[(&str, Test)] = &[(
    "a_lab_that_another_user_put_in_ones_way_is_not_entered",
    a_lab_that_another_user_put_in_ones_way_is_not_entered,
)];

/// The other user: `nobody`.
const STRANGER: u32 = 65_534;

/// A folder that is removed again, open to everybody as /tmp is.
struct Shared(PathBuf);

impl Shared {
    fn new(name: &str) -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(lab_name(name));
        std::fs::create_dir_all(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1777))?;
        Ok(Self(path))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// This program, with labs in `run`.
fn command(program: &Path, run: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("DAMC_RUN_DIR", run).env("DAMC_PROGRAM", program).current_dir("/");
    command
}

fn said(output: &Output) -> String {
    format!("{}: {}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The stranger is first to make the folder in which the caller will look for labs, and has a lab in it. Its namespaces are
/// the stranger's: who runs a program there runs it under the stranger's eyes, with its own rights to the host's files.
fn a_lab_that_another_user_put_in_ones_way_is_not_entered() -> Result<(), Failed> {
    if !nix::unistd::geteuid().is_root() {
        if std::env::var_os("CI").is_some() {
            return Err("needs root, to be two users".into());
        }
        println!("not run: needs root, to be two users");
        return Ok(());
    }
    let shared = Shared::new("strangers")?;
    // The stranger may not reach the folder of the test itself.
    let program = shared.0.join("program");
    copy_of_this_program(&program)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let (run, name, mark) = (shared.0.join("run"), lab_name("bait"), shared.0.join("mark"));
    std::fs::create_dir(&run)?;
    std::os::unix::fs::chown(&run, Some(STRANGER), Some(STRANGER))?;
    let mut bait = command(&program, &run, &["test-hold", &name, "--detach"]);
    let bait = bait.uid(STRANGER).gid(STRANGER).output()?;
    if !bait.status.success() {
        return Err(format!("the stranger's lab did not come up: {}", said(&bait)).into());
    }
    let touch = ["test-enter", &name, "left", "touch", &mark.display().to_string()];
    let entered = command(&program, &run, &touch).output()?;
    // The stranger itself may.
    let mut own = command(&program, &run, &["test-enter", &name, "left", "true"]);
    let own = own.uid(STRANGER).gid(STRANGER).output()?;
    for pid in support::processes_of(&name) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    support::eventually("the stranger's lab is gone", || support::processes_of(&name).is_empty())?;
    assert!(own.status.success(), "{}", said(&own));
    assert!(
        !entered.status.success() && !mark.exists(),
        "root's program ran in the stranger's lab: {}",
        said(&entered)
    );
    assert!(said(&entered).contains("is not to be trusted"), "{}", said(&entered));
    Ok(())
}
