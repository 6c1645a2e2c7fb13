//! One score of what both networks say.
//!
//! The classifier says which share of its belief lies under the noun, and holds from 0.2 on; the detector how surely one of its things is
//! somewhere, and holds from 0.3 on, below which its makers left detections out. The odds of the detector are scaled so that both hold from the
//! same score on.
//!
//! Where both know a noun, they are two opinions about the kinds that both can see (a robin is under the detector's `bird`), and what
//! experts say independently is put together by the mean of their log odds (a logarithmic opinion pool): one that is
//! sure outweighs one that doubts, and the other's firm no counts. About kinds that the detector has no thing for (a hammer among tools, a
//! fish among animals) its silence says nothing, so the classifier's belief in those alone holds by itself. The larger of the two counts.
//! Nothing of this was fitted to answers.

use std::sync::LazyLock;

use crate::error::VisionError;
use crate::wordnet::{ClassList, Lexicon, WordnetError};
use crate::{coco_ssd, efficientnet};

/// The score from which a category holds by default.
pub(super) const THRESHOLD: f32 = efficientnet::THRESHOLD;

/// What the detector's odds are multiplied by.
const SCALE: f32 = odds(THRESHOLD) / odds(coco_ssd::THRESHOLD);

/// As sure as either can be, one way or the other, where both are heard.
const SUREST: f32 = 1e-6;

const fn odds(score: f32) -> f32 {
    score / (1.0 - score)
}

/// What the classifier says of a noun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classified {
    /// The probability of all its classes under the noun.
    pub(super) all: f32,
    /// Of those among them that are no kind of a thing that the detector was asked for.
    pub(super) unseen: f32,
}

impl Classified {
    /// What these probabilities say of some classes, beside the detector's opinion about `things`.
    ///
    /// # Errors
    /// [`VisionError::Wordnet`] when the program was built with a damaged table.
    pub(super) fn of(
        probabilities: &[f32],
        classes: &[u16],
        things: &[u16],
    ) -> Result<Self, VisionError> {
        static THINGS: LazyLock<Result<Vec<Vec<u16>>, WordnetError>> =
            LazyLock::new(|| Ok(Lexicon::of(ClassList::ImageNet)?.classes_above(ClassList::Coco)));
        let all = efficientnet::sum(probabilities, classes);
        if things.is_empty() {
            return Ok(Self { all, unseen: all });
        }
        let of_class = THINGS.as_ref().map_err(Clone::clone)?;
        let is_unseen = |class: &&u16| {
            let above = of_class.get(usize::from(**class));
            !above.is_some_and(|above| above.iter().any(|thing| things.contains(thing)))
        };
        let unseen: Vec<u16> = classes.iter().filter(is_unseen).copied().collect();
        Ok(Self {
            all,
            unseen: efficientnet::sum(probabilities, &unseen),
        })
    }
}

/// The score of a noun by the networks that know it, 0..=1; 0 where none does.
pub(super) fn score(classified: Option<Classified>, presence: Option<f32>) -> f32 {
    let detected = presence.map(|presence| {
        let yes = presence * SCALE;
        yes / (yes + (1.0 - presence))
    });
    match (classified, detected) {
        (Some(classified), Some(detected)) => classified.unseen.max(pool(classified.all, detected)),
        (Some(classified), None) => classified.all,
        (None, detected) => detected.unwrap_or(0.0),
    }
}

/// The score whose log odds are the mean of both.
fn pool(one: f32, other: f32) -> f32 {
    let odds_of = |score: f32| odds(score.clamp(SUREST, 1.0 - SUREST));
    let odds = (odds_of(one) * odds_of(other)).sqrt();
    odds / (1.0 + odds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(all: f32) -> Option<Classified> {
        Some(Classified { all, unseen: 0.0 })
    }

    #[test]
    fn the_detector_holds_where_it_does_by_itself() {
        for part in 0..100 {
            let presence = part as f32 / 100.0 + 0.005;
            let holds = score(None, Some(presence)) >= THRESHOLD;
            assert_eq!(holds, presence >= coco_ssd::THRESHOLD, "{presence}");
        }
    }

    #[test]
    fn two_that_say_yes_say_yes_and_one_that_is_sure_outweighs_a_doubt() {
        for (classified, presence) in [(0.21, 0.31), (0.9, 0.2), (0.05, 0.9)] {
            let together = score(seen(classified), Some(presence));
            assert!(together >= THRESHOLD, "{classified} {presence}: {together}");
        }
        for (classified, presence) in [(0.19, 0.29), (0.3, 0.02), (0.001, 0.6)] {
            let together = score(seen(classified), Some(presence));
            assert!(together < THRESHOLD, "{classified} {presence}: {together}");
        }
    }

    #[test]
    fn what_the_detector_cannot_see_it_does_not_deny() {
        let hammer = Some(Classified {
            all: 0.8,
            unseen: 0.7,
        });
        assert_eq!(score(hammer, Some(0.0)), 0.7);
        assert_eq!(score(hammer, None), 0.8);
    }

    #[test]
    fn a_score_stays_a_score_and_keeps_its_order() {
        for classified in [None, seen(0.0), seen(0.3), seen(1.0)] {
            let scores: Vec<f32> = (0..=1000)
                .map(|part| score(classified, Some(part as f32 / 1000.0)))
                .collect();
            let bounded = scores.iter().all(|score| (0.0..=1.0).contains(score));
            assert!(scores.is_sorted() && bounded, "{classified:?}");
        }
        assert_eq!((score(None, Some(0.0)), score(None, Some(1.0))), (0.0, 1.0));
        assert_eq!(score(None, None), 0.0);
    }

    #[test]
    fn classes_under_a_thing_are_seen_by_it() {
        let lite0 = Lexicon::of(ClassList::ImageNet).unwrap();
        let of = |noun: &str| lite0.classes_of(noun).unwrap();
        let mut probabilities = vec![0.0; 1000];
        for noun in ["robin", "tench", "hammer"] {
            probabilities[usize::from(of(noun)[0])] = 0.25;
        }
        let said = |noun: &str, things: &[u16]| {
            let said = Classified::of(&probabilities, &of(noun), things).unwrap();
            (said.all, said.unseen)
        };
        // COCO's bird sees robins, and no animal of its sees a fish; no scissors are a hammer.
        let animals: Vec<u16> = (14..24).collect();
        assert_eq!(said("animal", &animals), (0.5, 0.25));
        assert_eq!(said("bird", &[14]), (0.25, 0.0));
        assert_eq!(said("tool", &[76]), (0.25, 0.25));
        assert_eq!(said("animal", &[]), (0.5, 0.5));
    }
}
