//! What every command prints, on which stream, and how it exits, as transcripts. `just bless` accepts changes; read them.

mod help;
mod lab;
mod offline;
mod transcript;
