//! The pod: the agent in front of one or more services, and the service processes themselves.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use damc_wire::Role;

fn main() -> ExitCode {
    damc_daemon::main(Role::Pod)
}
