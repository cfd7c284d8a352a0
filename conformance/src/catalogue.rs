//! The requirement catalogue: what the drafts state, in our words, one file per section.
//!
//! `requirements/*.toml` is the source; it is compiled in, so that a report can always list every row, judged or not.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// Number of rows that need a verdict: sections A to K.
pub const STATED_ROWS: usize = 111;

/// The files, by section letter.
const FILES: [(char, &str); 13] = [
    ('A', include_str!("../requirements/a-architecture.toml")),
    ('B', include_str!("../requirements/b-figure2.toml")),
    ('C', include_str!("../requirements/c-registration.toml")),
    ('D', include_str!("../requirements/d-authentication.toml")),
    ('E', include_str!("../requirements/e-link-state.toml")),
    ('F', include_str!("../requirements/f-tables.toml")),
    ('G', include_str!("../requirements/g-forwarding.toml")),
    ('H', include_str!("../requirements/h-invocation.toml")),
    ('I', include_str!("../requirements/i-measurement.toml")),
    ('J', include_str!("../requirements/j-scheduling.toml")),
    ('K', include_str!("../requirements/k-claims.toml")),
    ('L', include_str!("../requirements/l-contradictions.toml")),
    ('M', include_str!("../requirements/m-silences.toml")),
];

/// How firmly the drafts state a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Stated as behaviour of an entity.
    Stated,
    /// Follows from what is said.
    Implied,
    /// A goal or a claim.
    Goal,
    /// Two passages disagree; ours is the reading adopted (section L).
    Resolved,
    /// The drafts are silent; ours is a decision (section M).
    Decided,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Stable id such as `AUT-04`.
    pub id: String,
    /// The kinds of node that it binds (`sr`, `sg`, `spa`, `scsc`, `pod`); none for a matter of documentation.
    pub roles: Vec<String>,
    /// `00`, `01` or both.
    pub drafts: Vec<String>,
    /// Where, in the numbering of those drafts; empty where they are silent.
    #[serde(default)]
    pub section: String,
    /// How firmly it is stated.
    pub strength: Strength,
    /// Title, a few words.
    pub title: String,
    /// What is required.
    pub statement: String,
    /// How it is judged from outside.
    pub test: String,
    /// Why no case judges it, where that is deliberate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
}

/// A section of the catalogue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    section: char,
    title: String,
    requirement: Vec<Requirement>,
}

/// All rows, in order.
#[derive(Debug)]
pub struct Catalogue {
    sections: Vec<Section>,
}

impl Catalogue {
    /// The catalogue of the drafts.
    ///
    /// # Panics
    /// The compiled-in files are malformed, which a test of this crate rules out.
    #[must_use]
    pub fn get() -> &'static Self {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        CATALOGUE.get_or_init(|| Self::parse().expect("invariant: a test parses the compiled-in catalogue"))
    }

    fn parse() -> Result<Self, String> {
        let mut sections = Vec::with_capacity(FILES.len());
        for (letter, text) in FILES {
            let section: Section = toml::from_str(text).map_err(|e| format!("section {letter}: {e}"))?;
            if section.section != letter {
                return Err(format!("the file of section {letter} says {}", section.section));
            }
            sections.push(section);
        }
        Ok(Self { sections })
    }

    /// Every row with the letter of its section.
    pub fn rows(&self) -> impl Iterator<Item = (char, &Requirement)> {
        self.sections.iter().flat_map(|s| s.requirement.iter().map(|r| (s.section, r)))
    }

    /// The rows that need a verdict: sections A to K.
    pub fn stated(&self) -> impl Iterator<Item = &Requirement> {
        self.rows().filter(|(section, _)| *section <= 'K').map(|(_, row)| row)
    }

    /// A row by id.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<&Requirement> {
        self.rows().map(|(_, row)| row).find(|row| row.id == id)
    }

    /// The title of a section.
    #[must_use]
    pub fn section_title(&self, letter: char) -> &str {
        self.sections.iter().find(|s| s.section == letter).map_or("", |s| &s.title)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_section_is_complete_and_numbered_without_gaps() {
        let catalogue = Catalogue::parse().unwrap_or_else(|e| panic!("{e}"));
        let sizes = [
            ("ARC", 10),
            ("FIG", 18),
            ("REG", 8),
            ("AUT", 10),
            ("LSA", 9),
            ("RIB", 7),
            ("FWD", 12),
            ("RMI", 5),
            ("QOS", 10),
            ("POL", 14),
            ("GOAL", 8),
            ("CON", 19),
            ("GAP", 29),
        ];
        let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (_, row) in catalogue.rows() {
            let (family, number) = row.id.split_once('-').unwrap();
            seen.entry(family.to_owned()).or_default().push(number.parse().unwrap());
        }
        for (family, size) in sizes {
            assert_eq!(seen.remove(family), Some((1..=size).collect()), "{family}");
        }
        assert!(seen.is_empty(), "{seen:?}");
        assert_eq!(catalogue.stated().count(), STATED_ROWS);
    }

    #[test]
    fn every_row_says_what_and_how() {
        for (section, row) in Catalogue::get().rows() {
            let decided = section > 'K';
            assert_eq!(matches!(row.strength, Strength::Resolved | Strength::Decided), decided, "{}", row.id);
            assert!(!row.title.is_empty() && row.title.len() <= 72, "{}: {}", row.id, row.title);
            assert!(row.statement.ends_with('.') && row.test.ends_with('.'), "{}", row.id);
            assert!(row.roles.iter().all(|r| damc_wire::Role::from_label(r).is_some()), "{}: {:?}", row.id, row.roles);
            assert!(decided || !row.roles.is_empty(), "{} binds nobody", row.id);
            assert!(row.drafts.iter().all(|d| d == "00" || d == "01"), "{}", row.id);
            assert!(row.drafts.is_empty() || !row.section.is_empty() || section == 'M', "{} lacks a section", row.id);
        }
    }
}
