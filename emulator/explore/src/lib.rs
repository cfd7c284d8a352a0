//! Exploration without I/O: what networks and events there are to be tried, and how what fails becomes small.
//!
//! [`Draw`] makes a [`Trial`] of a seed and a number: a topology, events, and a seed of its own. Its text is a topology file
//! whose `events:` end with `expect: { invariants: true }`, so that `damc run FILE --virtual --seed N` does the same again.
//! Who runs it says what failed; [`shrink`] takes away whatever is not needed for that.
#![forbid(unsafe_code)]

mod draw;
mod event;
mod network;
mod shrink;
mod trial;

pub use draw::Draw;
pub use event::{Change, Event, Happening};
pub use shrink::{Answer, Shrunk, shrink};
pub use trial::Trial;
