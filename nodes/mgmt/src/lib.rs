//! What nodes and the tools around them say to each other off the wire: the configuration file of a node and the JSON of
//! its management socket. Plain data, no I/O.
#![forbid(unsafe_code)]

pub mod call;
pub mod command;
pub mod config;
pub mod counts;
pub mod event;
pub mod label;
pub mod metrics;
mod text;
pub mod view;
pub mod words;
