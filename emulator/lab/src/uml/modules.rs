//! Loading kernel modules in the guest, without kmod.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};

/// What a lab needs that the guest's kernel does not have built in.
const NEEDED: [&str; 4] = ["veth", "sch_netem", "sch_tbf", "ipv6"];

/// Loads what a lab needs, each after what it depends on.
///
/// # Errors
/// When a module is missing or the kernel refuses it.
pub(super) fn load_needed(tree: &Path) -> Result<()> {
    let read = |name: &str| {
        let path = tree.join(name);
        fs::read_to_string(&path).map_err(LabError::io(format!("read {}", path.display())))
    };
    let built_in = read("modules.builtin")?;
    for file in load_order(&read("modules.dep")?, &built_in, &NEEDED)? {
        insert(&tree.join(file))?;
    }
    Ok(())
}

/// Files in the order they have to be loaded in. `modules.dep` lists for each module all it needs, the nearest first.
fn load_order(dependencies: &str, built_in: &str, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let known: BTreeMap<String, (&str, &str)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (module_name(file), (file, needs)))
        .collect();
    let built_in: Vec<String> = built_in.lines().map(module_name).collect();
    let mut order: Vec<PathBuf> = Vec::new();
    for module in wanted {
        if built_in.iter().any(|name| name == module) {
            continue;
        }
        let (file, needs) =
            known.get(*module).ok_or_else(|| LabError::Uml(format!("the guest's kernel has no module {module}")))?;
        for file in needs.split_whitespace().rev().chain([*file]).map(PathBuf::from) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    Ok(order)
}

/// `kernel/net/sched/sch_netem.ko` is `sch_netem`; the kernel takes hyphens for underscores.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

fn insert(path: &Path) -> Result<()> {
    // linux/module.h: the kernel unpacks a compressed file itself, if it can.
    const MODULE_INIT_COMPRESSED_FILE: libc::c_int = 4;
    let doing = || format!("load {} into the guest's kernel", path.display());
    let file = File::open(path).map_err(LabError::io(doing()))?;
    let compressed = path.extension().is_some_and(|extension| extension != "ko");
    let flags = if compressed { MODULE_INIT_COMPRESSED_FILE } else { 0 };
    let no_parameters: &CStr = c"";
    // SAFETY: finit_module reads the descriptor and the string, which both live across the call.
    let outcome = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), no_parameters.as_ptr(), flags) };
    match (outcome, io::Error::last_os_error()) {
        (0, _) => Ok(()),
        (_, error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        (_, error) => Err(LabError::io(doing())(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let dependencies =
            "kernel/a.ko: kernel/b-x.ko kernel/c.ko\nkernel/b-x.ko: kernel/c.ko\nkernel/c.ko:\nkernel/d.ko.xz:\n";
        let order = load_order(dependencies, "kernel/e.ko\n", &["d", "a", "e", "b_x"]).unwrap();
        let names: Vec<_> = order.iter().map(|file| file.to_str().unwrap()).collect();
        assert_eq!(names, ["kernel/d.ko.xz", "kernel/c.ko", "kernel/b-x.ko", "kernel/a.ko"]);
        let missing = load_order(dependencies, "", &["sch_netem"]).unwrap_err();
        assert_eq!(missing.to_string(), "the guest's kernel has no module sch_netem");
    }
}
