//! The reading end, while the recording grows too.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{
    Entry, Header, RECORD_HEADER, Record, RecordedPort, Wanted, decode_head, header_path, is_ipv6, segment_path,
};
use crate::error::{LabError, Result};

/// A recording that is being read, while it grows too.
#[derive(Debug)]
pub struct Recording {
    folder: PathBuf,
    header: Header,
    segment: u64,
    file: File,
    /// Where the next record of the segment begins.
    position: u64,
    missed: bool,
}

impl Recording {
    /// Opens a recording at the oldest record it still has.
    ///
    /// # Errors
    /// When the folder cannot be read or is no recording.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = header_path(folder);
        let text = path.display().to_string();
        let json = fs::read(&path).map_err(LabError::io(format!("open the recording {text}")))?;
        let header = serde_json::from_slice(&json).map_err(|error| LabError::Lab(format!("{text}: {error}")))?;
        let (segment, file) = oldest(folder)?;
        Ok(Self { folder: folder.to_owned(), header, segment, file, position: 0, missed: false })
    }

    /// What was recorded where.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Whether records were gone before they were read: the reader came too late for the bound of the recording.
    #[must_use]
    pub const fn missed(&self) -> bool {
        self.missed
    }

    /// Goes to the end as it is now: the next reading gives what is recorded from here on.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn skip_to_end(&mut self) -> Result<()> {
        // Record by record, because the end of the file may lie within one that is being written.
        self.each(&Wanted { until_ns: Some(0), ..Wanted::default() }, |_, _| {})
    }

    /// The wanted records written since the last reading, in the order of their stamps.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn read(&mut self, wanted: &Wanted) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        self.each(wanted, |at, entry| records.push(entry.record(at)))?;
        records.sort_by_key(|record| record.at_ns);
        Ok(records)
    }

    /// Tells the wanted records written since the last reading, each with its port, as they were recorded.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn each(&mut self, wanted: &Wanted, mut tell: impl FnMut(&RecordedPort, Entry<'_>)) -> Result<()> {
        loop {
            // The next segment begins after this one is complete, so it has to be looked for before this one's end is.
            let next = self.next_segment()?;
            self.rest_of_segment(wanted, &mut tell)?;
            let Some((number, file)) = next else { return Ok(()) };
            self.missed |= number != self.segment + 1;
            (self.segment, self.file, self.position) = (number, file, 0);
        }
    }

    /// The segment after this one; where that is gone too, the oldest there is.
    fn next_segment(&self) -> Result<Option<(u64, File)>> {
        match File::open(segment_path(&self.folder, self.segment + 1)) {
            Ok(file) => Ok(Some((self.segment + 1, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let found = oldest(&self.folder)?;
                Ok((found.0 > self.segment).then_some(found))
            }
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn rest_of_segment(&mut self, wanted: &Wanted, tell: &mut impl FnMut(&RecordedPort, Entry<'_>)) -> Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.position)).map_err(|e| self.unreadable(e))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut head = [0; RECORD_HEADER];
        let mut frame = Vec::new();
        loop {
            if !filled(&mut reader, &mut head).map_err(|e| self.unreadable(e))? {
                return Ok(());
            }
            let (length, port, sent, at_ns) = decode_head(&head);
            frame.resize(usize::from(length), 0);
            if !filled(&mut reader, &mut frame).map_err(|e| self.unreadable(e))? {
                return Ok(());
            }
            self.position += (RECORD_HEADER + frame.len()) as u64;
            let Some(at) = self.header.ports.get(usize::from(port)) else { continue };
            if wanted.takes(at_ns, at, sent) && (wanted.ipv6 || !is_ipv6(&frame)) {
                tell(at, Entry { at_ns, port, sent, frame: &frame });
            }
        }
    }

    fn unreadable(&self, error: io::Error) -> LabError {
        LabError::io(format!("read the recording {}", self.folder.display()))(error)
    }
}

/// The oldest segment there is. The writer may remove it between listing and opening, so a few attempts are made.
fn oldest(folder: &Path) -> Result<(u64, File)> {
    let doing = || format!("read the recording {}", folder.display());
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no segment");
    for _ in 0..3 {
        let names = fs::read_dir(folder).map_err(LabError::io(doing()))?;
        let numbers = names.filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_suffix(".rec")?.parse::<u64>().ok()
        });
        let Some(number) = numbers.min() else { break };
        match File::open(segment_path(folder, number)) {
            Ok(file) => return Ok((number, file)),
            Err(error) => last = error,
        }
    }
    Err(LabError::io(doing())(last))
}

/// Fills the buffer; false where the file ends before.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
