//! Trace context of a call (W3C Trace Context, version 00): which trace it belongs to, and which span sent it.

use core::fmt;
use core::str::FromStr;

use crate::hex::{from_hex, to_hex};

/// A trace context. Neither number is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    /// Flags; 0x01 says that the caller may have recorded its span.
    pub flags: u8,
}

/// Why a text is no trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceContextError {
    /// Other parts than version, trace id, parent id and flags, or of other lengths.
    #[error("it is not `00-TRACE-PARENT-FLAGS` of 2, 32, 16 and 2 digits")]
    Shape,
    /// A digit is none, or a capital.
    #[error("its digits are not lower-case hexadecimal")]
    Digits,
    /// Version ff, which is none.
    #[error("ff is no version")]
    Version,
    /// A number is 0.
    #[error("its trace id or its parent id is 0")]
    Zero,
}

impl TraceContext {
    /// A context; none where a number is 0.
    #[must_use]
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], flags: u8) -> Option<Self> {
        (trace_id != [0; 16] && parent_id != [0; 8]).then_some(Self { trace_id, parent_id, flags })
    }

    /// The trace: 16 bytes that all spans of it share.
    #[must_use]
    pub const fn trace_id(&self) -> &[u8; 16] {
        &self.trace_id
    }

    /// The span that sent the request.
    #[must_use]
    pub const fn parent_id(&self) -> &[u8; 8] {
        &self.parent_id
    }

    /// The same trace as another span continues it. Of the flags only those of version 00 stay. `span` 0, which is no span,
    /// becomes 1.
    #[must_use]
    pub const fn continued_by(&self, span: u64) -> Self {
        let span = if span == 0 { 1 } else { span };
        Self { trace_id: self.trace_id, parent_id: span.to_be_bytes(), flags: self.flags & 0x01 }
    }
}

/// The value of a `traceparent` header.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", to_hex(&self.trace_id), to_hex(&self.parent_id), self.flags)
    }
}

/// Reads the value of a `traceparent` header. Of a later version what version 00 has is read, as the recommendation asks.
impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        use TraceContextError as E;
        let mut parts = text.trim_matches([' ', '\t']).split('-');
        let mut part = |digits: usize| parts.next().filter(|part| part.len() == digits).ok_or(E::Shape);
        let (version, trace, parent, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        if version == "ff" {
            return Err(E::Version);
        }
        if version == "00" && parts.next().is_some() {
            return Err(E::Shape);
        }
        let bytes = |part: &str| {
            let lower = !part.bytes().any(|b| b.is_ascii_uppercase());
            from_hex(part).ok().filter(|_| lower).ok_or(E::Digits)
        };
        bytes(version)?;
        let (trace, parent, flags) = (bytes(trace)?, bytes(parent)?, bytes(flags)?);
        let (Ok(trace), Ok(parent), Some(flags)) = (trace.try_into(), parent.try_into(), flags.first()) else {
            return Err(E::Shape);
        };
        Self::new(trace, parent, *flags).ok_or(E::Zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_is_read_and_written() {
        let context: TraceContext = TEXT.parse().unwrap();
        assert_eq!(context.to_string(), TEXT);
        assert_eq!(context.trace_id()[..2], [0x0a, 0xf7]);
        assert_eq!((context.parent_id()[7], context.flags), (0x31, 1));
        assert_eq!(format!(" {TEXT}\t").parse(), Ok(context));
        // A later version may have more behind the flags.
        assert_eq!(format!("01{}-more", &TEXT[2..]).parse(), Ok(context));
    }

    #[test]
    fn what_is_no_header_is_refused_with_its_reason() {
        use TraceContextError as E;
        let wrong = |text: &str| text.parse::<TraceContext>().unwrap_err();
        for (text, error) in [
            ("", E::Shape),
            (&TEXT[..54], E::Shape),
            (&format!("{TEXT}-more"), E::Shape),
            (&TEXT.replace("af7", "aF7"), E::Digits),
            (&TEXT.replace("af7", "ag7"), E::Digits),
            (&TEXT.replace("af7", "aä"), E::Digits),
            (&TEXT.replace("00-", "ff-"), E::Version),
            (&TEXT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), E::Zero),
            (&TEXT.replace("b7ad6b7169203331", &"0".repeat(16)), E::Zero),
        ] {
            assert_eq!(wrong(text), error, "{text}");
        }
    }

    #[test]
    fn a_span_that_goes_on_keeps_the_trace_and_no_flag_that_it_does_not_know() {
        let context: TraceContext = TEXT.replace("-01", "-f1").parse().unwrap();
        let next = context.continued_by(7);
        assert_eq!(next.to_string(), "00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01");
        assert_eq!(context.continued_by(0).parent_id()[7], 1);
    }
}
