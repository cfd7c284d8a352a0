//! What a link does to frames, in whatever time the caller lives in.
//!
//! [`DirectionSpec`] says what one direction of a link does, [`DirectionModel`] does it: delay, jitter, loss, duplication,
//! corruption, reordering, rate and queue limit. There is no I/O here, and time and seeds are arguments; the relay and the
//! simulation share the model.
#![forbid(unsafe_code)]

mod distribution;
mod model;
mod pool;
mod spec;

pub use distribution::{Distribution, SCALE, TABLE_LEN};
pub use model::{DirectionCounters, DirectionModel, Due};
pub use pool::{FramePool, Slot};
pub use spec::{DirectionChange, DirectionSpec, Loss, Reorder, default_limit};
