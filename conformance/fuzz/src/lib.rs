//! Targets of coverage-guided fuzzing: each takes any bytes, must not panic, and holds what comes out to a rule.
//!
//! `just fuzz` runs them under an engine; `cargo test -p damc-fuzz` replays the seeds and a few thousand variants of them.
#![forbid(unsafe_code)]

mod decoders;
mod member;
mod readers;

/// One target.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its folder of seeds.
    pub name: &'static str,
    /// What it does with some bytes.
    ///
    /// # Panics
    /// It has found a mistake.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: decoders::frame },
    Target { name: "forward", run: decoders::forward },
    Target { name: "name", run: decoders::name },
    Target { name: "packet", run: decoders::packet },
    Target { name: "dns", run: decoders::dns },
    Target { name: "topology", run: readers::topology },
    Target { name: "import", run: readers::import },
    Target { name: "order", run: readers::order },
    Target { name: "capture", run: readers::capture },
    Target { name: "management", run: readers::management },
    Target { name: "member", run: member::run },
];
