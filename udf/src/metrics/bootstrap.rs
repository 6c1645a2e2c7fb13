//! What the figures would have been with other rows of the same kind: the bootstrap, at a cost that does not grow with the rows.
//!
//! Each row is drawn as often as a Poisson number of mean 1 says (Hanley and MacGibbon 2006; Chamandy et al. 2012), so that rows that
//! are alike need one draw for all of them: a Poisson number whose mean is their count. Rows are alike here when truth, answer and
//! weight are the same and their scores are neighbours; some thousand groups of neighbours stand for any number of rows. What
//! the grouping does to a figure is taken off again: an interval is the spread of the draws around the exact figure.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Normal, Poisson};

use super::{Calibration, Confusion, Interval, Ranking, Tie};

/// Draws of all rows.
pub const REPLICATES: usize = 500;

/// Groups of neighbouring scores that hold all true rows, and as many again for the false ones.
const GROUPS: f64 = 500.0;

/// Mean from which on a Poisson number is drawn as a rounded normal one, which is several times as fast.
const NORMAL_FROM: f64 = 100.0;

/// Rows that are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    truth: bool,
    predicted: bool,
    /// Weight of each.
    weight: f64,
    /// How many.
    rows: f64,
    /// Sum of their scores; `None` for rows without one.
    score: Option<f64>,
    /// Sum of `truth - score`, squared.
    squared: f64,
    /// Number of its group of scores, highest first.
    group: usize,
}

/// Puts rows into cells, highest score first.
#[derive(Debug)]
pub struct CellBuilder {
    most_positive: f64,
    most_negative: f64,
    cells: Vec<Cell>,
    /// Where the cells of the open group begin.
    open: usize,
    group: usize,
    positive: f64,
    negative: f64,
    last: Option<f64>,
}

impl CellBuilder {
    /// For so many true and false rows.
    pub fn new(positive: f64, negative: f64) -> Self {
        Self {
            most_positive: positive / GROUPS,
            most_negative: negative / GROUPS,
            cells: Vec::new(),
            open: 0,
            group: 0,
            positive: 0.0,
            negative: 0.0,
            last: None,
        }
    }

    /// Adds `rows` rows of one score, none higher than the one before; those without a score come last.
    pub fn push(
        &mut self,
        score: Option<f64>,
        truth: bool,
        predicted: bool,
        weight: f64,
        rows: f64,
    ) {
        let full = self.positive >= self.most_positive.max(1.0)
            || self.negative >= self.most_negative.max(1.0);
        // Rows of one score stay together: ties count half.
        if score != self.last && (full || score.is_none()) {
            self.open = self.cells.len();
            self.group += 1;
            (self.positive, self.negative) = (0.0, 0.0);
        }
        self.last = score;
        *match truth {
            true => &mut self.positive,
            false => &mut self.negative,
        } += rows;
        let gap = score.map_or(0.0, |score| f64::from(u8::from(truth)) - score);
        let alike = self.cells[self.open..].iter_mut().find(|cell| {
            (cell.truth, cell.predicted) == (truth, predicted) && cell.weight == weight
        });
        match alike {
            Some(cell) => {
                cell.rows += rows;
                cell.score = cell.score.zip(score).map(|(sum, score)| sum + rows * score);
                cell.squared += rows * gap * gap;
            }
            None => self.cells.push(Cell {
                truth,
                predicted,
                weight,
                rows,
                score: score.map(|score| rows * score),
                squared: rows * gap * gap,
                group: self.group,
            }),
        }
    }

    /// The cells, highest scores first.
    pub fn finish(self) -> Vec<Cell> {
        self.cells
    }
}

/// The figures of one draw.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Replicate {
    /// Answers against truth.
    pub confusion: Confusion,
    /// As [`Ranking::average_precision`].
    pub average_precision: Option<f64>,
    /// As [`Ranking::roc_auc`].
    pub roc_auc: Option<f64>,
    /// As [`Calibration::brier`].
    pub brier: Option<f64>,
    /// As [`Calibration::expected_error`].
    pub calibration_error: Option<f64>,
}

/// The figures of the cells as they are, and of [`REPLICATES`] draws; the same for the same seed.
pub fn replicates(cells: &[Cell], seed: u64) -> (Replicate, Vec<Replicate>) {
    let draws: Vec<Draw> = cells.iter().map(|cell| Draw::of(cell.rows)).collect();
    let mut random = StdRng::seed_from_u64(seed);
    let drawn = (0..REPLICATES)
        .map(|_| figures(cells, |index| draws[index].next(&mut random)))
        .collect();
    (figures(cells, |index| cells[index].rows), drawn)
}

fn figures(cells: &[Cell], mut rows: impl FnMut(usize) -> f64) -> Replicate {
    let mut confusion = Confusion::default();
    let mut ranking = Ranking::default();
    let mut calibration = Calibration::default();
    let mut tie = Tie::default();
    let mut group = 0;
    for (index, cell) in cells.iter().enumerate() {
        let rows = rows(index);
        let weight = rows * cell.weight;
        confusion.count(cell.truth, cell.predicted, weight);
        let Some(score) = cell.score else {
            continue;
        };
        if cell.group != group {
            ranking.push(std::mem::take(&mut tie));
            group = cell.group;
        }
        *match cell.truth {
            true => &mut tie.positive,
            false => &mut tie.negative,
        } += weight;
        let score = score / cell.rows;
        let gap = f64::from(u8::from(cell.truth)) - score;
        calibration.push_sum(
            score,
            weight,
            weight * gap,
            weight * cell.squared / cell.rows,
        );
    }
    ranking.push(tie);
    Replicate {
        confusion,
        average_precision: ranking.average_precision(),
        roc_auc: ranking.roc_auc(),
        brier: calibration.brier(),
        calibration_error: calibration.expected_error(),
    }
}

/// How often rows that are alike are drawn.
enum Draw {
    Few(Poisson<f64>),
    Many(Normal<f64>),
    /// Numbers that no distribution takes; there are none in a cell.
    Never,
}

impl Draw {
    fn of(rows: f64) -> Self {
        let many = rows >= NORMAL_FROM;
        let normal = many.then(|| Normal::new(rows, rows.sqrt()).ok()).flatten();
        match (normal, Poisson::new(rows)) {
            (Some(normal), _) => Self::Many(normal),
            (None, Ok(poisson)) => Self::Few(poisson),
            (None, Err(_)) => Self::Never,
        }
    }

    fn next(&self, random: &mut impl Rng) -> f64 {
        match self {
            Self::Few(poisson) => poisson.sample(random),
            Self::Many(normal) => normal.sample(random).round().max(0.0),
            Self::Never => 0.0,
        }
    }
}

/// The 95 % percentile interval of what was drawn, around the `exact` figure: `grouped` is the figure of the cells themselves.
///
/// Undefined where the figure is, or where it is so in more than half of the draws.
pub fn percentiles(
    exact: Option<f64>,
    grouped: Option<f64>,
    drawn: impl IntoIterator<Item = Option<f64>>,
) -> Option<Interval> {
    let (exact, grouped) = exact.zip(grouped)?;
    let mut drawn: Vec<f64> = drawn.into_iter().flatten().collect();
    if drawn.len() * 2 < REPLICATES {
        return None;
    }
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| {
        // Linear between neighbours, as NumPy's default.
        let place = share * (drawn.len() - 1) as f64;
        let (below, above) = (drawn[place.floor() as usize], drawn[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    let shifted = |value: f64| (value - grouped + exact).clamp(0.0, 1.0);
    Some(Interval {
        low: shifted(at(0.025)),
        high: shifted(at(0.975)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows with a score, true with that probability, answered by a threshold of a half.
    fn rows(count: usize, seed: u64) -> Vec<(f64, bool)> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rows: Vec<_> = (0..count)
            .map(|_| {
                let score: f64 = random.random();
                (score, random.random::<f64>() < score)
            })
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        rows
    }

    fn cells(rows: &[(f64, bool)]) -> Vec<Cell> {
        let positive = rows.iter().filter(|(_, truth)| *truth).count();
        let mut builder = CellBuilder::new(positive as f64, (rows.len() - positive) as f64);
        for (score, truth) in rows {
            builder.push(Some(*score), *truth, *score >= 0.5, 1.0, 1.0);
        }
        builder.finish()
    }

    #[test]
    fn cells_are_few_and_keep_the_figures() {
        let rows = rows(200_000, 1);
        let cells = cells(&rows);
        assert!(cells.len() < 4000, "{}", cells.len());
        let grouped = figures(&cells, |index| cells[index].rows);
        let exact = Ranking::of(rows.iter().map(|(_, truth)| Tie {
            positive: f64::from(u8::from(*truth)),
            negative: f64::from(u8::from(!*truth)),
        }));
        let near = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-3;
        assert!(near(grouped.roc_auc, exact.roc_auc()));
        assert!(near(grouped.average_precision, exact.average_precision()));
        assert_eq!(grouped.confusion.total(), 200_000.0);
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let cells = cells(&rows(300, 2));
        assert_eq!(replicates(&cells, 7), replicates(&cells, 7));
        assert_ne!(replicates(&cells, 7).1, replicates(&cells, 8).1);
    }

    /// Of 300 tables of 400 rows the intervals must hold the figure of the whole population about 95 times in a hundred.
    #[test]
    fn intervals_hold_the_figure_of_the_population() {
        // Of this population: the area under y = x^2 against its complement, 5/6; the mean of x (1 - x), 1/6.
        let (auc, brier) = (5.0 / 6.0, 1.0 / 6.0);
        let (mut held_auc, mut held_brier) = (0, 0);
        for table in 0..300 {
            let cells = cells(&rows(400, 1000 + table));
            let (point, drawn) = replicates(&cells, table);
            let holds = |figure: fn(&Replicate) -> Option<f64>, truth: f64| {
                let interval =
                    percentiles(figure(&point), figure(&point), drawn.iter().map(figure)).unwrap();
                interval.low <= truth && truth <= interval.high
            };
            held_auc += usize::from(holds(|r| r.roc_auc, auc));
            held_brier += usize::from(holds(|r| r.brier, brier));
        }
        // Four standard deviations of a binomial number of mean 285.
        assert!((270..=300).contains(&held_auc), "{held_auc}");
        assert!((270..=300).contains(&held_brier), "{held_brier}");
    }

    #[test]
    fn weights_count_like_copies_in_the_figures() {
        let mut once = CellBuilder::new(2.0, 1.0);
        let mut thrice = CellBuilder::new(4.0, 1.0);
        for (builder, weight, rows) in [(&mut once, 3.0, 1.0), (&mut thrice, 1.0, 3.0)] {
            builder.push(Some(0.9), true, true, weight, rows);
            builder.push(Some(0.5), false, true, 1.0, 1.0);
            builder.push(None, true, false, 1.0, 1.0);
        }
        let figures = |cells: &[Cell]| replicates(cells, 0).0;
        let (once, thrice) = (figures(&once.finish()), figures(&thrice.finish()));
        assert_eq!(once.confusion, thrice.confusion);
        assert_eq!(once.roc_auc, thrice.roc_auc);
        assert!((once.brier.unwrap() - thrice.brier.unwrap()).abs() < 1e-15);
        assert_eq!(once.confusion.false_negative, 1.0);
    }
}
