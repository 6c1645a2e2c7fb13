//! How a pool and its processes speak: numbers with their lowest byte first, texts and bytes after their lengths.
//!
//! A process first hears what the limits are and says hello; then for each picture it hears a request, says once or twice how much memory
//! it needs and waits for leave, and gives one answer. Neither side believes the other a length.

use crate::geometry::Geometry;

/// Changes with everything here.
pub(super) const VERSION: u32 = 1;

/// Sizes of copies that one request may name.
pub(super) const MOST_COPIES: usize = 16;

/// Longest word and longest sentence of a failure.
pub(super) const WORD: usize = 32;
pub(super) const SENTENCE: usize = 2048;

/// What a request begins with.
pub(super) mod ask {
    pub(in super::super) const PIXELS: u8 = 1;
    pub(in super::super) const INFO: u8 = 2;
    pub(in super::super) const COPIES: u8 = 3;
    /// Leave to take the memory.
    pub(in super::super) const GO: u8 = 4;
}

/// What an answer begins with.
pub(super) mod say {
    pub(in super::super) const HELLO: u8 = 11;
    pub(in super::super) const NEEDS: u8 = 12;
    pub(in super::super) const PIXELS: u8 = 13;
    pub(in super::super) const INFO: u8 = 14;
    pub(in super::super) const COPIES: u8 = 15;
    pub(in super::super) const FAILED: u8 = 16;
}

/// The limits and who they come from: bytes, pixels, memory, milliseconds, and the number of the process that decodes are for.
pub(super) struct Settings {
    pub(super) max_bytes: u64,
    pub(super) max_pixels: u64,
    pub(super) max_memory: u64,
    pub(super) milliseconds: u64,
    pub(super) parent: u32,
}

impl Settings {
    pub(super) const BYTES: usize = 40;

    pub(super) fn written(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.parent.to_le_bytes());
        for number in [
            self.max_bytes,
            self.max_pixels,
            self.max_memory,
            self.milliseconds,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    /// `None` where the other side is of another version.
    pub(super) fn read(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let long = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let first = long(0);
        (first as u32 == VERSION).then(|| Self {
            parent: (first >> 32) as u32,
            max_bytes: long(8),
            max_pixels: long(16),
            max_memory: long(24),
            milliseconds: long(32),
        })
    }
}

/// A geometry as three numbers.
pub(super) fn geometry_written(geometry: Geometry) -> [u32; 3] {
    match geometry {
        Geometry::Full => [0, 0, 0],
        Geometry::CentreCrop { short_side, size } => [1, short_side, size],
        Geometry::Within { side } => [2, side, 0],
    }
}

pub(super) fn geometry_read(numbers: [u32; 3]) -> Option<Geometry> {
    match numbers {
        [0, 0, 0] => Some(Geometry::Full),
        [1, short_side, size] => Some(Geometry::CentreCrop { short_side, size }),
        [2, side, 0] => Some(Geometry::Within { side }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let settings = Settings {
            max_bytes: 1,
            max_pixels: 2 << 40,
            max_memory: 3,
            milliseconds: 4,
            parent: 77,
        };
        let bytes: [u8; Settings::BYTES] = settings.written().try_into().unwrap();
        let read = Settings::read(&bytes).unwrap();
        assert_eq!(
            (read.parent, read.max_bytes, read.max_pixels),
            (77, 1, 2 << 40)
        );
        assert_eq!((read.max_memory, read.milliseconds), (3, 4));
        assert!(Settings::read(&[9; Settings::BYTES]).is_none());
        for geometry in [
            Geometry::Full,
            Geometry::Within { side: 7 },
            Geometry::CentreCrop {
                short_side: 9,
                size: 8,
            },
        ] {
            assert_eq!(geometry_read(geometry_written(geometry)), Some(geometry));
        }
        assert_eq!(geometry_read([3, 0, 0]), None);
    }
}
