//! Finding the kernel and the modules that belong to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{LabError, Result};
use crate::up::{is_program, program_on_path};

/// The package that has both.
pub const PACKAGE: &str = "user-mode-linux";
/// Environment variable that names another kernel.
const KERNEL_VARIABLE: &str = "DAMC_UML_KERNEL";
/// Environment variable that names the module tree of it.
const MODULES_VARIABLE: &str = "DAMC_UML_MODULES";
/// Where module trees of such kernels are, each in a folder named by its version.
const MODULE_TREES: [&str; 3] = ["/usr/lib/uml/modules", "/lib/modules", "/usr/lib/modules"];

/// A User-Mode Linux kernel and its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The kernel: a program.
    pub kernel: PathBuf,
    /// As it says itself.
    pub version: String,
    /// Its module tree.
    pub modules: PathBuf,
    /// The user named it, and knows what it can do.
    pub chosen: bool,
}

impl Installation {
    /// Finds the installed one.
    ///
    /// # Errors
    /// When it is missing; the message says what to install.
    pub fn find() -> Result<Self> {
        let configured = std::env::var_os(KERNEL_VARIABLE).map(PathBuf::from);
        let chosen = configured.is_some();
        let missing = || {
            LabError::Uml(format!(
                "User-Mode Linux is not installed; on Debian and Ubuntu: apt-get install {PACKAGE} (or set {KERNEL_VARIABLE})"
            ))
        };
        let kernel = configured.or_else(installed).filter(|kernel| is_program(kernel)).ok_or_else(missing)?;
        let version = version(&kernel)?;
        let configured = std::env::var_os(MODULES_VARIABLE).map(PathBuf::from);
        let trees = MODULE_TREES.iter().map(|tree| Path::new(tree).join(&version));
        let modules = configured.or_else(|| trees.into_iter().find(|tree| tree.join("modules.dep").is_file()));
        let modules = modules.ok_or_else(|| {
            LabError::Uml(format!(
                "{} is a kernel {version}, whose modules are in none of {}; reinstall {PACKAGE} (or set {MODULES_VARIABLE})",
                kernel.display(),
                MODULE_TREES.join(", ")
            ))
        })?;
        Ok(Self { kernel, version, modules, chosen })
    }

    /// Whether this processor lets it start programs.
    ///
    /// # Errors
    /// When it does not, and what helps.
    pub fn starts_here(&self) -> Result<()> {
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if self.chosen || !has_tiles(&flags) || sizes_registers(&self.version) {
            return Ok(());
        }
        Err(LabError::Uml(format!(
            "User-Mode Linux {} cannot start programs on this processor: its buffer for registers is too small for AMX (amx_tile \
             in /proc/cpuinfo), so that the first program ends by SIGSEGV; name a newer kernel in {KERNEL_VARIABLE}, or use a \
             processor without AMX",
            self.version
        )))
    }
}

/// Whether the processor has the tile registers of AMX, 8 KiB that every kernel has to save.
fn has_tiles(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_whitespace().any(|f| f == "amx_tile"))
}

/// Whether a kernel asks its host how large the registers are. Measured: 6.1 has room for 2696 bytes and does not. Newer ones
/// do by their source, which is not measured here.
fn sizes_registers(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 13)
}

/// Under Debian's name; a plain `linux` may be anything.
fn installed() -> Option<PathBuf> {
    program_on_path("linux.uml").or_else(|| Some(PathBuf::from("/usr/bin/linux.uml")))
}

/// The kernel prints it and ends.
fn version(kernel: &Path) -> Result<String> {
    let doing = || format!("run {} --version", kernel.display());
    let output = Command::new(kernel).arg("--version").stdin(Stdio::null()).output().map_err(LabError::io(doing()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().next().unwrap_or_default().trim();
    if output.status.success() && version.starts_with(|first: char| first.is_ascii_digit()) && !version.contains('/') {
        return Ok(version.to_owned());
    }
    Err(LabError::Uml(format!("cannot {}: it printed `{version}` ({})", doing(), output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_a_small_buffer_needs_a_processor_without_tiles() {
        let with = "processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n";
        assert!(has_tiles(with) && !has_tiles("flags\t\t: fpu avx512f\n"));
        assert!(
            !sizes_registers("6.1.176")
                && !sizes_registers("5.10.0-8")
                && sizes_registers("6.13.1")
                && sizes_registers("7.0")
        );
    }
}
