//! Topologies and all that follows from them without I/O.
//!
//! [`parse`] makes a valid [`Topology`] of a YAML text, or tells all its [`Mistakes`]. A topology leads to a plan of
//! everything a lab is made of ([`plan`]), to the periods and deadlines of a run ([`timers`]) and to drawings ([`graph`]).
//! [`generate`] writes topology files, [`containerlab`] reads and writes those of that program. Nothing here reads a file, a clock or the environment.
#![forbid(unsafe_code)]

pub mod containerlab;
mod file;
pub mod generate;
pub mod graph;
pub mod plan;
mod reduce;
#[cfg(test)]
mod shipped;
pub mod timeline;
pub mod timers;
mod topology;
mod written;

pub use file::{
    Files, MAX_FILE_LEN, MAX_VALUES, Mistake, MistakeKind, Mistakes, PropertyError, Quantity, Setting, SettingError,
    SettingPath, describe, parse, parse_runnable, parse_with, schema, set_property, unit::Time, with_settings,
};
pub use timeline::NodeAction;
pub use topology::{
    Direction, Foreign, Link, MAX_COST, MAX_EVENTS, MAX_LINKS, MAX_NODES, MAX_SERVICES, Node, Qos, Run, Service,
    Topology,
};
pub use written::written;
