//! Errors of sockets and interfaces.

use std::io;

/// A failed system call on an interface or socket.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No such interface in this network namespace.
    #[error("there is no interface {0:?} in this network namespace")]
    NoInterface(String),
    /// The kernel refused an action.
    #[error("cannot {action}")]
    System {
        /// The action.
        action: &'static str,
        /// The kernel's error.
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
