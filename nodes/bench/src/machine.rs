//! The machine on which figures are measured.

use std::{fmt, fs};

use serde::Serialize;

/// Frames that an interface of the calling thread's network namespace has received, read or not.
///
/// # Panics
/// There is no such interface.
#[must_use]
pub fn frames_received(interface: &str) -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("the kernel's interface counters");
    let counters = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
    let packets = counters.and_then(|c| c.split_whitespace().nth(1)?.parse().ok());
    packets.unwrap_or_else(|| panic!("no counters of {interface}"))
}

/// Processor, kernel, load.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: String,
    /// Processors this process may use.
    pub processors: usize,
    /// Kernel release.
    pub kernel: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Load average of the last minute before the run: others may share the machine.
    pub load: String,
}

impl Machine {
    /// This machine; `?` stands for what it does not report.
    #[must_use]
    pub fn here() -> Self {
        let field = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find_map(|l| l.strip_prefix(key)?.trim_start().strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let unknown = || "?".to_owned();
        let memory = field("/proc/meminfo", "MemTotal").and_then(|m| m.split(' ').next()?.parse::<u64>().ok());
        let first = |file: &str| {
            let text = fs::read_to_string(file).ok()?;
            text.split_whitespace().next().map(ToOwned::to_owned)
        };
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: first("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            memory_mib: memory.unwrap_or(0) / 1024,
            load: first("/proc/loadavg").unwrap_or_else(unknown),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, processors, memory_mib, kernel, load } = self;
        write!(f, "{processor}, {processors} processors, {memory_mib} MiB, kernel {kernel}, load {load}")
    }
}

/// Resident memory of this process, bytes; 0 where the kernel does not tell.
#[must_use]
pub fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
