//! Which examples are held back together: folds that have their share of every kind, and the same picture never on both sides.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::examples::Examples;
use super::problem::Labels;

/// Folds of a cross-validation.
pub const FOLDS: usize = 5;
/// Parts of each fold, by which less is taught to see what more would bring.
const QUARTERS: usize = 4;
/// Parts of the examples of a category: `fold * 4 + quarter`.
pub const PARTS: usize = FOLDS * QUARTERS;

/// How the examples of a category are dealt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dealt {
    /// The part of each example, below [`PARTS`]; those whose label is unknown are in none and have 0.
    pub parts: Vec<u8>,
    /// Different pictures that show the category.
    pub yes: usize,
    /// Different pictures that do not.
    pub no: usize,
    /// Pictures among them that stand more than once, with yes and with no.
    pub contradictory: usize,
}

/// Deals the examples of one category.
///
/// Pictures that are alike to the last bit of their embedding are dealt as one. The order in which they are dealt follows from the
/// embeddings alone, so that rows in another order give the same parts.
pub fn deal(keys: &[Key], labels: &Labels) -> Dealt {
    let mut groups: HashMap<Key, (f32, usize)> = HashMap::new();
    for (example, key) in keys.iter().enumerate() {
        if let Some(label) = labels.of(example) {
            let group = groups.entry(*key).or_default();
            group.0 += label;
            group.1 += 1;
        }
    }
    let mixed = |(sum, rows): &(f32, usize)| *rows > 1 && *sum > 0.0 && *sum < *rows as f32;
    let hard = labels.are_hard();
    let contradictory = groups.values().filter(|group| hard && mixed(group)).count();
    let mut order: Vec<(Key, bool)> = groups
        .into_iter()
        .map(|(key, (sum, rows))| (key, sum >= rows as f32 / 2.0))
        .collect();
    order.sort_unstable();
    let mut dealt: HashMap<Key, u8> = HashMap::with_capacity(order.len());
    let mut next = [0_usize; 2];
    for (key, positive) in order {
        let place = next[usize::from(positive)];
        next[usize::from(positive)] += 1;
        // So that each quarter, as each fold, has its share of few.
        let quarter = (place / FOLDS + place % FOLDS) % QUARTERS;
        let part = place % FOLDS * QUARTERS + quarter;
        dealt.insert(key, u8::try_from(part).unwrap_or_default());
    }
    let part = |(example, key): (usize, &Key)| match labels.of(example) {
        Some(_) => dealt.get(key).copied().unwrap_or_default(),
        None => 0,
    };
    let parts = keys.iter().enumerate().map(part);
    Dealt {
        parts: parts.collect(),
        yes: next[1],
        no: next[0],
        contradictory,
    }
}

/// What is the same for the same picture, and in no order that means anything.
pub type Key = [u8; 16];

/// The key of each example.
pub fn keys(examples: &Examples) -> Vec<Key> {
    let key = |example: usize| {
        let mut hash = Sha256::new();
        for half in examples.halves(example) {
            hash.update(half.to_bits().to_le_bytes());
        }
        let digest = hash.finalize();
        std::array::from_fn(|at| digest[at])
    };
    (0..examples.len()).map(key).collect()
}

/// The parts of a training set: all folds but one, and of them the first so many quarters from one on.
pub(super) fn mask(held_back: usize, first: usize, quarters: usize) -> u32 {
    let mut mask = 0;
    for fold in (0..FOLDS).filter(|fold| *fold != held_back) {
        for quarter in 0..quarters {
            mask |= 1 << (fold * QUARTERS + (first + quarter) % QUARTERS);
        }
    }
    mask
}

/// The fold of a part.
pub(super) fn fold(part: u8) -> usize {
    usize::from(part) / QUARTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fold_has_its_share_and_a_picture_is_on_one_side() {
        let mut examples = Examples::new(2);
        let mut labels = Vec::new();
        for at in 0..60_u16 {
            // Every third picture stands twice.
            let angle = f32::from(at - at % 3) * 0.02;
            assert!(examples.push_vector(&[angle.cos(), angle.sin()]));
            labels.push(if at < 15 { 1.0 } else { 0.0 });
        }
        labels[59] = f32::NAN;
        let labels = Labels::new(labels, None);
        let dealt = deal(&keys(&examples), &labels);
        assert_eq!((dealt.yes, dealt.no, dealt.contradictory), (5, 15, 0));
        let parts = dealt.parts;
        for at in 0..58 {
            let same = examples.halves(at) == examples.halves(at + 1);
            assert!(!same || parts[at] == parts[at + 1], "{at}");
        }
        for fold_number in 0..FOLDS {
            let yes = (0..15).filter(|at| fold(parts[*at]) == fold_number).count();
            assert_eq!(yes, 3, "five pictures in five folds, each three times");
        }
        for quarter in 0..QUARTERS {
            let yes = (0..15).any(|at| usize::from(parts[at]) % QUARTERS == quarter);
            assert!(yes, "quarter {quarter} has its share of five");
        }
        assert_eq!(mask(0, 0, 4).count_ones(), 16);
        assert_eq!(mask(4, 3, 2).count_ones(), 8);
    }
}
