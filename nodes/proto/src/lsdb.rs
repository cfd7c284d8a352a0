//! The link-state database: the newest verified LSA of every key. Also the SCSC's passive replica.

use std::collections::BTreeMap;

use damc_mgmt::view::LsdbView;
use damc_wire::lsa::{Lsa, LsaContent, LsaId, LsaKey, PrefixLsa, TopologyLsa};
use damc_wire::{Name, NodeId, Timestamp};

/// One prefix LSA that is in force.
#[derive(Clone, Copy, Debug)]
pub struct PrefixEntry<'a> {
    /// The prefix.
    pub prefix: &'a Name,
    /// Who advertises it.
    pub origin: &'a NodeId,
    /// The port there it lies behind, named after the attached node.
    pub port: &'a NodeId,
    /// Metric, weight, pool, proof.
    pub body: &'a PrefixLsa,
}

/// The database.
#[derive(Debug, Default)]
pub struct Lsdb {
    lsas: BTreeMap<LsaKey, Lsa>,
}

impl Lsdb {
    /// An LSA by key, purges included.
    #[must_use]
    pub fn get(&self, key: &LsaKey) -> Option<&Lsa> {
        self.lsas.get(key)
    }

    /// All prefixes in force, by origin.
    pub fn prefixes(&self) -> impl Iterator<Item = PrefixEntry<'_>> {
        self.lsas.values().filter_map(prefix_entry)
    }

    /// All advertisements of exactly this name.
    pub fn prefix<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = PrefixEntry<'a>> {
        self.prefixes().filter(move |e| e.prefix == name)
    }

    /// All topology LSA fragments in force, by origin.
    pub fn topology(&self) -> impl Iterator<Item = (&NodeId, &TopologyLsa)> {
        self.lsas.values().filter_map(|lsa| match &lsa.content {
            LsaContent::Topology(t) => Some((&lsa.key.origin, t)),
            _ => None,
        })
    }

    /// `/lsdb`.
    #[must_use]
    pub fn view(&self, _now: Timestamp, node: &NodeId) -> LsdbView {
        LsdbView { node: node.to_string(), ..LsdbView::default() }
    }
}

fn prefix_entry(lsa: &Lsa) -> Option<PrefixEntry<'_>> {
    match (&lsa.key.id, &lsa.content) {
        (LsaId::Prefix(prefix, port), LsaContent::Prefix(body)) => {
            Some(PrefixEntry { prefix, origin: &lsa.key.origin, port, body })
        }
        _ => None,
    }
}
