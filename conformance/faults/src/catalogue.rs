//! The planted faults: what a hasty implementer did, which rows forbid it, and the case that has to catch it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The files of the catalogue, by subject.
const FILES: [(&str, &str); 5] = [
    ("adjacency", include_str!("../catalogue/adjacency.toml")),
    ("link-state", include_str!("../catalogue/link-state.toml")),
    ("authentication", include_str!("../catalogue/authentication.toml")),
    ("forwarding", include_str!("../catalogue/forwarding.toml")),
    ("quality", include_str!("../catalogue/quality.toml")),
];

/// A fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its name: lower-case words joined by hyphens.
    pub name: String,
    /// What the implementer did, one line.
    pub did: String,
    /// Rows of the requirement catalogue that forbid it.
    pub rows: Vec<String>,
    /// The case that has to catch it.
    pub case: String,
    /// The case needs real processes.
    #[serde(default)]
    pub live: bool,
    /// Where it is planted.
    pub edit: Vec<Edit>,
}

/// One change of one source file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Path from the root of the repository.
    pub file: String,
    /// Text that occurs there once.
    pub find: String,
    /// What replaces it. `{planted}` stands for the question whether this fault is planted, `{planted:NAME}` for that
    /// of another one.
    pub replace: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    fault: Vec<Fault>,
}

/// All faults, by subject and in file order.
///
/// # Errors
/// A file is malformed, or two faults have one name.
pub fn all() -> Result<Vec<(&'static str, Fault)>> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for (subject, text) in FILES {
        let file: File = toml::from_str(text).with_context(|| format!("catalogue/{subject}.toml"))?;
        for fault in file.fault {
            if !names.insert(fault.name.clone()) {
                bail!("catalogue/{subject}.toml: the fault {} occurs twice", fault.name);
            }
            faults.push((subject, fault));
        }
    }
    Ok(faults)
}

impl Edit {
    /// The replacement as source text of its file, for the fault `name`.
    #[must_use]
    pub fn replacement(&self, name: &str) -> String {
        let function = if self.file.starts_with("nodes/wire/") { "crate" } else { "damc_wire" };
        let call = |name: &str| format!("{function}::planted::fault(\"{name}\")");
        let mut text = self.replace.replace("{planted}", &call(name));
        while let Some((before, rest)) = text.split_once("{planted:") {
            let Some((other, after)) = rest.split_once('}') else { break };
            text = format!("{before}{}{after}", call(other));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_names_rows_and_a_case_that_judges_one_of_them() {
        let rows = damc_conformance::catalogue::Catalogue::get();
        let cases = damc_conformance::suite::all();
        let faults = all().unwrap_or_else(|e| panic!("{e:#}"));
        for (_, fault) in &faults {
            let name = &fault.name;
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
            assert!(fault.did.ends_with('.') && !fault.rows.is_empty() && !fault.edit.is_empty(), "{name}");
            for row in &fault.rows {
                assert!(rows.row(row).is_some(), "{name}: the catalogue has no row {row}");
            }
            let case = cases.iter().find(|c| c.id == fault.case);
            let case = case.unwrap_or_else(|| panic!("{name}: the suites have no case {}", fault.case));
            let judged = case.rows.iter().any(|row| fault.rows.iter().any(|r| r == row));
            assert!(judged, "{name}: {} judges {:?}, which are not among {:?}", case.id, case.rows, fault.rows);
        }
    }

    #[test]
    fn a_replacement_asks_for_its_own_fault_or_another() {
        let edit = |file: &str| Edit {
            file: file.into(),
            find: String::new(),
            replace: "a || {planted} || {planted:other}".into(),
        };
        let own = edit("nodes/proto/src/a.rs").replacement("one");
        assert_eq!(own, "a || damc_wire::planted::fault(\"one\") || damc_wire::planted::fault(\"other\")");
        let wire = edit("nodes/wire/src/a.rs").replacement("one");
        assert_eq!(wire, "a || crate::planted::fault(\"one\") || crate::planted::fault(\"other\")");
    }
}
