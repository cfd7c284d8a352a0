//! What passed the interfaces of a network namespace, as the kernel counts it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes of one interface since it exists, Ethernet headers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceBytes {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

/// Reads the counters of all interfaces of one network namespace.
///
/// Out of `/proc/net/dev`: unlike route netlink, reading it does not wait for the kernel's lock over all network
/// configuration, which is busy while a lab of hundreds of nodes is being built.
#[derive(Debug)]
pub struct TrafficReader {
    file: File,
    text: Vec<u8>,
}

impl TrafficReader {
    /// Reads those of the network namespace the calling thread is in now.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new("/proc/thread-self/net/dev"))
    }

    /// Reads a file in the format of `/proc/net/dev`.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_at(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, text: Vec::new() })
    }

    /// Tells the present counters of each interface.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(&mut self, mut tell: impl FnMut(&str, InterfaceBytes)) -> io::Result<()> {
        const STEP: usize = 4096;
        let mut length = 0;
        loop {
            self.text.resize(length + STEP, 0);
            let read = self.file.read_at(&mut self.text[length..], length as u64)?;
            length += read;
            if read == 0 {
                break;
            }
        }
        let text = std::str::from_utf8(&self.text[..length]).map_err(io::Error::other)?;
        for (name, bytes) in text.lines().filter_map(parse) {
            tell(name, bytes);
        }
        Ok(())
    }
}

/// Name and counters of a line; none for the two lines of headings.
fn parse(line: &str) -> Option<(&str, InterfaceBytes)> {
    // Eight columns of what was received, bytes first, then those of what was sent.
    const SENT: usize = 8;
    let (name, columns) = line.split_once(':')?;
    let mut columns = columns.split_ascii_whitespace();
    let received = columns.next()?.parse().ok()?;
    let sent = columns.nth(SENT - 1)?.parse().ok()?;
    Some((name.trim(), InterfaceBytes { sent, received }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_interfaces_are_read_and_headings_are_not() {
        let line = " sg-1.sr-1: 1200   10    0    0    0     0          0         0     3400   20    0    0 0 0 0 0";
        assert_eq!(parse(line), Some(("sg-1.sr-1", InterfaceBytes { sent: 3400, received: 1200 })));
        assert_eq!(parse("Inter-|   Receive                |  Transmit"), None);
        assert_eq!(parse(" face |bytes    packets errs"), None);
        assert_eq!(parse("lo: 1 2"), None, "cut short");
        assert_eq!(parse("lo: x 2 3 4 5 6 7 8 9"), None);
    }

    #[test]
    fn the_kernel_writes_what_is_read_here() {
        let mut reader = TrafficReader::open().expect("/proc");
        for _ in 0..2 {
            let mut names = Vec::new();
            reader.read(|name, _| names.push(name.to_owned())).expect("readable");
            assert!(names.contains(&"lo".to_owned()), "{names:?}");
        }
    }
}
