//! Tests that build real namespaces. They run as root or where unprivileged user namespaces are allowed; elsewhere they
//! are skipped and say why, unless `CI=1`, where a skip is a failure.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod support;

mod building;
mod faults;
mod foreign;
mod strangers;

fn main() -> ExitCode {
    // A lab starts this very program again, with a hidden command.
    if let Some(code) = damc_lab::reexec::dispatch() {
        return code;
    }
    if let Some(code) = support::hidden() {
        return code;
    }
    let arguments = Arguments::from_args();
    let missing = support::missing_permission();
    let trials = building::TESTS.iter().chain(faults::TESTS).chain(strangers::TESTS).chain(foreign::TESTS).map(
        |&(name, test)| {
            let missing = missing.clone();
            Trial::ignorable_test(name, move || match missing {
                None => support::within_deadline(name, test).map(|()| Completion::Completed),
                Some(reason) if std::env::var_os("CI").is_some() => Err(Failed::from(reason)),
                Some(reason) => Ok(Completion::ignored_with(reason)),
            })
        },
    );
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
