//! What `damc top` shows and what its keys mean, without I/O.
//!
//! [`Top`] is the state. It is told [`Look`]s at the lab, [`Change`]s and [`Key`]s; a key may answer with a [`Wish`], which
//! somebody else fulfils. [`draw`] draws the state and changes nothing.
#![forbid(unsafe_code)]

mod change;
mod draw;
mod keys;
mod look;
mod measure;
mod state;

pub use change::Change;
pub use draw::{LEAST_HEIGHT, LEAST_WIDTH, draw};
pub use keys::{Key, Wish};
pub use look::{Look, NodeLook};
pub use state::Top;
