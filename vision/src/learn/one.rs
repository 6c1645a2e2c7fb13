//! One category from its examples to a head, for who wants no figures.

use super::{Examples, Labels, Linear, Platt, Validated, deal, final_fit, keys, validate};
use crate::error::VisionError;
use crate::heads::{Head, HeadModel};

/// Fewest different pictures of either kind that a category is taught from.
pub const FEWEST: usize = 5;

/// A head that says probabilities: what was learnt, calibrated. `None` where a number of it is not finite.
pub fn calibrated(name: &str, model: &HeadModel, learnt: &Linear, platt: Platt) -> Option<Head> {
    let weights = learnt
        .weights
        .iter()
        .map(|w| (f64::from(*w) * platt.slope) as f32);
    let bias = platt.logit(f64::from(learnt.bias)) as f32;
    Head::new(name, model, weights.collect(), bias)
}

/// Score, label and weight of the examples of which something is known.
pub fn known(labels: &Labels, scores: &[f32]) -> Vec<(f64, f64, f64)> {
    let each = scores.iter().enumerate().filter_map(|(at, score)| {
        let (label, weight) = (labels.of(at)?, labels.weight(at));
        score
            .is_finite()
            .then(|| (f64::from(*score), f64::from(label), f64::from(weight)))
    });
    each.collect()
}

/// The head of a category, and of each example the probability that a head says which it took no part in. `None` where there are
/// fewer than [`FEWEST`] pictures of either kind, or nothing finite is learnt. Takes long; for a thread that may.
///
/// # Errors
/// As [`super::fit`].
pub fn teach_one(
    name: &str,
    model: &HeadModel,
    examples: &Examples,
    labels: &Labels,
) -> Result<Option<(Head, Vec<f32>)>, VisionError> {
    let dealt = deal(&keys(examples), labels);
    if dealt.yes.min(dealt.no) < FEWEST {
        return Ok(None);
    }
    let category = Validated {
        labels,
        parts: &dealt.parts,
        free: &[],
    };
    let found = validate(examples, &[category])?;
    let Some((strength, scores)) = found.into_iter().next() else {
        return Ok(None);
    };
    let learnt = final_fit(examples, &[(labels, &[], strength)])?;
    let platt = Platt::fit(&known(labels, &scores));
    let head = learnt
        .first()
        .and_then(|learnt| calibrated(name, model, learnt, platt));
    let probabilities = scores
        .iter()
        .map(|score| platt.probability(f64::from(*score)) as f32);
    let probabilities = probabilities.collect();
    Ok(head.map(|head| (head, probabilities)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taught_tells_the_kinds_apart_and_too_few_teach_nothing() {
        let model = HeadModel {
            name: "m".to_owned(),
            revision: "1".to_owned(),
            preprocessing: "full".to_owned(),
            width: 3,
        };
        let mut examples = Examples::new(3);
        let mut truth = Vec::new();
        for at in 0..60 {
            let yes = at % 3 == 0;
            let noise = at as f32 / 60.0;
            assert!(examples.push_vector(&[if yes { 1.0 } else { -1.0 }, noise, 0.3]));
            truth.push(f32::from(yes));
        }
        let labels = Labels::new(truth.clone(), None);
        let (head, apart) = teach_one("scratch", &model, &examples, &labels)
            .unwrap()
            .unwrap();
        assert_eq!(head.category(), "scratch");
        for (at, (said, yes)) in apart.iter().zip(&truth).enumerate() {
            assert_eq!(*said >= 0.5, *yes >= 0.5, "{at}: {said}");
            let own = head.probability(&examples.unit(at)).unwrap();
            assert_eq!(own >= 0.5, *yes >= 0.5, "{at}: {own}");
        }
        let rare = Labels::new((0..60).map(|at| f32::from(at < 4)).collect(), None);
        assert!(
            teach_one("scratch", &model, &examples, &rare)
                .unwrap()
                .is_none()
        );
    }
}
