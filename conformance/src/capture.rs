//! The capture of a case: which recorded frames it holds, and the comments that tell its reader where to look.
//!
//! Frames that a check rests on and those the case injected always come first. Control frames of all links follow,
//! then calls and packets. Echoes and probes are kept on the links the case is about only. What no longer fits the
//! bound is left out from the least to the most telling, and the comment on the file says how much.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;

use damc_testbed::recording::{Header, Record, is_ipv6, pcapng_length, pcapng_record, pcapng_start};
use damc_wire::MessageType;
use serde::{Deserialize, Serialize};

use crate::trace::Seen;

/// Most bytes of a capture.
pub const BOUND: usize = 5_000_000;
/// Of these, kept for the description of section and interfaces.
const HEAD: usize = 100_000;
/// Longest comment on a frame, in characters.
const LONGEST: usize = 400;

/// A frame that a check rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// When it was recorded, monotonic clock, ns.
    pub at_ns: u64,
    /// At which node.
    pub node: String,
    /// At which of its ports.
    pub port: String,
    /// Sent, or received.
    pub sent: bool,
    /// What it was looked at for.
    pub why: String,
}

impl Citation {
    /// Of a recorded frame.
    #[must_use]
    pub fn of(seen: &Seen, why: &str) -> Self {
        let (node, port) = (seen.node.clone(), seen.port.clone());
        Self { at_ns: seen.at_ns, node, port, sent: seen.sent, why: why.to_owned() }
    }

    fn is_of(&self, record: &Record) -> bool {
        (self.at_ns, self.sent, &*self.node, &*self.port) == (record.at_ns, record.sent, &*record.node, &*record.port)
    }
}

/// A frame that a check rests on, in the capture of its case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CitedFrame {
    /// Its number in the capture, from 1.
    pub number: usize,
    /// Since the case began, ms; negative just before.
    pub at_ms: f64,
    /// Where it was seen: `sg-1 → sr-left` for a frame that sg-1 sent there.
    pub link: String,
    /// What it was looked at for.
    pub why: String,
    /// The frame in one line.
    pub frame: String,
}

/// What a capture is about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Comment on the whole file.
    pub title: String,
    /// When the case began, monotonic clock, ns.
    pub began_ns: u64,
    /// Frames that checks rest on.
    pub cited: Vec<Citation>,
    /// PDUs that the case injected.
    pub injected: BTreeSet<Vec<u8>>,
    /// What happened in between, by time: events of nodes, stalls of the host.
    pub notes: Vec<(u64, String)>,
    /// Nodes that the case's reason names.
    pub nodes: BTreeSet<String>,
}

/// How telling a kind of frame is; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Cited,
    ControlHere,
    ControlElsewhere,
    TrafficHere,
    TrafficElsewhere,
    LivenessHere,
    LivenessElsewhere,
}

impl Rank {
    const fn label(self) -> &'static str {
        match self {
            Self::Cited => "frames that checks rest on",
            Self::ControlHere => "control frames of the links in question",
            Self::ControlElsewhere => "control frames of other links",
            Self::TrafficHere => "calls and packets on the links in question",
            Self::TrafficElsewhere => "calls and packets on other links",
            Self::LivenessHere => "echoes and probes of the links in question",
            Self::LivenessElsewhere => "echoes and probes of other links",
        }
    }
}

/// The frames of a capture, by time, each with its comments.
#[derive(Debug)]
pub struct Selection {
    frames: Vec<(Record, Vec<String>)>,
    left_out: BTreeMap<Rank, usize>,
}

impl Subject {
    /// Nodes of the topology that a text names.
    pub fn nodes_in<'a>(text: &str, nodes: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let in_identity = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let words: BTreeSet<&str> = text.split(|c| !in_identity(c)).map(|word| word.trim_matches('.')).collect();
        nodes.filter(|node| words.contains(node)).map(str::to_owned).collect()
    }

    /// Whether a link is one of those in question: the case looked at it, or its reason names both ends, or one end
    /// and no other node.
    fn concerns(&self, node: &str, port: &str) -> bool {
        let looked_at = |c: &Citation| (&*c.node, &*c.port) == (node, port) || (&*c.port, &*c.node) == (node, port);
        let named = usize::from(self.nodes.contains(node)) + usize::from(self.nodes.contains(port));
        self.cited.iter().any(looked_at) || named == 2 || (named == 1 && self.nodes.len() == 1)
    }

    fn was_injected(&self, record: &Record) -> bool {
        record.sent && self.injected.contains(record.pdu())
    }

    fn rank(&self, record: &Record) -> Rank {
        if self.cited.iter().any(|c| c.is_of(record)) || self.was_injected(record) {
            return Rank::Cited;
        }
        let here = self.concerns(&record.node, &record.port);
        let kind = record.pdu().get(1).copied().and_then(MessageType::from_code);
        match kind.filter(|_| !is_ipv6(&record.frame)) {
            Some(MessageType::Echo | MessageType::Probe | MessageType::ProbeReply) if here => Rank::LivenessHere,
            Some(MessageType::Echo | MessageType::Probe | MessageType::ProbeReply) => Rank::LivenessElsewhere,
            None | Some(MessageType::Data | MessageType::Packet) if here => Rank::TrafficHere,
            None | Some(MessageType::Data | MessageType::Packet) => Rank::TrafficElsewhere,
            Some(_) if here => Rank::ControlHere,
            Some(_) => Rank::ControlElsewhere,
        }
    }

    /// Comments of the case's own on a frame.
    fn comments(&self, record: &Record) -> Vec<String> {
        let cited =
            self.cited.iter().filter(|c| c.is_of(record)).map(|c| format!("the check rests on this: {}", c.why));
        cited
            .chain(self.was_injected(record).then(|| "the case injected this".to_owned()))
            .map(|text| shortened(&text))
            .collect()
    }

    /// Chooses the frames of a capture of at most `bound` bytes.
    #[must_use]
    pub fn select(&self, records: Vec<Record>, bound: usize) -> Selection {
        let mut by_rank: BTreeMap<Rank, Vec<Record>> = BTreeMap::new();
        for record in records {
            by_rank.entry(self.rank(&record)).or_default().push(record);
        }
        let notes: usize = self.notes.iter().map(|(_, text)| 8 + shortened(text).len()).sum();
        let mut room = bound.saturating_sub(HEAD + notes);
        let mut selection = Selection { frames: Vec::new(), left_out: BTreeMap::new() };
        let elsewhere = by_rank.remove(&Rank::LivenessElsewhere).unwrap_or_default();
        selection.leave_out(Rank::LivenessElsewhere, elsewhere.len());
        for (rank, mut records) in by_rank {
            // The newest are the nearest to what went wrong.
            records.sort_by_key(|record| std::cmp::Reverse(record.at_ns));
            let all = records.len();
            let commented = records.into_iter().map(|record| (self.comments(&record), record));
            let fitting = commented.take_while(|(comments, record)| {
                let needed = pcapng_length(&record.frame, comments);
                let fits = needed <= room;
                room -= if fits { needed } else { 0 };
                fits
            });
            let before = selection.frames.len();
            selection.frames.extend(fitting.map(|(comments, record)| (record, comments)));
            let left = all - (selection.frames.len() - before);
            selection.leave_out(rank, left);
            // What tells less does not take the place of what tells more.
            room = if left > 0 { 0 } else { room };
        }
        selection.frames.sort_by_key(|(record, _)| (record.at_ns, !record.sent));
        selection.annotate(&self.notes);
        selection
    }
}

impl Selection {
    fn leave_out(&mut self, rank: Rank, count: usize) {
        if count > 0 {
            *self.left_out.entry(rank).or_default() += count;
        }
    }

    /// Puts each note on the first frame after it, or on the last one.
    fn annotate(&mut self, notes: &[(u64, String)]) {
        for (at_ns, text) in notes {
            let place = self.frames.partition_point(|(record, _)| record.at_ns < *at_ns);
            let place = place.min(self.frames.len().saturating_sub(1));
            if let Some((record, comments)) = self.frames.get_mut(place) {
                let ms = (i128::from(record.at_ns) - i128::from(*at_ns)) as f64 / 1e6;
                let when = if ms < 0.0 { format!("{:.3} ms later", -ms) } else { format!("{ms:.3} ms before") };
                comments.push(shortened(&format!("{when}: {text}")));
            }
        }
    }

    /// The frames that checks rest on.
    #[must_use]
    pub fn cited(&self, subject: &Subject) -> Vec<CitedFrame> {
        let numbered = self.frames.iter().enumerate();
        let cited = numbered.filter_map(|(index, (record, _))| {
            let citation = subject.cited.iter().find(|c| c.is_of(record))?;
            let (from, to) = if record.sent { (&record.node, &record.port) } else { (&record.port, &record.node) };
            Some(CitedFrame {
                number: index + 1,
                at_ms: (i128::from(record.at_ns) - i128::from(subject.began_ns)) as f64 / 1e6,
                link: format!("{from} → {to}, at {}", record.node),
                why: citation.why.clone(),
                frame: damc_wire::pretty::ethernet(&record.frame),
            })
        });
        cited.collect()
    }

    /// The pcapng file.
    ///
    /// # Errors
    /// None in practice: it is written to memory.
    pub fn write(&self, header: &Header, title: &str) -> io::Result<Vec<u8>> {
        let mut comment = title.to_owned();
        for (rank, count) in &self.left_out {
            // Writing into a string cannot fail.
            let _ = write!(comment, "\nleft out: {count} {}", rank.label());
        }
        let mut bytes = Vec::new();
        pcapng_start(&mut bytes, header, &comment)?;
        for (record, comments) in &self.frames {
            pcapng_record(&mut bytes, header, record, comments)?;
        }
        Ok(bytes)
    }
}

/// At most [`LONGEST`] characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
