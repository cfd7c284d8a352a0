//! Remote method invocation (-01, section 7.2) at the pod: calling, and being called at most once.

pub mod builtin;
pub mod caller;
pub mod fetch;
pub mod holding;
pub mod request;
pub mod server;
pub mod window;

pub use caller::{Call, Caller};
pub use server::Server;
