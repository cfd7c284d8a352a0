//! Topologies and all that follows from them without I/O.
//!
//! [`parse`] makes a valid [`Topology`] of a YAML text, or tells all its [`Mistakes`]. A topology leads to a plan of
//! everything a lab is made of ([`plan`]), to the periods and deadlines of a run ([`timers`]) and to drawings ([`graph`]).
//! [`generate`] writes topology files. Nothing here reads a file, a clock or the environment.
#![forbid(unsafe_code)]

mod file;
pub mod generate;
pub mod graph;
pub mod plan;
#[cfg(test)]
mod shipped;
pub mod timers;
mod topology;

pub use file::{
    MAX_FILE_LEN, MAX_VALUES, Mistake, MistakeKind, Mistakes, PropertyError, Quantity, Setting, SettingError,
    SettingPath, describe, parse, parse_runnable, schema, set_property, with_settings,
};
pub use topology::{
    Direction, Foreign, Link, LinkEvent, MAX_COST, MAX_EVENTS, MAX_LINKS, MAX_NODES, MAX_SERVICES, Node, NodeAction,
    Qos, Run, Service, TimelineAction, TimelineEvent, Topology,
};
