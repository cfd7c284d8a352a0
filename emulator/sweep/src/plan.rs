//! What a sweep runs: kept beside its results, so that it can be taken up again, here or by another machine.

use core::fmt;
use core::fmt::Write as _;
use std::path::PathBuf;

use damc_topology::Setting;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::parameter::Parameter;
use crate::seeds::Seeds;

/// Version of `sweep.json`.
const SCHEMA: u32 = 1;

/// Everything that decides what the runs of a sweep are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// Version of the format.
    pub schema: u32,
    /// Name of the topology.
    pub topology: String,
    /// Absolute path of its file.
    pub file: PathBuf,
    /// Arguments of `damc run` that all runs share.
    pub arguments: Vec<String>,
    /// In virtual time.
    pub in_virtual_time: bool,
    /// The parameters.
    pub parameters: Vec<Parameter>,
    /// Their combinations, in order.
    pub points: Vec<PlannedPoint>,
    /// The seeds.
    pub seeds: Seeds,
    /// Which executable made the runs.
    pub program: String,
}

/// A combination of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPoint {
    /// The values.
    pub settings: Vec<Setting>,
    /// SHA-256 of the topology's text with these values in it.
    pub topology_sha256: String,
}

/// A run of a plan. Its text is the name of its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    /// Number of the point, from 1.
    pub point: usize,
    /// The seed.
    pub seed: u64,
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}-s{}", self.point, self.seed)
    }
}

/// SHA-256 in hexadecimal digits.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl SweepPlan {
    /// Version of the format that this code reads and writes.
    pub const SCHEMA: u32 = SCHEMA;

    /// A short name that two sweeps share only if all their runs with the same point and seed are the same: seeds and the
    /// executable are left out, so that a sweep can be extended by seeds.
    #[must_use]
    pub fn id(&self) -> String {
        let mut text = format!("{SCHEMA}\n{}\n{:?}\n", self.topology, self.arguments);
        for point in &self.points {
            let settings: Vec<String> = point.settings.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "{settings:?} {}", point.topology_sha256);
        }
        hash(text.as_bytes())[..8].to_owned()
    }

    /// The runs in the order they are made: all points with the first seed, then with the next, so that what a sweep that was
    /// stopped has found is balanced.
    pub fn runs(&self) -> impl Iterator<Item = RunId> + Clone + '_ {
        let points = self.points.len();
        self.seeds.list().iter().flat_map(move |&seed| (1..=points).map(move |point| RunId { point, seed }))
    }

    /// The number of runs.
    #[must_use]
    pub fn size(&self) -> usize {
        self.points.len() * self.seeds.list().len()
    }

    /// How many combinations of values there are, in words.
    #[must_use]
    pub fn combinations(&self) -> String {
        match self.points.len() {
            1 => "one combination of values".to_owned(),
            more => format!("{more} combinations of values"),
        }
    }

    /// A point by its number.
    #[must_use]
    pub fn point(&self, number: usize) -> Option<&PlannedPoint> {
        self.points.get(number.checked_sub(1)?)
    }

    /// What a point is called in tables and legends.
    #[must_use]
    pub fn label(&self, number: usize) -> String {
        let settings = self.point(number).map_or(&[][..], |point| &point.settings);
        let said: Vec<String> = settings.iter().map(ToString::to_string).collect();
        if said.is_empty() { "as in the file".to_owned() } else { said.join(", ") }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::grid::grid;

    pub fn plan(parameters: &[&str], seeds: &str) -> SweepPlan {
        let parameters: Vec<Parameter> = parameters.iter().map(|text| text.parse().unwrap()).collect();
        let planned = |settings| PlannedPoint { settings, topology_sha256: hash(b"text") };
        SweepPlan {
            schema: SCHEMA,
            topology: "line".into(),
            file: "/topologies/line.yaml".into(),
            arguments: vec!["--virtual".into()],
            in_virtual_time: true,
            points: grid(&parameters, None).unwrap().into_iter().map(planned).collect(),
            parameters,
            seeds: seeds.parse().unwrap(),
            program: "damc".into(),
        }
    }

    #[test]
    fn runs_are_balanced_when_a_sweep_stops() {
        let runs: Vec<String> = plan(&["a=1,2"], "5..6").runs().map(|run| run.to_string()).collect();
        assert_eq!(runs, ["p1-s5", "p2-s5", "p1-s6", "p2-s6"]);
    }

    #[test]
    fn a_sweep_keeps_its_name_when_seeds_are_added_and_loses_it_with_any_other_change() {
        let base = plan(&["a=1,2"], "1..3");
        assert_eq!(plan(&["a=1,2"], "1..9").id(), base.id());
        let mut others = vec![plan(&["a=1,3"], "1..3"), plan(&["a=1"], "1..3"), plan(&["b=1,2"], "1..3")];
        others.extend([base.clone(), base.clone()]);
        others[3].arguments.push("--case=x".into());
        others[4].points[1].topology_sha256 = hash(b"other text");
        for other in others {
            assert_ne!(other.id(), base.id(), "{other:?}");
        }
    }

    #[test]
    fn hashes_are_those_of_everybody() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
