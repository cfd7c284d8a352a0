//! Node identities: short printable labels, unique in a domain.

use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

/// The identity of a node in its domain, such as `sr-left`: 1 to 32 bytes of `[a-z0-9._-]`.
///
/// Cheap to clone; compares by text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// Longest node identity in bytes.
pub const MAX_NODE_ID: usize = 32;

/// Why a text is not a node identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// The text is empty.
    #[error("a node identity must not be empty")]
    Empty,
    /// More than [`MAX_NODE_ID`] bytes.
    #[error("a node identity has at most {MAX_NODE_ID} bytes, this one has {0}")]
    TooLong(usize),
    /// A character outside `[a-z0-9._-]`.
    #[error("a node identity consists of a-z, 0-9, '.', '_' and '-'; found {0:?}")]
    BadCharacter(char),
}

impl NodeId {
    /// The node identity `text`, if it is valid.
    ///
    /// # Errors
    /// See [`NodeIdError`].
    pub fn new(text: &str) -> Result<Self, NodeIdError> {
        if text.is_empty() {
            return Err(NodeIdError::Empty);
        }
        if let Some(c) =
            text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')))
        {
            return Err(NodeIdError::BadCharacter(c));
        }
        if text.len() > MAX_NODE_ID {
            return Err(NodeIdError::TooLong(text.len()));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::new(s)
    }
}

impl Borrow<str> for NodeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
