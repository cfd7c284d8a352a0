//! Which names the root puts into the certificate of an SPA.

use std::collections::BTreeMap;

use damc_wire::Name;
use damc_wire::security::{CertifiedName, MAX_NAMES_LEN};

/// The narrowest names that cover `wanted` and fit a certificate. Where all of them are too long, those with the most
/// siblings are replaced by their common parent, deepest first. None where even first components do not fit.
#[must_use]
pub fn narrowest(wanted: impl IntoIterator<Item = CertifiedName>) -> Option<Vec<CertifiedName>> {
    let mut names: Vec<CertifiedName> = wanted.into_iter().collect();
    loop {
        names.sort();
        names.dedup();
        let all = names.clone();
        let covered = |n: &CertifiedName| all.iter().any(|other| other != n && other.covers(&n.name, n.exact));
        names.retain(|n| !covered(n));
        if names.iter().map(CertifiedName::encoded_len).sum::<usize>() <= MAX_NAMES_LEN {
            return Some(names);
        }
        let deepest = names.iter().map(|n| n.name.depth()).max()?;
        let mut families: BTreeMap<Name, usize> = BTreeMap::new();
        for parent in names.iter().filter(|n| n.name.depth() == deepest).map(|n| n.name.parent()) {
            *families.entry(parent?).or_default() += 1;
        }
        let (parent, _) = families.into_iter().max_by_key(|(_, siblings)| *siblings)?;
        names.push(CertifiedName { name: parent, exact: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certified(name: &str, exact: bool) -> CertifiedName {
        CertifiedName { name: name.parse().unwrap(), exact }
    }

    #[test]
    fn what_fits_stays_as_it_is_but_for_what_is_covered() {
        let wanted = [certified("/A", true), certified("/A/1", false), certified("/A/1/x", false)];
        assert_eq!(narrowest(wanted), Some(vec![certified("/A", true), certified("/A/1", false)]));
    }

    #[test]
    fn what_does_not_fit_becomes_its_parents_the_largest_family_first() {
        let many = (0..60).map(|i| certified(&format!("/shop/{i}"), false));
        let names = narrowest(many.chain([certified("/B/1", false), certified("/B", true)])).unwrap();
        assert_eq!(names, [certified("/B", true), certified("/B/1", false), certified("/shop", false)]);
    }

    #[test]
    fn what_has_no_parent_does_not_fit() {
        assert_eq!(narrowest((0..100).map(|i| certified(&format!("/service-{i}"), false))), None);
    }
}
