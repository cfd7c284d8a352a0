//! Tells the command which commit it is built from.

use std::path::Path;
use std::process::Command;

/// Set by those who build from an archive and know the commit.
const VARIABLE: &str = "DAMC_COMMIT";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    println!("cargo::rerun-if-changed=build.rs");
    let given = std::env::var(VARIABLE).ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(commit_of_checkout).unwrap_or_else(|| "no commit known".to_owned());
    println!("cargo::rustc-env=DAMC_BUILT_FROM={commit}");
}

/// The commit that is checked out here, if this is a checkout and git is there.
fn commit_of_checkout() -> Option<String> {
    // A repository around an unpacked archive is somebody else's: this file must be part of it.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        // Naming a file that is not there would build this crate every time.
        if let Some(file) = git(&["rev-parse", "--git-path", name]).filter(|file| Path::new(file).exists()) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// What git prints, without the end of the line; none where it is missing or refuses.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
