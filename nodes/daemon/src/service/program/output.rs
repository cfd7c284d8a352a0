//! What a program prints: into the log line by line, and the last of it for whoever asks why it ended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::Child;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Longest line that is kept whole, bytes.
const LONGEST_LINE: usize = 4096;
/// Lines that are remembered, and how much of each, in characters.
const REMEMBERED: usize = 3;
const REMEMBERED_LENGTH: usize = 300;

/// Standard output and error.
pub(super) struct Outputs {
    /// Each with what is left of an unfinished line.
    files: [(File, Vec<u8>); 2],
    /// Who prints.
    who: String,
    wanted: Option<String>,
    /// The line that means readiness was printed.
    pub(super) line_seen: bool,
    last: VecDeque<String>,
}

impl Outputs {
    /// Of a child whose outputs are pipes. `wanted` is the text that means readiness.
    pub(super) fn of(child: &mut Child, who: String, wanted: Option<String>) -> io::Result<Self> {
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let files = [File::from(OwnedFd::from(out)), File::from(OwnedFd::from(err))].map(|file| (file, Vec::new()));
        for (file, _) in &files {
            fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { files, who, wanted, line_seen: false, last: VecDeque::new() })
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(|(file, _)| file.as_fd())
    }

    /// Takes what is there.
    pub(super) fn read(&mut self) {
        let Self { files, who, wanted, line_seen, last } = self;
        for (file, rest) in files {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = file.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..count]);
                while let Some(line) = line_of(rest) {
                    *line_seen |= wanted.as_ref().is_some_and(|wanted| line.contains(wanted.as_str()));
                    tracing::info!(target: "program", "{who}: {line}");
                    remember(last, &line);
                }
            }
        }
    }

    /// The last lines, to the end of what was printed.
    pub(super) fn last_words(&mut self) -> Vec<String> {
        self.read();
        for (_, rest) in &mut self.files {
            if !rest.is_empty() {
                remember(&mut self.last, &String::from_utf8_lossy(&std::mem::take(rest)));
            }
        }
        self.last.iter().cloned().collect()
    }
}

/// Takes a line, or as much as is kept of one.
fn line_of(rest: &mut Vec<u8>) -> Option<String> {
    let end = rest.iter().position(|b| *b == b'\n').or((rest.len() > LONGEST_LINE).then_some(LONGEST_LINE))?;
    let line: Vec<u8> = rest.drain(..=end).collect();
    Some(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn remember(last: &mut VecDeque<String>, line: &str) {
    if line.trim().is_empty() {
        return;
    }
    if last.len() >= REMEMBERED {
        last.pop_front();
    }
    last.push_back(line.chars().take(REMEMBERED_LENGTH).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_one_by_one_and_endless_ones_in_pieces() {
        let mut rest = b"one\ntwo\r\nthr".to_vec();
        assert_eq!(line_of(&mut rest).as_deref(), Some("one"));
        assert_eq!(line_of(&mut rest).as_deref(), Some("two"));
        assert_eq!(line_of(&mut rest), None);
        assert_eq!(rest, b"thr");
        let mut rest = vec![b'x'; LONGEST_LINE + 10];
        assert_eq!(line_of(&mut rest).map(|line| line.len()), Some(LONGEST_LINE + 1));
    }

    #[test]
    fn the_last_lines_are_remembered() {
        let mut last = VecDeque::new();
        for line in ["a", "b", " ", "c", &"d".repeat(1000)] {
            remember(&mut last, line);
        }
        assert_eq!(last, ["b", "c", &"d".repeat(REMEMBERED_LENGTH)]);
    }
}
