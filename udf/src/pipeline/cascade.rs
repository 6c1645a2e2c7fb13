//! A cheap model that answers for a dear one: from which scores on it may, what that makes of a score, and what came of it.
//!
//! Owns the decision about one score and the counts. Where bands come from (a sample that the dear model was asked about) is their
//! maker's to know; who asks whom is the operator's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use picsift_vision::{CategorySpec, LoadOptions};
use serde::{Deserialize, Serialize};

use crate::pipeline::image_column::ImageSource;

/// A cheap model and what it may decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Cascade {
    /// The cheap model.
    pub model: String,
    /// How it is loaded.
    pub load: LoadOptions,
    /// What it may decide, by category; of a category without a band it decides nothing.
    pub bands: Vec<Band>,
    /// Share, 0 to 1, of the images whose answers it decided that the dear model is asked about all the same.
    pub audit: f64,
}

/// Which scores of the cheap model decide about a category.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// The category as the cheap model is asked about it; by its name it is the dear model's.
    pub category: CategorySpec,
    /// A score below this is a no.
    pub low: f32,
    /// A score from this on is a yes. Between both the dear model is asked.
    pub high: f32,
}

/// What a cheap score says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    No,
    Yes,
    Unsure,
}

/// The verdict of a score, within a band from `low` to `high`.
pub(crate) fn verdict(score: f32, low: f32, high: f32) -> Verdict {
    if score < low {
        Verdict::No
    } else if score >= high {
        Verdict::Yes
    } else {
        Verdict::Unsure
    }
}

/// A decided cheap score on the dear model's scale, where the category holds from `threshold` on; `None` for one that is unsure, and for a
/// no where every score holds. Cheap scores keep their order, so that they can be sorted by and compared with the threshold.
pub(crate) fn rescaled(score: f32, low: f32, high: f32, threshold: f32) -> Option<f32> {
    match verdict(score, low, high) {
        Verdict::Unsure => None,
        Verdict::No if threshold <= 0.0 => None,
        Verdict::No => {
            let part = if low > 0.0 { score / low } else { 0.0 };
            Some((threshold * part).clamp(0.0, threshold.next_down()))
        }
        Verdict::Yes => {
            let part = if high < 1.0 {
                (score - high) / (1.0 - high)
            } else {
                1.0
            };
            Some((threshold + (1.0 - threshold) * part).clamp(threshold, 1.0))
        }
    }
}

/// Whether an image is one of the share that is audited: a matter of the image alone, so that a run that is carried on audits the same.
pub(crate) fn is_audited(image: &ImageSource, share: f64) -> bool {
    /// Bytes of a file's beginning and end that tell it from others.
    const END: usize = 1024;
    if share <= 0.0 {
        return false;
    }
    // FNV-1a, which no release of anything changes.
    let hash = |hash: u64, bytes: &[u8]| {
        bytes.iter().fold(hash, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        })
    };
    let start = 0xcbf2_9ce4_8422_2325;
    let mixed = match image {
        ImageSource::Reference(text) => hash(start, text.as_bytes()),
        ImageSource::Bytes(bytes) => {
            let ends = hash(start, &bytes[..bytes.len().min(END)]);
            let ends = hash(ends, &bytes[bytes.len().saturating_sub(END)..]);
            hash(ends, &bytes.len().to_le_bytes())
        }
    };
    // Its upper bits depend little on the last bytes; one round of splitmix64 mends that.
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64 <= share
}

/// What became of the rows of one category.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Rows about which the cheap model said no, and yes.
    pub cheap_no: u64,
    /// See `cheap_no`.
    pub cheap_yes: u64,
    /// Rows about which the dear model was asked, without those audited.
    pub dear: u64,
    /// Rows whose no was audited, and those of them to which the dear model said yes.
    pub audited_no: u64,
    /// See `audited_no`.
    pub missed: u64,
    /// Rows whose yes was audited, and those of them to which the dear model said no.
    pub audited_yes: u64,
    /// See `audited_yes`.
    pub mistaken: u64,
    /// Lowest cheap score of a `missed` row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_missed: Option<f32>,
    /// Highest cheap score of a `mistaken` row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highest_mistaken: Option<f32>,
}

impl Answered {
    /// One row about which the cheap model had the say `cheap`, and the dear one, if it was asked, `dear`.
    pub(crate) fn note(&mut self, score: f32, cheap: Verdict, dear: Option<bool>) {
        match (cheap, dear) {
            (Verdict::Unsure, _) => self.dear += 1,
            (Verdict::No, None) => self.cheap_no += 1,
            (Verdict::Yes, None) => self.cheap_yes += 1,
            (Verdict::No, Some(holds)) => {
                self.audited_no += 1;
                if holds {
                    self.missed += 1;
                    let lowest = self.lowest_missed.map_or(score, |least| least.min(score));
                    self.lowest_missed = Some(lowest);
                }
            }
            (Verdict::Yes, Some(holds)) => {
                self.audited_yes += 1;
                if !holds {
                    self.mistaken += 1;
                    let highest = self.highest_mistaken.map_or(score, |most| most.max(score));
                    self.highest_mistaken = Some(highest);
                }
            }
        }
    }

    /// Adds what became of further rows.
    pub fn add(&mut self, other: &Self) {
        let both = |a: Option<f32>, b: Option<f32>, of: fn(f32, f32) -> f32| match (a, b) {
            (Some(a), Some(b)) => Some(of(a, b)),
            (one, other) => one.or(other),
        };
        *self = Self {
            cheap_no: self.cheap_no + other.cheap_no,
            cheap_yes: self.cheap_yes + other.cheap_yes,
            dear: self.dear + other.dear,
            audited_no: self.audited_no + other.audited_no,
            missed: self.missed + other.missed,
            audited_yes: self.audited_yes + other.audited_yes,
            mistaken: self.mistaken + other.mistaken,
            lowest_missed: both(self.lowest_missed, other.lowest_missed, f32::min),
            highest_mistaken: both(self.highest_mistaken, other.highest_mistaken, f32::max),
        };
    }
}

/// What a part of a run has counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CascadeCounts {
    /// Images that the cheap model was shown.
    pub encoded: u64,
    /// Rows about which the dear model was asked nothing.
    pub spared: u64,
    /// Rows about which it was asked because the cheap model was unsure of a category.
    pub unsure: u64,
    /// Rows about which it was asked only to see whether the cheap model is right.
    pub audited: u64,
    /// What became of the rows, by category.
    pub categories: BTreeMap<String, Answered>,
}

impl CascadeCounts {
    /// Adds what a further part has counted.
    pub fn add(&mut self, other: &Self) {
        self.encoded += other.encoded;
        self.spared += other.spared;
        self.unsure += other.unsure;
        self.audited += other.audited;
        for (name, answered) in &other.categories {
            self.categories
                .entry(name.clone())
                .or_default()
                .add(answered);
        }
    }
}

/// What the cascades of a run have counted.
#[derive(Debug, Default)]
pub struct CascadeStats {
    encoded: AtomicU64,
    spared: AtomicU64,
    unsure: AtomicU64,
    audited: AtomicU64,
    categories: Mutex<BTreeMap<String, Answered>>,
}

impl CascadeStats {
    /// Images that the cheap model was shown.
    pub fn encoded(&self) -> u64 {
        self.encoded.load(Ordering::Relaxed)
    }

    /// Rows about which the dear model was asked nothing.
    pub fn spared(&self) -> u64 {
        self.spared.load(Ordering::Relaxed)
    }

    /// Rows about which it was asked because the cheap model was unsure of a category.
    pub fn unsure(&self) -> u64 {
        self.unsure.load(Ordering::Relaxed)
    }

    /// Rows about which it was asked only to see whether the cheap model is right.
    pub fn audited(&self) -> u64 {
        self.audited.load(Ordering::Relaxed)
    }

    /// What was counted since the last call.
    pub fn take(&self) -> CascadeCounts {
        let taken = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        CascadeCounts {
            encoded: taken(&self.encoded),
            spared: taken(&self.spared),
            unsure: taken(&self.unsure),
            audited: taken(&self.audited),
            categories: std::mem::take(&mut *lock(&self.categories)),
        }
    }

    pub(crate) fn note_encoded(&self) {
        self.encoded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_row(&self, unsure: bool, audited: bool) {
        let counter = match (unsure, audited) {
            (true, _) => &self.unsure,
            (false, true) => &self.audited,
            (false, false) => &self.spared,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note(&self, category: &str, score: f32, cheap: Verdict, dear: Option<bool>) {
        let mut categories = lock(&self.categories);
        if let Some(known) = categories.get_mut(category) {
            known.note(score, cheap, dear);
            return;
        }
        let known = categories.entry(category.to_string()).or_default();
        known.note(score, cheap, dear);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Counts are never half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_score_at_the_edge_belongs_to_what_is_above() {
        assert_eq!(verdict(0.19, 0.2, 0.8), Verdict::No);
        assert_eq!(verdict(0.2, 0.2, 0.8), Verdict::Unsure);
        assert_eq!(verdict(0.8, 0.2, 0.8), Verdict::Yes);
        assert_eq!(verdict(f32::NAN, 0.2, 0.8), Verdict::Unsure);
        assert_eq!(
            verdict(0.0, f32::NEG_INFINITY, f32::INFINITY),
            Verdict::Unsure
        );
    }

    proptest! {
        /// Whoever compares the column of scores with the threshold finds what the column of booleans says.
        #[test]
        fn a_rescaled_score_holds_just_where_the_verdict_is_yes(
            score in 0f32..=1.0, other in 0f32..=1.0, low in 0f32..=1.0, width in 0f32..=1.0, threshold in 0f32..=1.0,
        ) {
            let high = low + width;
            let of = |score| rescaled(score, low, high, threshold);
            if let Some(scaled) = of(score) {
                prop_assert!((0.0..=1.0).contains(&scaled));
                prop_assert_eq!(scaled >= threshold, verdict(score, low, high) == Verdict::Yes);
                if let Some(more) = of(score.max(other)) {
                    prop_assert!(more >= scaled);
                }
            }
        }
    }

    #[test]
    fn about_the_share_is_audited_and_always_the_same() {
        let image = |n: usize| ImageSource::Reference(format!("photos/{n}.jpg"));
        let audited = |share| {
            (0..10_000)
                .filter(|n| is_audited(&image(*n), share))
                .count()
        };
        assert_eq!((audited(0.0), audited(1.0)), (0, 10_000));
        let some = audited(0.02);
        assert!((140..260).contains(&some), "{some}");
        assert_eq!(some, audited(0.02));
    }

    #[test]
    fn counts_of_parts_add_up_to_those_of_the_whole() {
        let rows = [
            (0.1, Verdict::No, None),
            (0.05, Verdict::No, Some(true)),
            (0.2, Verdict::No, Some(true)),
            (0.9, Verdict::Yes, Some(false)),
            (0.95, Verdict::Yes, None),
            (0.5, Verdict::Unsure, Some(true)),
        ];
        let count = |rows: &[(f32, Verdict, Option<bool>)]| {
            let mut counted = Answered::default();
            for (score, cheap, dear) in rows {
                counted.note(*score, *cheap, *dear);
            }
            counted
        };
        let mut parts = count(&rows[..2]);
        parts.add(&count(&rows[2..]));
        assert_eq!(parts, count(&rows));
        assert_eq!((parts.missed, parts.lowest_missed), (2, Some(0.05)));
        assert_eq!((parts.mistaken, parts.highest_mistaken), (1, Some(0.9)));
        assert_eq!((parts.cheap_no, parts.cheap_yes, parts.dear), (1, 1, 1));
    }
}
