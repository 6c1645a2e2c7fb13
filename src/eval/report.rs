//! An evaluation as people and programs read it: a table for the terminal, Markdown, JSON.
//!
//! In JSON every figure has all its digits; elsewhere three decimals. What is undefined is `null` or a dash.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use serde::Serialize;
use serde_json::Value;

use super::figures::{Counts, Figure, Figures, Overall, count, decimals};
use super::join::Joined;
use super::matrix::MatrixReport;
use super::mistakes::Mistake;
use super::sweep::Choice;
use crate::error::AppError;

/// What an evaluation found.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Version of picsift.
    pub picsift: String,
    /// The table that was judged.
    pub labelled: String,
    /// The model that answered, as the table's manifest has it.
    pub model: Option<Value>,
    /// Rows that were read.
    pub rows: u64,
    /// Whether rows stand for others.
    pub weighted: bool,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// How truth from another table fits.
    pub joined: Option<Joined>,
    /// All categories together.
    pub overall: Overall,
    /// Single labels against each other.
    pub matrix: Option<MatrixReport>,
    /// Each category.
    pub categories: Vec<CategoryReport>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// One category.
#[derive(Debug, Serialize)]
pub struct CategoryReport {
    /// Its name.
    pub name: String,
    /// Its BOOLEAN column.
    pub column: String,
    /// The question that was asked.
    pub prompt: Option<String>,
    /// Score from which it held.
    pub threshold: Option<f32>,
    /// Weight of the rows that count: truth and answer are known.
    pub rows: f64,
    /// Weight of those that are true.
    pub support: f64,
    /// Answers against truth.
    pub counts: Counts,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// What is undefined or left out, and why.
    pub notes: Vec<String>,
    /// The surest wrong answers.
    pub mistakes: Vec<Mistake>,
    /// The threshold that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepReport>,
}

/// What a sweep found for one category.
#[derive(Debug, Serialize)]
pub struct SweepReport {
    /// What was looked for.
    pub goal: String,
    /// The threshold, where there is one.
    pub choice: Option<Choice>,
    /// Why there is none.
    pub reason: Option<String>,
}

/// As JSON.
///
/// # Errors
/// Never for figures that are numbers.
pub fn json(evaluation: &Evaluation) -> Result<String, AppError> {
    let text = serde_json::to_string_pretty(evaluation)
        .map_err(|error| AppError::Usage(format!("the evaluation is no JSON: {error}")))?;
    Ok(text + "\n")
}

/// For a terminal.
///
/// # Errors
/// Arrow's, when a table cannot be laid out.
pub fn table(evaluation: &Evaluation) -> Result<String, AppError> {
    let mut text = String::new();
    for part in parts(evaluation, '\n') {
        if let Some(title) = &part.title {
            text += &format!("{title}\n");
        }
        text += &laid_out(&part)?;
        for line in &part.lines {
            text += &format!("{line}\n");
        }
        text.push('\n');
    }
    text.pop();
    Ok(text)
}

/// As Markdown.
pub fn markdown(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    for part in parts(evaluation, ' ') {
        if let Some(title) = &part.title {
            text += &format!("### {title}\n\n");
        }
        if !part.rows.is_empty() {
            let line = |cells: &[String]| {
                let cells: Vec<_> = cells.iter().map(|cell| escaped(cell)).collect();
                format!("| {} |\n", cells.join(" | "))
            };
            text += &line(&part.header);
            text += &format!("|{}\n", " --- |".repeat(part.header.len()));
            for row in &part.rows {
                text += &line(row);
            }
            text.push('\n');
        }
        for line in &part.lines {
            text += &format!("- {}\n", escaped(line));
        }
        if !part.lines.is_empty() {
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Text from data that Markdown shows as it is: in a table's cell too.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '\\' | '|' | '<' | '>' | '[' | ']' | '*' | '_' | '`' | '#' | '&' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A table with lines under it.
#[derive(Default)]
struct Part {
    title: Option<String>,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    lines: Vec<String>,
}

fn parts(evaluation: &Evaluation, between: char) -> Vec<Part> {
    let mut parts = vec![summary(evaluation, between)];
    if let Some(matrix) = &evaluation.matrix {
        parts.push(matrix_part(matrix));
    }
    if evaluation.categories.iter().any(|one| one.sweep.is_some()) {
        parts.push(sweep_part(evaluation));
    }
    let mistakes = mistakes_part(evaluation);
    if !mistakes.rows.is_empty() {
        parts.push(mistakes);
    }
    parts
}

fn summary(evaluation: &Evaluation, between: char) -> Part {
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.to_string())
            .collect::<Vec<_>>()
    };
    let mut header = texts(&["category", "rows", "support"]);
    header.extend(
        evaluation
            .overall
            .micro
            .named()
            .map(|(name, _)| name.to_string()),
    );
    let figures = |figures: &Figures| figures.named().map(|(_, figure)| cell(figure, between));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for category in &evaluation.categories {
        let mut row = vec![
            category.name.clone(),
            number(category.rows),
            number(category.support),
        ];
        row.extend(figures(&category.figures));
        rows.push(row);
    }
    let overall = &evaluation.overall;
    if evaluation.categories.len() > 1 {
        let counts = &overall.counts;
        let support = counts.true_positive + counts.false_negative;
        let total = support + counts.false_positive + counts.true_negative;
        let mut micro = vec!["all answers".to_string(), number(total), number(support)];
        micro.extend(figures(&overall.micro));
        let mut mean = texts(&["mean of categories", "", ""]);
        mean.extend(figures(&overall.macro_mean));
        rows.extend([micro, mean]);
    }
    let mut lines = vec![format!(
        "{} of {}; 95 % intervals: {} for precision and recall, bootstrap (seed {}) for the others",
        count(evaluation.rows, "row", "rows"),
        evaluation.labelled,
        if evaluation.weighted {
            "bootstrap"
        } else {
            "Wilson"
        },
        evaluation.seed,
    )];
    lines.extend(evaluation.notes.iter().cloned());
    for category in &evaluation.categories {
        for note in &category.notes {
            lines.push(format!("{}: {note}", category.name));
        }
    }
    Part {
        title: None,
        header,
        rows,
        lines,
    }
}

fn matrix_part(matrix: &MatrixReport) -> Part {
    let mut header = vec!["true label".to_string()];
    header.extend(matrix.predicted.iter().cloned());
    let rows = matrix
        .truth
        .iter()
        .zip(&matrix.rows)
        .map(|(name, weights)| {
            let mut row = vec![name.clone()];
            row.extend(weights.iter().map(|weight| number(*weight)));
            row
        });
    let mut line = String::new();
    if let Some(accuracy) = matrix.accuracy {
        let _ = write!(line, "label is the true one: {}", decimals(accuracy, 3));
        if let Some(interval) = matrix.interval {
            let _ = write!(
                line,
                " ({} to {}, Wilson)",
                decimals(interval.low, 3),
                decimals(interval.high, 3)
            );
        }
    }
    Part {
        title: Some("Confusion matrix: true label by the label answered".to_string()),
        header,
        rows: rows.collect(),
        lines: vec![line],
    }
}

fn sweep_part(evaluation: &Evaluation) -> Part {
    let header = [
        "category",
        "threshold",
        "better",
        "precision",
        "recall",
        "F1",
    ];
    let mut goal = String::new();
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    for category in &evaluation.categories {
        let Some(sweep) = &category.sweep else {
            continue;
        };
        goal.clone_from(&sweep.goal);
        let former = category
            .threshold
            .map_or("-".to_string(), |t| t.to_string());
        match (&sweep.choice, &sweep.reason) {
            (Some(choice), _) => rows.push(vec![
                category.name.clone(),
                former,
                choice.threshold.to_string(),
                decimals(choice.precision, 3),
                decimals(choice.recall, 3),
                decimals(choice.f1, 3),
            ]),
            (None, reason) => lines.push(format!(
                "{}: no threshold, because {}",
                category.name,
                reason.as_deref().unwrap_or("there is none")
            )),
        }
    }
    lines.push(
        "the figures are those of the rows that the thresholds were chosen on: expect a little less of others".to_string(),
    );
    Part {
        title: Some(format!("Thresholds with the {goal}")),
        header: header.map(str::to_string).to_vec(),
        rows,
        lines,
    }
}

fn mistakes_part(evaluation: &Evaluation) -> Part {
    let header = ["category", "image", "true", "answered", "score"];
    let yes = |holds: bool| if holds { "yes" } else { "no" }.to_string();
    let mut rows = Vec::new();
    for category in &evaluation.categories {
        for mistake in &category.mistakes {
            // Reports are passed on: no query of a signed URL, no character that a terminal obeys.
            let image = mistake.key.as_deref().map(picsift_images::shown);
            rows.push(vec![
                category.name.clone(),
                image.unwrap_or("-".to_string()),
                yes(mistake.truth),
                yes(mistake.predicted),
                mistake
                    .score
                    .map_or("-".to_string(), |score| decimals(score, 3)),
            ]);
        }
    }
    Part {
        title: Some("Worst mistakes".to_string()),
        header: header.map(str::to_string).to_vec(),
        rows,
        lines: Vec::new(),
    }
}

fn cell(figure: &Figure, between: char) -> String {
    let Some(value) = figure.value else {
        return "-".to_string();
    };
    let value = decimals(value, 3);
    match (figure.low, figure.high) {
        (Some(low), Some(high)) if between == '\n' => {
            format!("{value}\n{} {}", decimals(low, 2), decimals(high, 2))
        }
        (Some(low), Some(high)) => {
            format!("{value} ({} to {})", decimals(low, 2), decimals(high, 2))
        }
        _ => value,
    }
}

/// A count, or an estimate of one.
fn number(weight: f64) -> String {
    match weight.fract() == 0.0 {
        true => format!("{weight:.0}"),
        false => format!("{weight:.1}"),
    }
}

fn laid_out(part: &Part) -> Result<String, AppError> {
    if part.rows.is_empty() {
        return Ok(String::new());
    }
    let columns = part.header.iter().enumerate().map(|(place, name)| {
        let cells = part
            .rows
            .iter()
            .map(|row| row.get(place).map(String::as_str));
        let cells: ArrayRef = Arc::new(cells.collect::<StringArray>());
        (name, cells)
    });
    let failed = |error| AppError::Run(datafusion::error::DataFusionError::from(error));
    let batch = RecordBatch::try_from_iter(columns).map_err(failed)?;
    let text = pretty_format_batches(&[batch]).map_err(failed)?;
    Ok(format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_data_stays_text_in_markdown() {
        assert_eq!(
            escaped("a|b\n<script>*_[x](y)"),
            "a\\|b \\<script\\>\\*\\_\\[x\\](y)"
        );
    }

    #[test]
    fn an_undefined_figure_is_a_dash() {
        assert_eq!(cell(&Figure::default(), ' '), "-");
        let figure = Figure {
            value: Some(0.5),
            low: Some(0.25),
            high: Some(0.75),
            interval: None,
        };
        assert_eq!(cell(&figure, ' '), "0.500 (0.25 to 0.75)");
        assert_eq!(number(3.0), "3");
        assert_eq!(number(3.25), "3.2");
    }
}
