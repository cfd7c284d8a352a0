//! The Service Router.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use damc_wire::Role;

fn main() -> ExitCode {
    damc_daemon::main(Role::Sr)
}
