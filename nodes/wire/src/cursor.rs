//! Bounds-checked reading and writing of fields and TLVs.
//!
//! [`Reader`] fails at the first wrong byte and reports its offset. [`Writer`] remembers the first value it could not
//! write and reports it at the end, so that encoders read like the layouts they implement.

use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::registry::TlvType;
use crate::{Millis, Name, NodeId};

/// Bytes of a TLV before its value: type (1), length (2).
pub const TLV_HEADER_LEN: usize = 3;
/// The bit of a TLV type that forbids skipping a TLV of unknown type.
pub const CRITICAL_BIT: u8 = 0x80;

/// A value with one fixed layout.
pub(crate) trait Fields: Sized {
    /// Its name in errors.
    const WHAT: &'static str;
    /// Writes the layout.
    fn put(&self, w: &mut Writer);
    /// Reads the layout; the caller checks that nothing is left.
    fn take(r: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Reads fields from bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Offset of `bytes` in what is being decoded, for errors.
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader over `bytes`, which lie `offset` bytes into what is being decoded.
    #[must_use]
    pub const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    /// Offset of the next byte.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not yet read.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.bytes.len()
    }

    /// An error at the next byte.
    #[must_use]
    pub const fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { offset: self.offset, kind }
    }

    /// An impossible value at the next byte.
    #[must_use]
    pub const fn bad_value(&self, what: &'static str, value: u64) -> DecodeError {
        self.error(DecodeErrorKind::BadValue { what, value })
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn bytes(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((head, tail)) = self.bytes.split_at_checked(n) else {
            return Err(self.error(DecodeErrorKind::Truncated { what, needed: n, left: self.bytes.len() }));
        };
        self.bytes = tail;
        self.offset += n;
        Ok(head)
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        let all = self.bytes;
        self.offset += all.len();
        self.bytes = &[];
        all
    }

    /// The next `N` bytes as an array.
    ///
    /// # Errors
    /// Truncated.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N, what)?);
        Ok(out)
    }

    /// One byte.
    ///
    /// # Errors
    /// Truncated.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Two bytes, big endian.
    ///
    /// # Errors
    /// Truncated.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// Four bytes, big endian.
    ///
    /// # Errors
    /// Truncated.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// Eight bytes, big endian.
    ///
    /// # Errors
    /// Truncated.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// A span of at most 2^32 - 1 ms, in four bytes.
    ///
    /// # Errors
    /// Truncated.
    pub fn millis(&mut self, what: &'static str) -> Result<Millis, DecodeError> {
        Ok(Millis(u64::from(self.u32(what)?)))
    }

    /// Eight bytes of which not all are 0.
    ///
    /// # Errors
    /// Truncated, or 0.
    pub fn nonzero_u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let at = self.clone();
        match self.u64(what)? {
            0 => Err(at.bad_value(what, 0)),
            v => Ok(v),
        }
    }

    /// A byte of flags, of which only those in `known` may be set.
    ///
    /// # Errors
    /// Truncated, or another bit is set.
    pub fn flags(&mut self, known: u8, what: &'static str) -> Result<u8, DecodeError> {
        let at = self.clone();
        let v = self.u8(what)?;
        if v & !known == 0 { Ok(v) } else { Err(at.bad_value(what, u64::from(v))) }
    }

    /// A byte that is a code point of a registry.
    ///
    /// # Errors
    /// Truncated, or `from_code` does not know it.
    pub fn code<T>(&mut self, from_code: impl FnOnce(u8) -> Option<T>, what: &'static str) -> Result<T, DecodeError> {
        let at = self.clone();
        let v = self.u8(what)?;
        from_code(v).ok_or_else(|| at.bad_value(what, u64::from(v)))
    }

    /// A name: length byte, wire form.
    ///
    /// # Errors
    /// Truncated, or not a name.
    pub fn name(&mut self) -> Result<Name, DecodeError> {
        let len = self.u8("name")?;
        let at = self.clone();
        Name::from_wire(self.bytes(usize::from(len), "name")?).map_err(|e| at.error(e.into()))
    }

    /// A node identity: length byte, text.
    ///
    /// # Errors
    /// Truncated, or not a node identity.
    pub fn node_id(&mut self) -> Result<NodeId, DecodeError> {
        let len = self.u8("node identity")?;
        let at = self.clone();
        let bytes = self.bytes(usize::from(len), "node identity")?;
        let text = core::str::from_utf8(bytes).map_err(|_| at.bad_value("node identity", u64::from(len)))?;
        NodeId::new(text).map_err(|e| at.error(e.into()))
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// Oversized.
    pub const fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.error(DecodeErrorKind::Oversized { what })) }
    }

    /// The one value that fills the reader.
    pub(crate) fn whole<T: Fields>(mut self) -> Result<T, DecodeError> {
        let value = T::take(&mut self)?;
        self.finish(T::WHAT)?;
        Ok(value)
    }
}

/// Reads a run of TLVs in the order the message prescribes, skipping unknown ones that are not critical.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    reader: Reader<'a>,
}

impl<'a> Tlvs<'a> {
    /// Reads the TLVs that fill `reader`.
    #[must_use]
    pub const fn new(reader: Reader<'a>) -> Self {
        Self { reader }
    }

    /// Offset of the next TLV.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.reader.offset
    }

    /// The type of the next known TLV, which is not consumed. Unknown TLVs before it are skipped or refused.
    fn peek(&mut self) -> Result<Option<TlvType>, DecodeError> {
        while let Some(&code) = self.reader.bytes.first() {
            if let Some(known) = TlvType::from_code(code) {
                return Ok(Some(known));
            }
            if code & CRITICAL_BIT != 0 {
                return Err(self.reader.error(DecodeErrorKind::UnknownCriticalTlv(code)));
            }
            self.take_value()?;
        }
        Ok(None)
    }

    fn take_value(&mut self) -> Result<Reader<'a>, DecodeError> {
        self.reader.u8("TLV type")?;
        let len = usize::from(self.reader.u16("TLV length")?);
        let offset = self.reader.offset;
        Ok(Reader::new(self.reader.bytes(len, "TLV value")?, offset))
    }

    /// The next TLV's value, if it has that type.
    ///
    /// # Errors
    /// Truncated, or an unknown critical TLV is next.
    pub fn next_if(&mut self, wanted: TlvType) -> Result<Option<Reader<'a>>, DecodeError> {
        if self.peek()? == Some(wanted) { self.take_value().map(Some) } else { Ok(None) }
    }

    /// The next TLV's value, which must have that type.
    ///
    /// # Errors
    /// The same as [`Self::next_if`], or missing.
    pub fn require(&mut self, wanted: TlvType) -> Result<Reader<'a>, DecodeError> {
        // What is wanted nearly always comes next, and whole: one look at its head instead of one at each field.
        if let [code, high, low, rest @ ..] = self.reader.bytes
            && *code == wanted.code()
            && let Some((value, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
        {
            let at = self.reader.offset + TLV_HEADER_LEN;
            self.reader = Reader::new(rest, at + value.len());
            return Ok(Reader::new(value, at));
        }
        let before = self.reader.clone();
        self.next_if(wanted)?.ok_or_else(|| before.error(DecodeErrorKind::MissingTlv(wanted.label())))
    }

    /// The one value in the next TLV, which must have that type.
    pub(crate) fn item<T: Fields>(&mut self, wanted: TlvType) -> Result<T, DecodeError> {
        self.require(wanted)?.whole()
    }

    /// The values of all TLVs of that type that come next.
    pub(crate) fn items<T: Fields>(&mut self, wanted: TlvType) -> Result<Vec<T>, DecodeError> {
        let mut out = Vec::new();
        while let Some(value) = self.next_if(wanted)? {
            out.push(value.whole()?);
        }
        Ok(out)
    }

    /// The same as [`Self::items`], at least one.
    pub(crate) fn some_items<T: Fields>(&mut self, wanted: TlvType) -> Result<Vec<T>, DecodeError> {
        let missing = self.reader.error(DecodeErrorKind::MissingTlv(wanted.label()));
        let out = self.items(wanted)?;
        if out.is_empty() { Err(missing) } else { Ok(out) }
    }

    /// Checks that no known or critical TLV is left.
    ///
    /// # Errors
    /// Unexpected or unknown critical TLV, truncated.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        match self.peek()? {
            None => Ok(()),
            Some(t) => Err(self.reader.error(DecodeErrorKind::UnexpectedTlv(t.label()))),
        }
    }
}

/// Writes fields; remembers the first value that had no encoding.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    error: Option<EncodeError>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(256), error: None }
    }

    /// Records that a field has a value that cannot be encoded.
    pub fn refuse(&mut self, what: &'static str, value: u64) {
        self.error.get_or_insert(EncodeError::BadValue { what, value });
    }

    /// [`Self::refuse`]s unless `ok`.
    pub fn check(&mut self, ok: bool, what: &'static str, value: u64) {
        if !ok {
            self.refuse(what, value);
        }
    }

    /// Raw bytes.
    pub fn bytes(&mut self, v: &[u8]) {
        self.bytes.extend_from_slice(v);
    }

    /// One byte.
    pub fn u8(&mut self, v: u8) {
        self.bytes.push(v);
    }

    /// Two bytes, big endian.
    pub fn u16(&mut self, v: u16) {
        self.bytes(&v.to_be_bytes());
    }

    /// Four bytes, big endian.
    pub fn u32(&mut self, v: u32) {
        self.bytes(&v.to_be_bytes());
    }

    /// Eight bytes, big endian.
    pub fn u64(&mut self, v: u64) {
        self.bytes(&v.to_be_bytes());
    }

    /// A span in four bytes; longer ones have no encoding.
    pub fn millis(&mut self, v: Millis, what: &'static str) {
        match u32::try_from(v.0) {
            Ok(ms) => self.u32(ms),
            Err(_) => self.refuse(what, v.0),
        }
    }

    /// Eight bytes of which not all are 0.
    pub fn nonzero_u64(&mut self, v: u64, what: &'static str) {
        self.check(v != 0, what, v);
        self.u64(v);
    }

    /// A name: length byte, wire form.
    pub fn name(&mut self, v: &Name) {
        // A name has at most 255 bytes by construction.
        self.u8(u8::try_from(v.wire().len()).unwrap_or(u8::MAX));
        self.bytes(v.wire());
    }

    /// A node identity: length byte, text.
    pub fn node_id(&mut self, v: &NodeId) {
        // A node identity has at most 32 bytes by construction.
        self.u8(u8::try_from(v.as_str().len()).unwrap_or(u8::MAX));
        self.bytes(v.as_str().as_bytes());
    }

    /// A TLV whose value `fill` writes.
    pub fn tlv(&mut self, t: TlvType, fill: impl FnOnce(&mut Self)) {
        self.u8(t.code());
        let length_at = self.bytes.len();
        self.u16(0);
        fill(self);
        let len = self.bytes.len() - length_at - 2;
        match u16::try_from(len) {
            Ok(v) => self.bytes[length_at..length_at + 2].copy_from_slice(&v.to_be_bytes()),
            Err(_) => self.refuse(t.label(), len as u64),
        }
    }

    /// A TLV with one value.
    pub(crate) fn item(&mut self, t: TlvType, value: &impl Fields) {
        self.tlv(t, |w| value.put(w));
    }

    /// A TLV for each value.
    pub(crate) fn items(&mut self, t: TlvType, values: &[impl Fields]) {
        for v in values {
            self.item(t, v);
        }
    }

    /// The same as [`Self::items`], at least one.
    pub(crate) fn some_items(&mut self, t: TlvType, values: &[impl Fields]) {
        self.check(!values.is_empty(), t.label(), 0);
        self.items(t, values);
    }

    /// The bytes written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, even if a value could not be encoded. For signed parts: encoding the whole message reports the error.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes.
    ///
    /// # Errors
    /// The first value that has no encoding.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        match self.error {
            None => Ok(self.bytes),
            Some(e) => Err(e),
        }
    }
}
