//! Why a node process ends.

use std::path::PathBuf;

use damc_link::LinkError;
use damc_proto::context::ConfigError;

/// What ends a node process before or while it runs.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Wrong arguments.
    #[error("usage: {0} CONFIG")]
    Usage(String),
    /// The configuration file cannot be read.
    #[error("{path}: cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is no configuration.
    #[error("{path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column, and what is wrong there.
        problem: String,
    },
    /// A field of the configuration has an impossible value.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Field and problem. Part of the message, so not a source of its own.
        source: ConfigError,
    },
    /// A port cannot be used.
    #[error("port {port}: {}", with_cause(source))]
    Port {
        /// Its name.
        port: String,
        /// Why.
        source: LinkError,
    },
    /// A call to the operating system failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl NodeError {
    /// Wraps a failed system call.
    pub(crate) fn system<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { action, source: source.into() }
    }

    /// Whether the user gave us something wrong, in contrast to the system failing us.
    pub(crate) const fn is_input(&self) -> bool {
        matches!(self, Self::Usage(_) | Self::Unreadable { .. } | Self::Malformed { .. } | Self::Config { .. })
    }
}

/// An error with what caused it, in one line.
fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
