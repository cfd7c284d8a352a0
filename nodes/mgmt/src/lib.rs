//! What nodes and the tools around them say to each other off the wire: the configuration file of a node and the JSON of
//! its management socket. Plain data, no I/O.
#![forbid(unsafe_code)]

pub mod config;
pub mod event;
pub mod order;
pub mod view;
