//! `cargo bench -p damc-bench [-- [--out DIR] [GROUP…]]`: the parts of the node crates. `--out` writes the figures to
//! `micro.json` and `micro.md` in that folder.

use std::path::PathBuf;

use damc_bench::Report;

mod codec;
mod lpm;
mod signed;
mod spf;

/// A group of benches: its name, and the function that adds its figures.
type Group = (&'static str, fn(&mut Report));

const GROUPS: &[Group] = &[("lpm", lpm::run), ("spf", spf::run), ("codec", codec::run), ("trust", signed::run)];

fn main() {
    let (out, wanted) = arguments();
    let mut report = Report::new();
    for (name, run) in GROUPS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            run(&mut report);
        }
    }
    println!("{}", report.table());
    if let Some(folder) = out
        && let Err(e) = report.write(&folder, "micro", "Micro benches")
    {
        eprintln!("cannot write to {}: {e}", folder.display());
        std::process::exit(2);
    }
}

fn arguments() -> (Option<PathBuf>, Vec<String>) {
    // Cargo hands `--bench` to every bench.
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let (mut out, mut wanted) = (None, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--out" => out = arguments.next().map(PathBuf::from),
            group if GROUPS.iter().any(|(name, _)| *name == group) => wanted.push(group.to_owned()),
            other => {
                let known: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
                eprintln!("there is no group of benches `{other}`; the groups are {}", known.join(", "));
                std::process::exit(2);
            }
        }
    }
    (out, wanted)
}
