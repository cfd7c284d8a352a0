//! Why a socket or an interface is not to be had.

use std::io;

/// A failed system call on an interface or socket, with what was being done.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No such interface in this network namespace.
    #[error("there is no interface {0:?} in this network namespace")]
    NoInterface(String),
    /// The kernel refused.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl LinkError {
    /// Wraps the current `errno`.
    pub(crate) fn last(action: &'static str) -> Self {
        Self::System { action, source: io::Error::last_os_error() }
    }
}
