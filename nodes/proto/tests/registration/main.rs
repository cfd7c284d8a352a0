//! Registration, authentication and what follows from them, between the real parts of pod, SG and SPA.

mod authentication;
mod bounds;
mod cost;
mod grants;
mod parts;
mod services;
mod transactions;

use damc_proto::auth::announcer::Standing;
use parts::{Bench, name};

const LICENCES: &[(&str, &[&str])] =
    &[("pod-1", &["/A/1", "/A", "/B/1", "/B"]), ("pod-2", &["/C/2", "/A/2", "/A"]), ("pod-3", &["/shop"])];

fn bench() -> Bench {
    Bench::new(LICENCES, &["/A", "/B"])
}

fn standing(bench: &Bench, port: damc_proto::io::PortId, service: &str) -> Standing {
    bench.pods[&port].announcer.services()[&name(service)].standing
}
