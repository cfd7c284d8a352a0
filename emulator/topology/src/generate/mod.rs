//! Topology files that nobody wants to write by hand: of regular and random graphs, and of other people's maps.
//!
//! A [`Backbone`] is a graph of SRs. [`Backbone::dress`] puts gateways, pods, SPAs and a scheduling centre at it and
//! gives the text of a topology file, which [`crate::parse`] reads like any other.

mod backbone;
mod gml;
mod graphml;
mod import;
mod minindn;
mod shapes;
#[cfg(test)]
mod tests;
mod writer;

pub use backbone::{Backbone, Router, Trunk};
pub use import::{Format, MAX_MAP_LEN, import};
pub(crate) use import::{Line, Place, assemble};
pub use shapes::{Request, Shape, generate};

/// Most routers a backbone may have: what a topology file may hold, with room for gateways and their company.
pub const MOST_ROUTERS: usize = 4_000;
