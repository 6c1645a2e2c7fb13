//! Which images look like one that was seen before: the same picture at another size or in another encoding.
//!
//! Two images are near duplicates when their similarity hashes differ in at most [`MOST_BITS`] of 64 bits. They are counted and
//! never taken for one another: pictures without structure, a night sky and a blank page, have the same hash too.

use std::collections::HashMap;

/// Bits that may differ.
const MOST_BITS: u32 = 3;

/// Hashes within [`MOST_BITS`] of each other have at least one of so many parts in common.
const PARTS: u32 = MOST_BITS + 1;

/// Bits of a part.
const PART_BITS: u32 = u64::BITS / PARTS;

/// Hashes with a part in common that are compared; past it a near duplicate may be missed, so that the work for one image
/// is bounded.
const MOST_COMPARED: usize = 256;

/// The hashes of the images so far, each once.
#[derive(Debug, Default)]
pub(crate) struct Similar {
    by_part: HashMap<(u32, u64), Vec<u64>>,
    found: u64,
}

impl Similar {
    /// Adds a new image.
    pub(crate) fn add(&mut self, hash: u64) {
        let parts = |hash: u64| {
            (0..PARTS)
                .map(move |part| (part, (hash >> (part * PART_BITS)) & ((1 << PART_BITS) - 1)))
        };
        let close = |other: &u64| (other ^ hash).count_ones() <= MOST_BITS;
        let like = parts(hash).find_map(|key| {
            let others = self.by_part.get(&key)?;
            // The newest first: duplicates tend to be neighbours.
            others
                .iter()
                .rev()
                .take(MOST_COMPARED)
                .find(|other| close(other))
        });
        let like = like.copied();
        self.found += u64::from(like.is_some());
        if like == Some(hash) {
            return;
        }
        for key in parts(hash) {
            self.by_part.entry(key).or_default().push(hash);
        }
    }

    /// Images that looked like one before them.
    pub(crate) fn found(&self) -> u64 {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_three_bits_make_a_near_duplicate() {
        let first = 0x0123_4567_89ab_cdef;
        for (bits, near) in [
            (0, 1),
            (1, 1),
            (0x8000_0001_0000_0001, 1),
            (0xf, 0),
            (0x8421, 0),
        ] {
            let mut similar = Similar::default();
            similar.add(first);
            similar.add(first ^ bits);
            assert_eq!(similar.found(), near, "{bits:x}");
        }
    }

    #[test]
    fn blank_pages_do_not_make_it_slow() {
        let mut similar = Similar::default();
        for _ in 0..100_000 {
            similar.add(0);
        }
        assert_eq!(similar.found(), 99_999);
        assert_eq!(similar.by_part[&(0, 0)].len(), 1);
    }
}
