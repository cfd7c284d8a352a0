//! Runs one target, named by `DAMC_FUZZ`, under libFuzzer. `conformance/fuzz/run` builds and calls it.
#![no_main]

use std::sync::OnceLock;

use damc_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("DAMC_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("DAMC_FUZZ names no target; there are {}", names.join(", "));
        std::process::exit(2);
    })
}

fuzz_target!(|data: &[u8]| (TARGET.get_or_init(chosen).run)(data));
