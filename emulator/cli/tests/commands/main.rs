//! What every command prints, on which stream, and how it exits, as transcripts. `just bless` accepts changes; read them.

mod compare;
mod explore;
mod field;
mod help;
mod lab;
mod offline;
#[path = "../support/mod.rs"]
mod support;
mod sweep;
mod transcript;
