//! One score of what both networks say.
//!
//! The classifier says which share of its belief lies under the noun, and holds from 0.2 on; the detector how surely one of its things is
//! somewhere, and holds from 0.3 on, below which its makers left detections out. The odds of the detector are scaled so that both hold from the
//! same score on. Where both know a noun the larger score counts: each looks for what the other may not see, the one for what the picture is
//! about and the other for what is small in it, so that one of them is enough. A noun thus holds by default exactly if it
//! does for one of the networks by itself. Nothing of this was fitted to answers.

use crate::{coco_ssd, efficientnet};

/// The score from which a category holds by default.
pub(super) const THRESHOLD: f32 = efficientnet::THRESHOLD;

/// What the detector's odds are multiplied by.
const SCALE: f32 = odds(THRESHOLD) / odds(coco_ssd::THRESHOLD);

const fn odds(score: f32) -> f32 {
    score / (1.0 - score)
}

/// The score of a noun by the networks that know it, 0..=1; 0 where none does.
pub(super) fn score(classified: Option<f32>, detected: Option<f32>) -> f32 {
    let detected = detected.map(|presence| {
        let yes = presence * SCALE;
        yes / (yes + (1.0 - presence))
    });
    let scores = classified.into_iter().chain(detected);
    scores.fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_holds_if_it_holds_for_one_of_the_networks() {
        for tenths in 0..=10 {
            for other in 0..=10 {
                // Between the tenths, where no rounding decides.
                let classified = (tenths as f32 / 10.0 + 0.05).min(1.0);
                let detected = (other as f32 / 10.0 + 0.05).min(1.0);
                let score = score(Some(classified), Some(detected));
                let holds =
                    classified >= efficientnet::THRESHOLD || detected >= coco_ssd::THRESHOLD;
                assert_eq!(
                    score >= THRESHOLD,
                    holds,
                    "{classified} {detected}: {score}"
                );
            }
        }
        assert!((score(None, Some(coco_ssd::THRESHOLD)) - THRESHOLD).abs() < 1e-6);
    }

    #[test]
    fn a_score_stays_a_score_and_keeps_its_order() {
        let scores: Vec<f32> = (0..=1000)
            .map(|part| score(None, Some(part as f32 / 1000.0)))
            .collect();
        assert!(scores.is_sorted() && scores[0] == 0.0 && scores[1000] == 1.0);
        assert_eq!(score(Some(0.7), None), 0.7);
        assert_eq!(score(Some(0.7), Some(0.5)), 0.7);
        assert_eq!(score(None, None), 0.0);
    }
}
