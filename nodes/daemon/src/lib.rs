//! The shell around the protocol machines: one process per node.
//!
//! ```text
//!              frames                     frames, orders, time
//!  port ──▶ forwarding thread ──deliver──▶ control thread ◀──▶ machine (damc-proto)
//!  port ◀──── FIB snapshot ◀───publish──────┘   ▲   │ events, views
//!                                               │   ▼
//!                                          admin thread (HTTP on a Unix socket)
//! ```
//!
//! The control thread is the only one that touches the machine; it sleeps in `epoll` until a hop-local frame, a carrier
//! change, a deadline, a signal, an admin request or a delivered frame wakes it. The forwarding thread (SG and SR only)
//! moves routed frames by the newest FIB snapshot and never waits for the control thread. A pod has no forwarding thread:
//! its machine gets every frame; its services run as processes of their own.
#![forbid(unsafe_code)]

mod admin;
mod calls;
mod carrier;
mod class1;
mod config_file;
mod control;
mod counters;
mod datapath;
mod dns;
mod door;
mod edge;
mod effects;
mod error;
mod event_log;
mod forwarding;
mod key;
mod mailbox;
mod order;
mod plane;
mod pods;
mod ports;
mod requests;
mod service;
mod startup;
mod traffic;

pub use admin::management_answers;
pub use startup::main;
