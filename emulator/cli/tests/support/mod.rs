//! What tests of the command share.

use std::process::Command;

/// Whether labs cannot be built here, which it says; a failure under CI.
pub fn cannot() -> bool {
    let output = Command::new("unshare").args(["-Urnm", "true"]).output();
    let allowed = nix::unistd::geteuid().is_root() || output.is_ok_and(|output| output.status.success());
    assert!(allowed || std::env::var_os("CI").is_none(), "no permission to make namespaces");
    if !allowed {
        eprintln!("skipped: no permission to make namespaces");
    }
    !allowed
}
