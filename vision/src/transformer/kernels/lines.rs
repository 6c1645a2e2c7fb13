//! Memory that begins at a line of the cache, so that no vector or row of a tile lies on two.

/// Bytes of a line.
pub(super) const LINE: usize = 64;

#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
struct Line([u8; LINE]);

/// Whole lines of zeros at first.
#[derive(Debug, Clone)]
pub(super) struct Lines(Vec<Line>);

/// Numbers of which every combination of bits is one.
pub(super) trait Number: Copy {}

impl Number for u8 {}
impl Number for u32 {}
impl Number for f32 {}

impl Lines {
    /// Room for so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(vec![Line([0; LINE]); bytes.div_ceil(LINE)])
    }

    /// Bytes of all lines.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * LINE
    }

    pub(super) fn of<T: Number>(&self) -> &[T] {
        // SAFETY: the lines hold so many numbers, are aligned for them, and any bits are one.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.bytes() / size_of::<T>()) }
    }

    pub(super) fn of_mut<T: Number>(&mut self) -> &mut [T] {
        // SAFETY: as above, and they are borrowed mutably.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.0.as_mut_ptr().cast(),
                self.bytes() / size_of::<T>(),
            )
        }
    }
}
