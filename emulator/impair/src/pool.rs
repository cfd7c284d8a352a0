//! Buffers for the frames on their way, used again and again.

/// A buffer of a [`FramePool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// Frame buffers. Grows to the largest number of frames ever held and allocates nothing after that.
#[derive(Debug, Default)]
pub struct FramePool {
    buffers: Vec<Vec<u8>>,
    free: Vec<Slot>,
}

/// First capacity of a buffer: an Ethernet frame of the usual MTU with a VLAN tag.
const BUFFER_CAPACITY: usize = 1_536;

impl FramePool {
    /// A pool with `frames` buffers made in advance.
    #[must_use]
    pub fn with_capacity(frames: u32) -> Self {
        let buffers = (0..frames).map(|_| Vec::with_capacity(BUFFER_CAPACITY)).collect();
        Self { buffers, free: (0..frames).rev().map(Slot).collect() }
    }

    /// Copies a frame into a free buffer.
    pub fn store(&mut self, frame: &[u8]) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::with_capacity(BUFFER_CAPACITY));
            Slot(u32::try_from(self.buffers.len() - 1).expect("invariant: queue limits keep the pool below 2^32"))
        });
        let buffer = &mut self.buffers[slot.0 as usize];
        buffer.clear();
        buffer.extend_from_slice(frame);
        slot
    }

    /// The frame in a buffer.
    #[must_use]
    pub fn frame(&self, slot: Slot) -> &[u8] {
        &self.buffers[slot.0 as usize]
    }

    /// The frame in a buffer, to change.
    pub fn frame_mut(&mut self, slot: Slot) -> &mut [u8] {
        &mut self.buffers[slot.0 as usize]
    }

    /// Gives a buffer back.
    pub fn release(&mut self, slot: Slot) {
        self.free.push(slot);
    }

    /// Buffers in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.buffers.len() - self.free.len()
    }
}
