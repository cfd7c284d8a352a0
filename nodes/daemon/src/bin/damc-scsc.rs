//! The Service Mesh Communication Scheduling Centre.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use damc_wire::Role;

fn main() -> ExitCode {
    damc_daemon::main(Role::Scsc)
}
