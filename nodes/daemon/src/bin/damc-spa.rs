//! The Service Prefix Authentication entity.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use damc_wire::Role;

fn main() -> ExitCode {
    damc_daemon::main(Role::Spa)
}
