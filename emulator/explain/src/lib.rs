//! Why a node forwards a name as it does, why it does not, and where a call was lost.
//!
//! [`Evidence`] is what a world and its nodes say: tables, remembered events, what was done to links and nodes.
//! [`Frames`] is what recordings say of the LSAs, answers and calls that crossed a link. From both, [`why`], [`why_not`] and
//! [`why_call`] make a [`Chain`]: the effect first, then each cause, down to the root. Each step names its node, its
//! time, the rule of `nodes/WIRE.md` and, where known, the frame. A node whose tables contradict its own database, or that
//! took what no rule lets it take, is named as the one that breaks the rule.
//!
//! [`course`] tells the whole run from the same evidence: how long each change took to reach the tables and with what, and
//! where the tables together led frames astray meanwhile.
#![forbid(unsafe_code)]

mod absent;
mod asker;
mod call;
mod chain;
mod course;
mod evidence;
mod flooding;
mod frames;
mod graph;
mod links;
mod origin;
mod passage;
mod present;
mod rule;

pub use asker::{Unanswerable, change_text, why, why_call, why_not};
pub use chain::{Chain, Mark, Step};
pub use course::{
    Change, Course, Crossing, FibChanges, LinkMark, LinkState, Mark as CourseMark, Met, NodeMark,
    NodeState as CourseNodeState, PrefixChange, Route, RouteMark, Split, Trouble, TroubleKind, course,
};
pub use evidence::{Evidence, LinkEvidence, Witness};
pub use frames::{FrameRef, Frames, Passing};
pub use passage::{CallHop, Passage, passage};
pub use rule::Rule;
