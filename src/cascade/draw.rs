//! Rows by chance: uniformly, without replacement, in one pass, and the same ones for the same seed.
//!
//! Every row gets a number that looks random and depends on the seed and its place alone; the smallest are drawn, in their order, so that
//! any first part of them is a uniform sample too, and any part behind it one of the other rows.

use std::collections::BinaryHeap;

/// File and row of a place in the input.
pub type Place = (u32, u64);

/// Most rows that are drawn.
const MOST: usize = 500_000;

/// A draw while rows go by.
#[derive(Debug)]
pub struct Draw {
    salt: u64,
    rows: u64,
    /// The smallest numbers so far, largest first.
    smallest: BinaryHeap<(u64, Place)>,
}

impl Draw {
    /// A draw by this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            salt: mixed(seed.wrapping_add(0x63_61_73_63)),
            rows: 0,
            smallest: BinaryHeap::new(),
        }
    }

    /// A row goes by.
    pub fn push(&mut self, place: Place) {
        self.rows += 1;
        let number = mixed(self.salt ^ mixed(u64::from(place.0) << 40 ^ place.1));
        if self.smallest.len() < MOST {
            self.smallest.push((number, place));
        } else if self
            .smallest
            .peek()
            .is_some_and(|top| (number, place) < *top)
        {
            self.smallest.pop();
            self.smallest.push((number, place));
        }
    }

    /// How many rows went by, and those drawn, in the order of the draw.
    pub fn finish(self) -> (u64, Vec<Place>) {
        let drawn = self.smallest.into_sorted_vec();
        (
            self.rows,
            drawn.into_iter().map(|(_, place)| place).collect(),
        )
    }
}

/// The output step of splitmix64: neighbours come out far apart.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_as_likely_and_a_seed_draws_the_same() {
        let drawn = |seed| {
            let mut draw = Draw::new(seed);
            for row in 0..1000 {
                draw.push((u32::from(row >= 600), row % 600));
            }
            draw.finish()
        };
        let (rows, order) = drawn(7);
        assert_eq!((rows, order.len()), (1000, 1000));
        assert_eq!(drawn(7), (rows, order.clone()));
        assert_ne!(drawn(8).1, order);
        // Among the first hundred of each of 200 draws, a tenth of the rows of either half of the table.
        let early: usize = (0..200)
            .map(|seed| {
                drawn(seed).1[..100]
                    .iter()
                    .filter(|(file, row)| *file == 0 && *row < 500)
                    .count()
            })
            .sum();
        assert!((9_700..10_300).contains(&early), "{early}");
    }
}
