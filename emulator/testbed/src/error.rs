//! Why a world did not do what it was asked.

use std::error::Error;
use std::time::Duration;

/// Why something with a world did not work. None of it is a verdict on a node.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A condition was not met in time.
    #[error("{what} not reached within {} ms; {last}", .within.as_millis())]
    Deadline {
        /// The condition.
        what: String,
        /// How long it was waited for, on the world's clock.
        within: Duration,
        /// What was seen last.
        last: String,
    },
    /// The world refused, or does not answer.
    #[error("{0}")]
    Lab(String),
    /// Only another kind of world can do this.
    #[error("{0}")]
    Unsupported(String),
    /// A foreign node does not have what was asked for.
    #[error("{node} offers no {what}")]
    NotOffered {
        /// Node.
        node: String,
        /// Path of its management interface, or a counter.
        what: String,
    },
    /// An error of the world's own.
    #[error(transparent)]
    Own(Box<dyn Error + Send + Sync>),
}

impl WorldError {
    /// Wraps an error of the world's own.
    pub fn own(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Own(Box::new(error))
    }

    /// The whole chain of causes on one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
