//! What an SPA may grant: the names every pod is licensed for (AUT-02).

use std::collections::{BTreeMap, BTreeSet};

use damc_mgmt::config::NodeConfig;
use damc_wire::{Name, NodeId, RefusalReason};

use crate::context::ConfigError;

/// The licences of all pods.
///
/// An entry covers its name and, unless it is a pool, every name below it. A pool is joined only where it is listed
/// itself: the licence for `/A/1` says nothing about the pool `/A`, and the licence for the pool `/A` nothing about
/// `/A/4`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Licences {
    by_pod: BTreeMap<NodeId, BTreeSet<Name>>,
    pools: BTreeSet<Name>,
}

impl Licences {
    /// Reads the licences of a configuration.
    ///
    /// # Errors
    /// The first name or pod that does not parse.
    pub fn from_config(config: &NodeConfig) -> Result<Self, ConfigError> {
        let mut licences = Self::default();
        for (pod, names) in &config.licences {
            let at = || format!("licences.{pod}");
            let id = NodeId::new(pod).map_err(|e| ConfigError::field(at(), e))?;
            for name in names {
                licences.add(id.clone(), name.parse().map_err(|e| ConfigError::field(at(), e))?);
            }
        }
        for name in &config.pools {
            licences.add_pool(name.parse().map_err(|e| ConfigError::field("pools", e))?);
        }
        Ok(licences)
    }

    /// Marks a name as a pool: a licence for it covers nothing below it.
    pub fn add_pool(&mut self, name: Name) {
        self.pools.insert(name);
    }

    /// Licenses a pod for a name; false where it was already.
    pub fn add(&mut self, pod: NodeId, name: Name) -> bool {
        self.by_pod.entry(pod).or_default().insert(name)
    }

    /// Takes a licence away; false where there was none.
    pub fn remove(&mut self, pod: &NodeId, name: &Name) -> bool {
        self.by_pod.get_mut(pod).is_some_and(|names| names.remove(name))
    }

    /// Whether `pod` may have `name` as an instance prefix or, with `pool`, join it as a pool.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub fn judge(&self, pod: &NodeId, name: &Name, pool: bool) -> Result<(), RefusalReason> {
        if name.is_reserved() {
            return Err(RefusalReason::BadPrefix);
        }
        let Some(names) = self.by_pod.get(pod) else {
            return Err(RefusalReason::NotLicensed);
        };
        let covered = if pool {
            names.contains(name)
        } else {
            names.iter().any(|licensed| licensed.is_prefix_of(name) && !self.pools.contains(licensed))
        };
        if covered { Ok(()) } else { Err(RefusalReason::NotLicensed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    fn pod(s: &str) -> NodeId {
        NodeId::new(s).unwrap()
    }

    fn licences() -> Licences {
        let mut l = Licences::default();
        for (p, n) in [("pod-1", "/A/1"), ("pod-1", "/A"), ("pod-2", "/C/2"), ("pod-3", "/shop"), ("pod-4", "/A/4")] {
            l.add(pod(p), name(n));
        }
        l.pools.insert(name("/A"));
        l
    }

    /// AUT-02: 4 pods × 6 names (own, below own, parent of own, sibling, foreign, reserved), as a table.
    #[test]
    fn aut_02_licence_matrix() {
        let l = licences();
        let rows: [(&str, [(&str, bool); 6]); 4] = [
            (
                "pod-1",
                [
                    ("/A/1", true),
                    ("/A/1/x", true),
                    ("/A", false),
                    ("/A/4", false),
                    ("/C/2", false),
                    ("/damc/example/sg-1", false),
                ],
            ),
            (
                "pod-2",
                [("/C/2", true), ("/C/2/a/b", true), ("/C", false), ("/C/3", false), ("/A/1", false), ("/damc", false)],
            ),
            (
                "pod-3",
                [
                    ("/shop", true),
                    ("/shop/cart", true),
                    ("/shopping", false),
                    ("/sho", false),
                    ("/A/1", false),
                    ("/damc/x", false),
                ],
            ),
            (
                "pod-9",
                [
                    ("/A/1", false),
                    ("/A/1/x", false),
                    ("/A", false),
                    ("/A/4", false),
                    ("/C/2", false),
                    ("/damc/example/pod-9", false),
                ],
            ),
        ];
        for (p, cells) in rows {
            for (n, allowed) in cells {
                let expected = match (allowed, name(n).is_reserved()) {
                    (true, _) => Ok(()),
                    (false, true) => Err(RefusalReason::BadPrefix),
                    (false, false) => Err(RefusalReason::NotLicensed),
                };
                assert_eq!(l.judge(&pod(p), &name(n), false), expected, "{p} {n}");
            }
        }
    }

    #[test]
    fn aut_02_a_pool_must_be_listed_itself() {
        let l = licences();
        assert_eq!(l.judge(&pod("pod-1"), &name("/A"), true), Ok(()));
        assert_eq!(l.judge(&pod("pod-4"), &name("/A"), true), Err(RefusalReason::NotLicensed));
        // The namespace /shop does not license the pool /shop/all.
        assert_eq!(l.judge(&pod("pod-3"), &name("/shop/all"), true), Err(RefusalReason::NotLicensed));
    }
}
