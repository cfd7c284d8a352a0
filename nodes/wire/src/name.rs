//! Service names: hierarchical, component-wise, canonical.
//!
//! The text form is `/shop/cart`. The wire form is a run of components, each a length byte and that many bytes. It has
//! no terminator; the enclosing length ends it. One name has exactly one text form and one wire form (GAP-24).
//!
//! ```text
//!  0                   1
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ... +
//! |   Length (1)  | Component bytes ...  |   repeated
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+ ... +
//! ```

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

/// Most components of a name.
pub const MAX_COMPONENTS: usize = 32;
/// Longest component in bytes.
pub const MAX_COMPONENT_LEN: usize = 64;
/// Longest wire form in bytes.
pub const MAX_WIRE_LEN: usize = 255;
/// First component of every name the protocol reserves for itself: nodes are `/damc/<domain>/<node>`.
pub const RESERVED: &str = "damc";

/// A canonical name: 1 to 32 components of 1 to 64 bytes of `[A-Za-z0-9._~-]`, case-sensitive, no `.` or `..` alone.
///
/// Cheap to clone. Orders by component, so that a prefix sorts before the names below it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    wire: Arc<[u8]>,
}

/// Why bytes or a text are not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Text without leading `/`.
    #[error("a name starts with '/'")]
    NoLeadingSlash,
    /// No component, or an empty one.
    #[error("a name has no empty component")]
    EmptyComponent,
    /// Component over [`MAX_COMPONENT_LEN`].
    #[error("a component has at most {MAX_COMPONENT_LEN} bytes, this one has {0}")]
    ComponentTooLong(usize),
    /// More than [`MAX_COMPONENTS`].
    #[error("a name has at most {MAX_COMPONENTS} components")]
    TooManyComponents,
    /// More than [`MAX_WIRE_LEN`].
    #[error("a name has at most {MAX_WIRE_LEN} bytes on the wire, this one has {0}")]
    TooLong(usize),
    /// A byte outside the allowed set.
    #[error("a name consists of A-Z, a-z, 0-9, '.', '_', '~' and '-'; found {0:?}")]
    BadCharacter(char),
    /// `.` or `..` as a component.
    #[error("'.' and '..' are not components")]
    DotComponent,
    /// A length byte points past the end.
    #[error("component length points past the end of the name")]
    Truncated,
}

impl Name {
    /// The name with this wire form, which is checked and copied.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn from_wire(bytes: &[u8]) -> Result<Self, NameError> {
        check_wire(bytes)?;
        Ok(Self { wire: Arc::from(bytes) })
    }

    /// The name of these components.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn from_components<'a>(components: impl IntoIterator<Item = &'a str>) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(32);
        for c in components {
            let len = u8::try_from(c.len()).map_err(|_| NameError::ComponentTooLong(c.len()))?;
            wire.push(len);
            wire.extend_from_slice(c.as_bytes());
        }
        Self::from_wire(&wire)
    }

    /// The name of a node: `/damc/<domain>/<node>`.
    ///
    /// # Errors
    /// See [`NameError`]; a valid domain and node identity always fit.
    pub fn of_node(domain: &str, node: &crate::NodeId) -> Result<Self, NameError> {
        Self::from_components([RESERVED, domain, node.as_str()])
    }

    /// The wire form.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The components in order.
    pub fn components(&self) -> impl Iterator<Item = &str> + '_ {
        Components { rest: &self.wire }
    }

    /// Number of components.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// Whether `self` equals `other` or is an ancestor of it, component-wise (`/shop` is no prefix of `/shopping`).
    #[must_use]
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        // Lengths are part of the bytes: where the bytes are equal, so are the component boundaries.
        other.wire.starts_with(&self.wire)
    }

    /// The name without its last component; `None` for a name of one component.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let last = self.components().last()?;
        let keep = self.wire.len() - last.len() - 1;
        (keep > 0).then(|| Self { wire: Arc::from(&self.wire[..keep]) })
    }

    /// Whether the name lies under the reserved `/damc`.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.components().next() == Some(RESERVED)
    }
}

/// Checks that `bytes` are the wire form of a name. Copies nothing: it serves the forwarding path.
///
/// # Errors
/// See [`NameError`].
pub fn check_wire(bytes: &[u8]) -> Result<(), NameError> {
    if bytes.len() > MAX_WIRE_LEN {
        return Err(NameError::TooLong(bytes.len()));
    }
    if bytes.is_empty() {
        return Err(NameError::EmptyComponent);
    }
    let mut rest = bytes;
    let mut count = 0;
    while let Some((&len, tail)) = rest.split_first() {
        let len = usize::from(len);
        count += 1;
        if count > MAX_COMPONENTS {
            return Err(NameError::TooManyComponents);
        }
        if len == 0 {
            return Err(NameError::EmptyComponent);
        }
        if len > MAX_COMPONENT_LEN {
            return Err(NameError::ComponentTooLong(len));
        }
        let Some(component) = tail.get(..len) else {
            return Err(NameError::Truncated);
        };
        if let Some(&b) = component.iter().find(|b| !ALLOWED[usize::from(**b)]) {
            return Err(NameError::BadCharacter(char::from(b)));
        }
        if component == b"." || component == b".." {
            return Err(NameError::DotComponent);
        }
        rest = &tail[len..];
    }
    Ok(())
}

/// Bytes allowed in a component. A table, because the forwarding path checks every name.
static ALLOWED: [bool; 256] = {
    let mut t = [false; 256];
    let mut i = 0;
    while i < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "i < 256")]
        let b = i as u8;
        t[i] = b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
        i += 1;
    }
    t
};

struct Components<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Components<'a> {
    type Item = &'a str;
    fn next(&mut self) -> Option<&'a str> {
        let (&len, tail) = self.rest.split_first()?;
        let (component, rest) = tail.split_at_checked(usize::from(len))?;
        self.rest = rest;
        core::str::from_utf8(component).ok()
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let rest = s.strip_prefix('/').ok_or(NameError::NoLeadingSlash)?;
        if let Some(c) = rest.chars().find(|c| *c != '/' && !(c.is_ascii() && ALLOWED[*c as usize & 0xff])) {
            return Err(NameError::BadCharacter(c));
        }
        Self::from_components(rest.split('/'))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.components() {
            write!(f, "/{c}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        let (a, b) = (&*self.wire, &*other.wire);
        let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) else {
            // One is a prefix of the other. Lengths are part of the bytes, so the prefix ends where a component ends.
            return a.len().cmp(&b.len());
        };
        let mut begin = 0;
        loop {
            let end = begin + 1 + usize::from(a[begin]);
            if at == begin {
                // Components of different lengths: their bytes decide.
                let component = |wire: &'_ [u8]| begin + 1..begin + 1 + usize::from(wire[begin]);
                return a[component(a)].cmp(&b[component(b)]);
            }
            if at < end {
                return a[at].cmp(&b[at]);
            }
            begin = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    #[test]
    fn text_and_wire_are_one_to_one() {
        let n = name("/A/1");
        assert_eq!(n.wire(), b"\x01A\x011");
        assert_eq!(n.to_string(), "/A/1");
        assert_eq!(Name::from_wire(n.wire()).unwrap(), n);
    }

    #[test]
    fn prefixes_are_component_wise() {
        assert!(name("/shop").is_prefix_of(&name("/shop/cart")));
        assert!(!name("/shop").is_prefix_of(&name("/shopping")));
        assert!(name("/A/1").is_prefix_of(&name("/A/1")));
        assert_eq!(name("/A/1").parent(), Some(name("/A")));
        assert_eq!(name("/A").parent(), None);
    }

    #[test]
    fn names_order_by_component() {
        let texts =
            ["/A", "/A/1", "/A/10", "/A/2", "/AB", "/B", "/a/b/c", "/a/bb", "/a/b", "/z", "/zz/a", "/z/a", "/z/aa"];
        let long = format!("/{}", "a".repeat(40));
        let names: Vec<Name> = texts.into_iter().chain([long.as_str()]).map(name).collect();
        for a in &names {
            for b in &names {
                assert_eq!(a.cmp(b), a.components().cmp(b.components()), "{a} and {b}");
            }
        }
    }

    #[test]
    fn malformed_names_say_why() {
        assert_eq!("A".parse::<Name>(), Err(NameError::NoLeadingSlash));
        assert_eq!("/".parse::<Name>(), Err(NameError::EmptyComponent));
        assert_eq!("/a//b".parse::<Name>(), Err(NameError::EmptyComponent));
        assert_eq!("/a/".parse::<Name>(), Err(NameError::EmptyComponent));
        assert_eq!("/a/..".parse::<Name>(), Err(NameError::DotComponent));
        assert_eq!("/a b".parse::<Name>(), Err(NameError::BadCharacter(' ')));
        assert_eq!(format!("/{}", "x".repeat(65)).parse::<Name>(), Err(NameError::ComponentTooLong(65)));
        assert_eq!("/a".repeat(33).parse::<Name>(), Err(NameError::TooManyComponents));
        assert_eq!(Name::from_wire(b"\x05A"), Err(NameError::Truncated));
    }
}
