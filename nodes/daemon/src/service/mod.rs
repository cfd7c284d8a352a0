//! The services of a pod: one process each, started, watched and restarted by the agent.
//!
//! Agent and process talk over a `SOCK_SEQPACKET` pair, which the process finds as its standard input: message borders
//! are kept, and its end is the other side's death, at once.

mod calls;
mod channel;
mod launch;
mod process;
mod program;
mod supervisor;

pub(crate) use channel::Task;
pub(crate) use process::run;
pub(crate) use program::{become_program, run_confined, run_inside};
pub(crate) use supervisor::{ServiceEvent, Supervisor};
