//! Many frames in memory, in chunks that are freed as a whole once no case needs them.

use damc_testbed::recording::Entry;

/// Bytes of frames in a chunk.
const CHUNK: usize = 256 << 10;

/// Frames in the order they came.
#[derive(Default)]
pub(super) struct Log {
    chunks: Vec<Chunk>,
}

#[derive(Default)]
struct Chunk {
    heads: Vec<Head>,
    bytes: Vec<u8>,
    newest_ns: u64,
}

/// A frame of a chunk; it begins where the one before it ends.
struct Head {
    at_ns: u64,
    end: u32,
    port: u16,
    sent: bool,
}

impl Log {
    pub(super) fn push(&mut self, entry: Entry<'_>) {
        let full = |chunk: &Chunk| chunk.bytes.len() + entry.frame.len() > CHUNK;
        if self.chunks.last().is_none_or(full) {
            self.chunks.push(Chunk { bytes: Vec::with_capacity(CHUNK), ..Chunk::default() });
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        chunk.bytes.extend(entry.frame);
        chunk.newest_ns = chunk.newest_ns.max(entry.at_ns);
        let end = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        chunk.heads.push(Head { at_ns: entry.at_ns, end, port: entry.port, sent: entry.sent });
    }

    /// Everything since `from_ns`, in the order it came.
    pub(super) fn since(&self, from_ns: u64) -> impl Iterator<Item = Entry<'_>> {
        let fresh = self.chunks.iter().filter(move |chunk| chunk.newest_ns >= from_ns);
        fresh.flat_map(Chunk::entries).filter(move |entry| entry.at_ns >= from_ns)
    }

    /// Where the log ends now, for [`Log::after`].
    pub(super) fn end(&self) -> Place {
        let last = self.chunks.len().saturating_sub(1);
        Place { chunk: last, entry: self.chunks.get(last).map_or(0, |chunk| chunk.heads.len()) }
    }

    /// Everything after a place. A place is valid only until frames are forgotten.
    pub(super) fn after(&self, place: Place) -> impl Iterator<Item = Entry<'_>> {
        let chunks = self.chunks.iter().enumerate().skip(place.chunk);
        chunks.flat_map(move |(i, chunk)| chunk.entries().skip(if i == place.chunk { place.entry } else { 0 }))
    }

    /// Forgets the chunks in which every frame is older than `at_ns`.
    pub(super) fn forget_before(&mut self, at_ns: u64) {
        self.chunks.retain(|chunk| chunk.newest_ns >= at_ns);
    }
}

/// A place in a [`Log`]; the default is its beginning.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    chunk: usize,
    entry: usize,
}

impl Chunk {
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.heads.iter().scan(0, |start, head| {
            let frame = self.bytes.get(*start..head.end as usize)?;
            *start = head.end as usize;
            Some(Entry { at_ns: head.at_ns, port: head.port, sent: head.sent, frame })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_ns: u64, frame: &[u8]) -> Entry<'_> {
        Entry { at_ns, port: 3, sent: true, frame }
    }

    #[test]
    fn frames_come_back_as_they_went_in() {
        let mut log = Log::default();
        assert_eq!((log.since(0).count(), log.after(log.end()).count()), (0, 0));
        let frames: Vec<Vec<u8>> = (0..2000_usize).map(|i| vec![i.to_le_bytes()[0]; i]).collect();
        for (frame, at) in frames.iter().zip(0..) {
            log.push(entry(at, frame));
        }
        assert!(log.chunks.len() > 4, "{} chunks", log.chunks.len());
        assert!(log.since(0).map(|e| e.frame).eq(frames.iter().map(Vec::as_slice)));
        assert!(log.since(1500).map(|e| e.at_ns).eq(1500..2000));
    }

    #[test]
    fn reading_goes_on_where_it_ended_across_chunks() {
        let mut log = Log::default();
        let (mut place, mut read) = (Place::default(), Vec::new());
        for at in 0..100 {
            log.push(entry(at, &[0; 9000]));
            if at % 7 == 0 {
                read.extend(log.after(place).map(|e| e.at_ns));
                place = log.end();
            }
        }
        read.extend(log.after(place).map(|e| e.at_ns));
        assert!(read.iter().copied().eq(0..100), "{read:?}");
    }

    #[test]
    fn what_is_forgotten_gives_its_memory_back() {
        let mut log = Log::default();
        for at in 0..1000 {
            log.push(entry(at, &[0; 1000]));
        }
        log.forget_before(900);
        assert!(log.since(0).count() < 500 && log.since(900).count() == 100);
        assert!(log.chunks.len() <= 2);
        log.forget_before(5000);
        assert_eq!(log.since(0).count(), 0);
    }
}
