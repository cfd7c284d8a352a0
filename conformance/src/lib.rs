//! Judging DAMC nodes from outside: catalogue, oracle, suites, reports.
//!
//! The suites look at recorded frames first and at management state second, and never share code with the nodes'
//! protocol machines.
#![forbid(unsafe_code)]

pub mod artefacts;
pub mod capture;
pub mod case;
pub mod catalogue;
mod chronicle;
mod experiment;
mod explained;
pub mod forge;
mod judging;
pub mod oracle;
pub mod report;
pub mod requirements;
pub mod runner;
pub mod suite;
pub mod testbed;
pub mod trace;
pub mod verdict;
