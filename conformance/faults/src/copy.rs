//! The scratch copy of the sources, into which all faults are planted at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::catalogue::Fault;

/// Where the planted module comes in.
const MODULE: &str = "nodes/wire/src/planted.rs";
const MODULE_TEXT: &str = include_str!("../planted.rs");
const ROOT: &str = "nodes/wire/src/lib.rs";
const BEFORE: &str = "pub mod pretty;\n";

/// The root of the repository that this program was built from.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The changed files with all faults planted, by path.
///
/// # Errors
/// Names the fault and the file where an edit does not apply: its text is not there, or not once.
pub fn planted<'a>(root: &Path, faults: impl IntoIterator<Item = &'a Fault>) -> Result<BTreeMap<String, String>> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for fault in faults {
        for edit in &fault.edit {
            let text = file(root, &mut files, &edit.file)?;
            let found = text.matches(&edit.find).count();
            if found != 1 {
                bail!(
                    "the fault {} does not apply any more: {} has its text {found} times instead of once:\n{}",
                    fault.name,
                    edit.file,
                    edit.find
                );
            }
            *text = text.replacen(&edit.find, &edit.replacement(&fault.name), 1);
        }
    }
    let text = file(root, &mut files, ROOT)?;
    if text.matches(BEFORE).count() != 1 {
        bail!("{ROOT} has no single line {BEFORE:?} before which the module of faults belongs");
    }
    *text = text.replacen(BEFORE, &format!("pub mod planted;\n{BEFORE}"), 1);
    files.insert(MODULE.into(), MODULE_TEXT.into());
    Ok(files)
}

fn file<'a>(root: &Path, files: &'a mut BTreeMap<String, String>, path: &str) -> Result<&'a mut String> {
    if !files.contains_key(path) {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| path.to_owned())?;
        files.insert(path.to_owned(), text);
    }
    files.get_mut(path).with_context(|| path.to_owned())
}

/// Makes `copy` the sources with these files changed. Files that have their content already keep their times, so that a
/// build takes up where the last one ended.
///
/// # Errors
/// Git does not list the sources, or a file cannot be copied.
pub fn write(root: &Path, copy: &Path, changed: &BTreeMap<String, String>) -> Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    if !listed.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
    }
    let listed = String::from_utf8(listed.stdout).context("git ls-files")?;
    let mut wanted: BTreeSet<&str> = listed.split('\0').filter(|p| !p.is_empty()).collect();
    wanted.extend(changed.keys().map(String::as_str));
    for path in wanted {
        let content = match changed.get(path) {
            Some(text) => text.clone().into_bytes(),
            // Listed by git and deleted since.
            None if !root.join(path).is_file() => continue,
            None => std::fs::read(root.join(path)).with_context(|| path.to_owned())?,
        };
        let target = copy.join(path);
        if std::fs::read(&target).is_ok_and(|known| known == content) {
            continue;
        }
        let folder = target.parent().context("a file of the copy has a folder")?;
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        std::fs::write(&target, content).with_context(|| target.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;

    #[test]
    fn every_fault_applies_to_the_sources() {
        let faults = catalogue::all().unwrap_or_else(|e| panic!("{e:#}"));
        let changed = planted(&repository(), faults.iter().map(|(_, fault)| fault)).unwrap_or_else(|e| panic!("{e:#}"));
        assert!(changed.contains_key(MODULE));
        for (_, fault) in &faults {
            let asked = format!("planted::fault(\"{}\")", fault.name);
            let files: Vec<_> = fault.edit.iter().map(|edit| &edit.file).collect();
            assert!(
                changed.values().any(|text| text.contains(&asked)),
                "{}: nothing asks for it in {files:?}",
                fault.name
            );
        }
    }

    #[test]
    fn an_edit_without_its_text_is_an_error_that_names_the_fault() {
        let (_, mut fault) = catalogue::all().unwrap_or_else(|e| panic!("{e:#}")).remove(0);
        fault.edit[0].find = "text that no source has \u{2603}".into();
        let error = planted(&repository(), [&fault]).unwrap_err().to_string();
        assert!(error.contains(&fault.name) && error.contains(&fault.edit[0].file), "{error}");
    }
}
