//! `--foreign`: other people's nodes in the place of ours.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::anyhow;
use damc_topology::{Foreign, Topology};

use crate::exit::Failure;

/// Nodes that foreign programs take the place of.
#[derive(Clone, Debug, clap::Args)]
pub struct ForeignOption {
    /// Run a program of yours in the place of a node, such as `sr-9=./their-sr` or `sr-9=python3 ./sr.py {config}`; may be
    /// repeated. `exec:` in a topology does the same; nodes/LAB.md says what the program is given.
    #[arg(long, value_name = "NODE=COMMAND")]
    pub foreign: Vec<Replacement>,
}

/// One node and the command that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    node: String,
    argv: Vec<String>,
}

impl FromStr for Replacement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no NODE=COMMAND, such as sr-9=./their-sr");
        let (node, command) = text.split_once('=').ok_or_else(wrong)?;
        let argv: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if node.is_empty() || argv.is_empty() {
            return Err(wrong());
        }
        Ok(Self { node: node.to_owned(), argv })
    }
}

impl ForeignOption {
    /// The topology with these programs in it. Their paths begin at the current folder.
    ///
    /// # Errors
    /// The topology has no such node.
    pub fn put_in(&self, mut topology: Topology) -> Result<Topology, Failure> {
        let here = std::env::current_dir()?;
        for Replacement { node, argv } in &self.foreign {
            let foreign = Foreign { argv: argv.clone(), env: BTreeMap::new(), folder: Some(here.clone()) };
            if !topology.replace(node, foreign) {
                let known: Vec<&str> = topology.nodes().keys().map(damc_wire::NodeId::as_str).collect();
                return Err(Failure::usage(anyhow!(
                    "--foreign {node}=…: {} has no node {node}; it has {}",
                    topology.name(),
                    known.join(", ")
                )));
            }
        }
        Ok(topology)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_is_a_node_and_words() {
        let replacement: Replacement = "sr-9=python3 ./sr.py --level=debug {config}".parse().unwrap();
        assert_eq!(replacement.node, "sr-9");
        assert_eq!(replacement.argv, ["python3", "./sr.py", "--level=debug", "{config}"]);
        for wrong in ["sr-9", "=./their-sr", "sr-9=", "sr-9= "] {
            assert!(wrong.parse::<Replacement>().is_err(), "{wrong}");
        }
    }
}
