//! The figures of each category and of all, with how sure they are.
//!
//! Precision and recall of rows that each stand for themselves are shares, whose interval is Wilson's; everything else has the
//! bootstrap's percentiles. What is undefined stays so, with a note that says why.

use picsift_udf::metrics::{Confusion, Interval, Replicate, percentiles, replicates, wilson};
use serde::Serialize;

use super::rows::{Packed, Rows, Summary};

/// A figure with its 95 % interval; `null` where it is undefined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figure {
    /// The figure.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// How the interval was found.
    pub interval: Option<Method>,
}

/// How an interval is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Wilson's score interval.
    Wilson,
    /// Percentiles of the bootstrap.
    Bootstrap,
}

impl Figure {
    fn new(value: Option<f64>, interval: Option<Interval>, method: Method) -> Self {
        Self {
            value,
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            interval: interval.map(|_| method),
        }
    }
}

/// All figures, in the order in which they are shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Of the rows answered yes the share that is true.
    pub precision: Figure,
    /// Of the true rows the share answered yes.
    pub recall: Figure,
    /// Harmonic mean of the two.
    pub f1: Figure,
    /// Mean of recall and of the share of false rows answered no.
    pub balanced_accuracy: Figure,
    /// Area under precision over recall.
    pub average_precision: Figure,
    /// Probability that a true row scores higher than a false one.
    pub roc_auc: Figure,
    /// Mean squared difference of score and truth.
    pub brier: Figure,
    /// Expected calibration error, in 15 bins.
    pub calibration_error: Figure,
}

impl Figures {
    /// Names as people read them, and the figures.
    pub fn named(&self) -> [(&'static str, &Figure); 8] {
        [
            ("precision", &self.precision),
            ("recall", &self.recall),
            ("F1", &self.f1),
            ("bal. acc.", &self.balanced_accuracy),
            ("AP", &self.average_precision),
            ("ROC AUC", &self.roc_auc),
            ("Brier", &self.brier),
            ("ECE", &self.calibration_error),
        ]
    }
}

/// Counts as they are reported: weights of rows, whole numbers where rows stand for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Counts {
    /// True, and answered yes.
    pub true_positive: f64,
    /// False, but answered yes.
    pub false_positive: f64,
    /// True, but answered no.
    pub false_negative: f64,
    /// False, and answered no.
    pub true_negative: f64,
}

impl From<Confusion> for Counts {
    fn from(counts: Confusion) -> Self {
        Self {
            true_positive: counts.true_positive,
            false_positive: counts.false_positive,
            false_negative: counts.false_negative,
            true_negative: counts.true_negative,
        }
    }
}

/// What came of one category, enough for the overall figures too.
pub struct Judged {
    /// Answers against truth.
    pub confusion: Confusion,
    /// The figures.
    pub figures: Figures,
    /// What is undefined or left out, and why.
    pub notes: Vec<String>,
    /// The figures of the draws.
    drawn: Vec<Replicate>,
    /// The figures of the cells that were drawn from.
    grouped: Replicate,
}

/// The figures of sorted rows; the draws come from `seed`.
pub fn judge<K: Packed>(rows: &Rows<K>, scores: bool, weighted: bool, seed: u64) -> Judged {
    let summary = rows.summary();
    let (grouped, drawn) = replicates(&rows.cells(), seed);
    let confusion = summary.confusion;
    let drawn_of = |figure: fn(&Replicate) -> Option<f64>, value: Option<f64>| {
        let interval = percentiles(value, figure(&grouped), drawn.iter().map(figure));
        Figure::new(value, interval, Method::Bootstrap)
    };
    let share = |part: f64, whole: f64, figure: fn(&Replicate) -> Option<f64>, value| {
        match weighted {
            // A weighted share is no count of trials.
            true => drawn_of(figure, value),
            false => Figure::new(value, wilson(part, whole), Method::Wilson),
        }
    };
    let mut figures = Figures {
        precision: share(
            confusion.true_positive,
            confusion.predicted(),
            |r| r.confusion.precision(),
            confusion.precision(),
        ),
        recall: share(
            confusion.true_positive,
            confusion.support(),
            |r| r.confusion.recall(),
            confusion.recall(),
        ),
        f1: drawn_of(|r| r.confusion.f1(), confusion.f1()),
        balanced_accuracy: drawn_of(
            |r| r.confusion.balanced_accuracy(),
            confusion.balanced_accuracy(),
        ),
        ..Figures::default()
    };
    // Of scores that are no probabilities nothing is made up.
    if scores && rows.outside == 0 {
        let ranking = summary.ranking;
        figures.average_precision = drawn_of(|r| r.average_precision, ranking.average_precision());
        figures.roc_auc = drawn_of(|r| r.roc_auc, ranking.roc_auc());
        figures.brier = drawn_of(|r| r.brier, summary.calibration.brier());
        figures.calibration_error = drawn_of(
            |r| r.calibration_error,
            summary.calibration.expected_error(),
        );
    }
    let mut notes = notes(rows, scores, &summary);
    let perfect = |figure: &Figure| figure.value == Some(1.0) && figure.low == figure.high;
    if figures.named().iter().any(|(_, figure)| perfect(figure)) {
        notes.push(
            "there is no mistake among these rows, so that the bootstrap draws none either: an interval without width does not mean that other rows have none".to_string(),
        );
    }
    Judged {
        confusion,
        figures,
        notes,
        drawn,
        grouped,
    }
}

fn notes<K: Packed>(rows: &Rows<K>, scores: bool, summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    let counts = &summary.confusion;
    let total = counts.total();
    if total == 0.0 {
        notes.push("no row has both truth and answer: nothing can be said".to_string());
        return notes;
    }
    if counts.support() == 0.0 {
        notes.push("the truth is never yes: recall, AP and ROC AUC are undefined".to_string());
    } else if counts.support() == total {
        notes.push(
            "the truth is always yes: balanced accuracy and ROC AUC are undefined".to_string(),
        );
    }
    if counts.predicted() == 0.0 {
        notes.push("it never holds in the answers: precision is undefined".to_string());
    }
    if !scores {
        notes.push(
            "it has no column of scores: AP, ROC AUC, Brier and ECE are undefined".to_string(),
        );
    } else if rows.outside > 0 {
        notes.push(format!(
            "{} outside 0 to 1: AP, ROC AUC, Brier and ECE are undefined",
            count(rows.outside, "score is", "scores are")
        ));
    } else if rows.without_score() > 0 {
        notes.push(format!(
            "{} without a score: counted in precision, recall, F1 and balanced accuracy alone",
            count(rows.without_score(), "answer", "answers")
        ));
    }
    for (rows, what) in [
        (rows.without_truth, "without truth left out"),
        (rows.without_answer, "without answer left out"),
    ] {
        if rows > 0 {
            notes.push(format!("{} {what}", count(rows, "row", "rows")));
        }
    }
    notes
}

/// A number with the word for it.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// All categories together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overall {
    /// Every answer counts alike; curves over scores of different questions would mean nothing, so there are none.
    pub micro: Figures,
    /// Every category counts alike: the mean of the figures that are defined.
    #[serde(rename = "macro")]
    pub macro_mean: Figures,
    /// Answers against truth, over all categories.
    pub counts: Counts,
}

/// The overall figures. The draws of the categories are independent of each other, although they share their images.
pub fn overall(judged: &[Judged], weighted: bool) -> Overall {
    let sum = |counts: &mut dyn Iterator<Item = Confusion>| {
        counts.fold(Confusion::default(), |sum, counts| sum + counts)
    };
    let all = sum(&mut judged.iter().map(|one| one.confusion));
    let draws = judged.first().map_or(0, |one| one.drawn.len());
    let pooled: Vec<Confusion> = (0..draws)
        .map(|draw| sum(&mut judged.iter().map(|one| one.drawn[draw].confusion)))
        .collect();
    let drawn_of = |figure: fn(&Confusion) -> Option<f64>| {
        let value = figure(&all);
        let interval = percentiles(value, value, pooled.iter().map(figure));
        Figure::new(value, interval, Method::Bootstrap)
    };
    let share = |whole: f64, figure: fn(&Confusion) -> Option<f64>| match weighted {
        true => drawn_of(figure),
        false => Figure::new(
            figure(&all),
            wilson(all.true_positive, whole),
            Method::Wilson,
        ),
    };
    let micro = Figures {
        precision: share(all.predicted(), Confusion::precision),
        recall: share(all.support(), Confusion::recall),
        f1: drawn_of(Confusion::f1),
        balanced_accuracy: drawn_of(Confusion::balanced_accuracy),
        ..Figures::default()
    };
    let mean = |exact: fn(&Figures) -> &Figure, figure: fn(&Replicate) -> Option<f64>| {
        // The same categories in every draw, or the mean would jump when one drops out.
        let defined: Vec<&Judged> = judged
            .iter()
            .filter(|one| exact(&one.figures).value.is_some())
            .collect();
        let mean = |values: &mut dyn Iterator<Item = Option<f64>>| -> Option<f64> {
            let values = values.collect::<Option<Vec<f64>>>()?;
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let value = mean(&mut defined.iter().map(|one| exact(&one.figures).value));
        let grouped = mean(&mut defined.iter().map(|one| figure(&one.grouped)));
        let drawn =
            (0..draws).map(|draw| mean(&mut defined.iter().map(|one| figure(&one.drawn[draw]))));
        let interval = percentiles(value, grouped, drawn);
        Figure::new(value, interval, Method::Bootstrap)
    };
    let macro_mean = Figures {
        precision: mean(|f| &f.precision, |r| r.confusion.precision()),
        recall: mean(|f| &f.recall, |r| r.confusion.recall()),
        f1: mean(|f| &f.f1, |r| r.confusion.f1()),
        balanced_accuracy: mean(
            |f| &f.balanced_accuracy,
            |r| r.confusion.balanced_accuracy(),
        ),
        average_precision: mean(|f| &f.average_precision, |r| r.average_precision),
        roc_auc: mean(|f| &f.roc_auc, |r| r.roc_auc),
        brier: mean(|f| &f.brier, |r| r.brier),
        calibration_error: mean(|f| &f.calibration_error, |r| r.calibration_error),
    };
    Overall {
        micro,
        macro_mean,
        counts: all.into(),
    }
}

/// `value` with so many decimals. A half is rounded up, as browsers do it, so that a gallery shows the same figures.
pub fn decimals(value: f64, digits: usize) -> String {
    // More digits than a number from 0 to 1 has whose half is exact.
    let exact = format!("{value:.60}");
    let rest = exact.split_once('.').map_or("", |(_, rest)| rest);
    let rest = rest.get(digits..).unwrap_or_default();
    if value > 0.0 && rest.starts_with('5') && rest[1..].bytes().all(|digit| digit == b'0') {
        let unit = 10_f64.powi(digits as i32);
        return format!("{:.digits$}", (value * unit).ceil() / unit);
    }
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::super::rows::Row;
    use super::*;

    fn judged(rows: &[(bool, f64)]) -> Judged {
        let mut all = Rows::<u32>::default();
        for (truth, score) in rows {
            all.push(Row {
                truth: Some(*truth),
                predicted: Some(*score >= 0.5),
                score: Some(*score),
                weight: None,
            });
        }
        all.sort();
        judge(&all, true, false, 1)
    }

    #[test]
    fn one_class_leaves_figures_undefined_and_says_so() {
        let never = judged(&[(false, 0.25), (false, 0.75)]);
        assert_eq!(never.figures.roc_auc, Figure::default());
        assert_eq!(never.figures.recall, Figure::default());
        assert_eq!(never.figures.precision.value, Some(0.0));
        assert!(never.notes[0].contains("never yes"), "{:?}", never.notes);
        let always = judged(&[(true, 0.25)]);
        assert_eq!(always.figures.precision.value, None);
        assert!(always.notes[0].contains("always yes"), "{:?}", always.notes);
    }

    #[test]
    fn an_interval_without_width_is_explained() {
        let right: Vec<_> = (0..50)
            .map(|row| (row % 2 == 0, if row % 2 == 0 { 0.9 } else { 0.1 }))
            .collect();
        let said = |judged: Judged| judged.notes.iter().any(|note| note.contains("width"));
        assert!(said(judged(&right)));
        let mixed = [(true, 0.9), (false, 0.8), (true, 0.3), (false, 0.1)].repeat(20);
        assert!(!said(judged(&mixed)));
    }

    #[test]
    fn an_interval_holds_its_figure() {
        let rows: Vec<_> = (0..100)
            .map(|row| (row % 3 == 0, f64::from(row * 37 % 100) / 100.0))
            .collect();
        for (name, figure) in judged(&rows).figures.named() {
            let (low, high) = (figure.low.unwrap(), figure.high.unwrap());
            let value = figure.value.unwrap();
            assert!(
                low <= value && value <= high && low < high,
                "{name} {figure:?}"
            );
        }
    }

    /// Thirty rows that stand for thirty thousand are known no better than thirty rows are.
    #[test]
    fn rows_that_stand_for_others_are_still_few() {
        for score in [Some(0.75), None] {
            let mut rows = Rows::<u32>::default();
            for number in 0..30 {
                rows.push(Row {
                    truth: Some(number % 3 > 0),
                    predicted: Some(true),
                    score,
                    weight: Some(1000.0),
                });
            }
            rows.sort();
            let judged = judge(&rows, score.is_some(), true, 1);
            let precision = judged.figures.precision;
            assert_eq!(precision.value, Some(20.0 / 30.0));
            let wide = precision.high.unwrap() - precision.low.unwrap();
            assert!((0.2..0.5).contains(&wide), "{precision:?}");
        }
    }

    #[test]
    fn macro_is_the_mean_of_what_is_defined() {
        let both = [
            judged(&[(true, 0.75), (false, 0.25)]),
            judged(&[(false, 0.75), (false, 0.25)]),
        ];
        let overall = overall(&both, false);
        assert_eq!(overall.macro_mean.precision.value, Some(0.5));
        assert_eq!(overall.macro_mean.roc_auc.value, Some(1.0));
        assert_eq!(overall.micro.precision.value, Some(0.5));
        assert_eq!(overall.micro.roc_auc, Figure::default());
    }

    #[test]
    fn figures_are_rounded_as_browsers_round_them() {
        for (value, shown) in [
            (0.8125, "0.813"),
            (0.9375, "0.938"),
            (0.0625, "0.063"),
            (1.0, "1.000"),
            (0.1, "0.100"),
        ] {
            assert_eq!(decimals(value, 3), shown);
        }
        // Not quite a half.
        assert_eq!(decimals(1.005, 2), "1.00");
    }
}
