//! Bytes as hexadecimal text: lower case when written, either case when read.

use data_encoding::{DecodeError, DecodeKind, HEXLOWER, HEXLOWER_PERMISSIVE};

/// Why a text is not hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Two digits make a byte.
    #[error("odd number of digits ({0})")]
    OddLength(usize),
    /// A character is not a hexadecimal digit.
    #[error("not hexadecimal")]
    NotADigit,
}

/// Lower-case hexadecimal text.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The bytes of a hexadecimal text.
///
/// # Errors
/// Odd length, or a character that is not a digit.
pub fn from_hex(text: &str) -> Result<Vec<u8>, HexError> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|error| match error {
        DecodeError { kind: DecodeKind::Length, .. } => HexError::OddLength(text.len()),
        _ => HexError::NotADigit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_lower_case_and_reads_either_case() {
        assert_eq!(to_hex(&[0, 0x0f, 0xa5, 0xff]), "000fa5ff");
        assert_eq!(from_hex("000fA5Ff"), Ok(vec![0, 0x0f, 0xa5, 0xff]));
        assert_eq!((to_hex(&[]), from_hex("")), (String::new(), Ok(vec![])));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(from_hex("abc"), Err(HexError::OddLength(3)));
        for text in ["0g", "+1", " 1", "0x", "é"] {
            assert_eq!(from_hex(text), Err(HexError::NotADigit), "{text}");
        }
    }
}
