//! Sections of `nodes/WIRE.md`, which is where every rule stands.

use core::fmt;

use damc_wire::DropReason;
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// A rule: a section of `nodes/WIRE.md` and, where that has numbered steps or paragraphs with names, which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Number of the section.
    pub section: u8,
    /// Its title.
    pub title: &'static str,
    /// Step or paragraph in it; may be empty.
    pub part: &'static str,
}

impl Rule {
    pub(crate) const TRUST: Self = Self::new(4, "Certificates, grants, signatures");
    pub(crate) const HOP: Self = Self::new(5, "Hop security");
    pub(crate) const ADJACENCY: Self = Self::new(8, "Adjacency");
    pub(crate) const ECHO: Self = Self::new(9, "Echo");
    pub(crate) const FLOODING: Self = Self::new(10, "LSDB and flooding");
    pub(crate) const AGEING: Self = Self::new(12, "Ageing, refresh, purge, fight-back");
    pub(crate) const ROUTES: Self = Self::new(13, "Routes");
    pub(crate) const FORWARDING: Self = Self::new(14, "Forwarding");
    pub(crate) const REGISTRATION: Self = Self::new(15, "Registration and authentication (classes 1 and 3)");
    pub(crate) const CALLS: Self = Self::new(16, "Calls (remote method invocation)");
    pub(crate) const NACKS: Self = Self::new(17, "Negative replies");
    pub(crate) const QUALITY: Self = Self::new(18, "Quality of service (class 4)");

    #[cfg(test)]
    pub(crate) const ALL: [Self; 12] = [
        Self::TRUST,
        Self::HOP,
        Self::ADJACENCY,
        Self::ECHO,
        Self::FLOODING,
        Self::AGEING,
        Self::ROUTES,
        Self::FORWARDING,
        Self::REGISTRATION,
        Self::CALLS,
        Self::NACKS,
        Self::QUALITY,
    ];

    const fn new(section: u8, title: &'static str) -> Self {
        Self { section, title, part: "" }
    }

    /// A step or paragraph of it.
    pub(crate) const fn part(self, part: &'static str) -> Self {
        Self { part, ..self }
    }

    /// The rule by which a router refuses an LSA.
    pub(crate) const fn of_refused_lsa(reason: DropReason) -> Self {
        let step = match reason {
            DropReason::StaleLsa => "step 3",
            DropReason::MinArrival => "step 4",
            DropReason::ResourceLimit => "step 5",
            DropReason::DuplicateIdentity => "step 7",
            _ => "step 6",
        };
        Self::FLOODING.part(step)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "§{} {}", self.section, self.title)?;
        if self.part.is_empty() { Ok(()) } else { write!(f, ", {}", self.part) }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rule = serializer.serialize_struct("Rule", 3)?;
        rule.serialize_field("section", &self.section)?;
        rule.serialize_field("title", self.title)?;
        rule.serialize_field("part", self.part)?;
        rule.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &str = include_str!("../../../nodes/WIRE.md");

    #[test]
    fn every_rule_is_a_section_of_the_text() {
        for rule in Rule::ALL {
            let heading = format!("\n## {}. {}\n", rule.section, rule.title);
            assert!(WIRE.contains(&heading), "no section {heading:?}");
        }
    }

    #[test]
    fn refused_lsas_cite_the_step_that_names_their_reason() {
        let flooding = WIRE.split("\n## ").find(|s| s.starts_with("10. ")).expect("section 10");
        for reason in [DropReason::StaleLsa, DropReason::MinArrival, DropReason::ResourceLimit] {
            let step = Rule::of_refused_lsa(reason).part.trim_start_matches("step ").to_owned();
            let begin = flooding.find(&format!("\n{step}. ")).expect("a step");
            let text = &flooding[begin + 1..];
            let end = text.find("\n\n").unwrap_or(text.len());
            assert!(text[..end].contains(reason.label()), "step {step} does not name {}", reason.label());
        }
    }
}
