//! What was found out, for a terminal and for programs.

use serde::Serialize;

use crate::error::AppError;
use crate::eval::figures::{Figure, decimals};

const MEAN: &str = "mean F1";
const MODEL: &str = "model";

/// The frontier of quality against price, and what was chosen of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of picsift.
    pub picsift: String,
    /// The tables as a person would write them.
    pub table: String,
    /// Rows that chose.
    pub chosen_by: u64,
    /// Rows that judged, of which none chose.
    pub judged_by: u64,
    /// Plans that were tried.
    pub tried: u64,
    /// Images that models were shown for their answers.
    pub asked: u64,
    /// Images of which everything was kept.
    pub kept: u64,
    /// Images that models were shown to be timed.
    pub timed: u64,
    /// Plans of which none that costs less did better on the rows that chose; cheapest first.
    pub frontier: Vec<PlanReport>,
    /// Each model as it comes: its own wordings and thresholds.
    pub as_they_come: Vec<PlanReport>,
    /// Which of the frontier was chosen, from 0.
    pub chosen: usize,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// One plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanReport {
    /// The model; of a cascade the dear one.
    pub model: String,
    /// The cheap model of a cascade.
    pub cascade: Option<String>,
    /// What the cheap model promises of the dear one's answers, recall and precision alike.
    pub promise: Option<f64>,
    /// Share of the rows that the dear model of a cascade is asked about.
    pub asked: Option<f64>,
    /// Seconds that a thousand images take on this machine.
    pub seconds_per_thousand: f64,
    /// Mean of the categories' F1, on the rows that judged.
    pub f1: Figure,
    /// The same on the rows that chose, which is too good to be true.
    pub f1_of_choosing: f64,
    /// What it asks.
    pub categories: Vec<CategoryPlan>,
}

/// A category of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CategoryPlan {
    /// Its name.
    pub name: String,
    /// In which words it is asked for.
    pub wording: String,
    /// Score from which it holds.
    pub threshold: f32,
    /// F1 on the rows that judged.
    pub f1: Figure,
}

impl Report {
    /// The plan that was chosen.
    pub fn choice(&self) -> Option<&PlanReport> {
        self.frontier.get(self.chosen)
    }

    /// As JSON.
    ///
    /// # Errors
    /// Never for figures that are numbers.
    pub fn json(&self) -> Result<String, AppError> {
        let text = serde_json::to_string_pretty(self).map_err(AppError::json)?;
        Ok(text + "\n")
    }

    /// For a terminal.
    pub fn table(&self) -> String {
        let mut text = format!("{}\nas they come\n", laid_out(&self.frontier));
        text += &laid_out(&self.as_they_come);
        text += "\n";
        if let Some(chosen) = self.choice() {
            text += &format!("chosen: {}\n", chosen.said());
            for category in &chosen.categories {
                text += &format!(
                    "  {} {} from {}, F1 {}\n",
                    category.name,
                    category.wording,
                    category.threshold,
                    said(category.f1)
                );
            }
        }
        text += &format!(
            "{} plans tried; {} rows chose, and the figures are of the {} others, with 95 % intervals\n",
            self.tried, self.chosen_by, self.judged_by
        );
        text
    }
}

impl PlanReport {
    /// Models and promise, in words.
    pub fn said(&self) -> String {
        match (&self.cascade, self.promise, self.asked) {
            (Some(cheap), Some(promise), Some(asked)) => format!(
                "{}, {cheap} before it at {promise} (asked about {:.0} %)",
                self.model,
                100.0 * asked
            ),
            _ => self.model.clone(),
        }
    }
}

/// Seconds with as many digits as say something.
pub fn seconds(value: f64) -> String {
    let digits = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// A figure with its interval.
pub fn said(figure: Figure) -> String {
    let Some(value) = figure.value else {
        return "undefined".to_string();
    };
    let value = decimals(value, 3);
    match figure.low.zip(figure.high) {
        Some((low, high)) => format!("{value} ({} to {})", decimals(low, 3), decimals(high, 3)),
        None => value,
    }
}

/// A line a plan, the price last: times differ from run to run, and nothing stands behind them that would move.
fn laid_out(plans: &[PlanReport]) -> String {
    let rows: Vec<[String; 2]> = plans
        .iter()
        .map(|plan| [said(plan.f1), plan.said()])
        .collect();
    let wide = |column: usize, name: &str| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.chain([name.len()]).max().unwrap_or_default()
    };
    let (f1, model) = (wide(0, MEAN), wide(1, MODEL));
    let mut text = format!("{MEAN:f1$}  {MODEL:model$}  per 1,000 images\n");
    for (row, plan) in rows.iter().zip(plans) {
        let price = seconds(plan.seconds_per_thousand);
        text += &format!("{:f1$}  {:model$}  {price} s\n", row[0], row[1]);
    }
    text
}
