//! The writing end: segments, the oldest of which go.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Header, RECORD_HEADER, SEGMENTS, encode_head, header_path, segment_path};

/// Bytes gathered before a write.
const BUFFER: usize = 1 << 18;

/// Writes a recording.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: PathBuf,
    segment: u64,
    segment_bytes: u64,
    written: u64,
    out: BufWriter<File>,
}

impl Writer {
    /// Begins a recording in `folder`, which it makes. It takes about `bound` bytes at most; what is older goes.
    pub(crate) fn create(folder: &Path, header: &Header, bound: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(header_path(folder), serde_json::to_vec(header)?)?;
        let out = open(folder, 0)?;
        Ok(Self { folder: folder.to_owned(), segment: 0, segment_bytes: bound.div_ceil(SEGMENTS), written: 0, out })
    }

    /// Adds a record; gives the bytes it takes. A frame longer than 65535 bytes is none of an Ethernet's and left out.
    pub(crate) fn record(&mut self, port: u16, sent: bool, at_ns: u64, frame: &[u8]) -> io::Result<u64> {
        let Ok(length) = u16::try_from(frame.len()) else { return Ok(0) };
        if self.written >= self.segment_bytes {
            self.turn_over()?;
        }
        self.out.write_all(&encode_head(length, port, sent, at_ns))?;
        self.out.write_all(frame)?;
        let bytes = RECORD_HEADER as u64 + u64::from(length);
        self.written += bytes;
        Ok(bytes)
    }

    /// Everything recorded so far can be read after this.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Begins the next segment. The one before is complete by then: readers rely on that order.
    fn turn_over(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.segment += 1;
        self.out = open(&self.folder, self.segment)?;
        self.written = 0;
        match self.segment.checked_sub(SEGMENTS) {
            Some(oldest) => fs::remove_file(segment_path(&self.folder, oldest)),
            None => Ok(()),
        }
    }
}

fn open(folder: &Path, segment: u64) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(BUFFER, File::create(segment_path(folder, segment))?))
}
