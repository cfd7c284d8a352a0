//! How many segments are asked for at one time: a window that grows while answers come and shrinks when one is lost (after
//! RFC 5681), so that fetching a large result does not fill the queues on its way.

/// Segments in flight at first, and at least: some 10 kB, as RFC 6928 has it.
const LEAST: u32 = 8;
/// Segments in flight at most.
const MOST: u32 = 256;
/// Parts of a segment in which the window grows.
const PARTS: u32 = 1024;

/// The window of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// In parts of a segment.
    size: u32,
    /// Below it the window doubles with each round trip, above it grows by one.
    threshold: u32,
    /// Losses of what was sent before this number are part of the last one.
    recovered_at: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: LEAST * PARTS, threshold: MOST * PARTS, recovered_at: 0 }
    }
}

impl Window {
    /// Segments that may be in flight.
    #[must_use]
    pub const fn segments(&self) -> usize {
        (self.size / PARTS) as usize
    }

    /// A segment came.
    pub fn came(&mut self) {
        let step = if self.size < self.threshold { PARTS } else { PARTS * PARTS / self.size };
        self.size = (self.size + step.max(1)).min(MOST * PARTS);
    }

    /// The segment that was asked for as number `sent` of all was lost; `next` is the number of the next one.
    pub fn lost(&mut self, sent: u64, next: u64) {
        if sent >= self.recovered_at {
            self.size = (self.size / 2).max(LEAST * PARTS);
            self.threshold = self.size;
            self.recovered_at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_then_grows_by_one_and_halves_once_for_each_window_of_losses() {
        let mut window = Window::default();
        assert_eq!(window.segments(), 8);
        (0..8).for_each(|_| window.came());
        assert_eq!(window.segments(), 16, "doubled in a round trip");
        (0..1000).for_each(|_| window.came());
        assert_eq!(window.segments(), 256, "bounded");
        window.lost(1000, 1256);
        assert_eq!(window.segments(), 128);
        window.lost(1100, 1300);
        assert_eq!(window.segments(), 128, "of the same window");
        (0..128).for_each(|_| window.came());
        assert!((128..=129).contains(&window.segments()), "one more in a round trip: {}", window.segments());
        (0..20).for_each(|i| window.lost(2000 + 1000 * i, 3000 + 1000 * i));
        assert_eq!(window.segments(), 8, "never less");
    }
}
