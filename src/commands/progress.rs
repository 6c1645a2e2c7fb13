//! What a person sees while a job runs: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use serde_json::{Value, json};

use super::printer::note;
use crate::cli::ProgressForm;
use crate::label::Progress;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{bar:30} {human_pos}/{human_len} images, {per_sec}, {eta} left{msg}";
const SPINNER: &str = "{spinner} {human_pos} images, {per_sec}, {elapsed}{msg}";

/// Time between two JSON objects.
const OBJECT_EVERY: Duration = Duration::from_secs(1);

/// Shows a job's progress on standard error; clones show the same.
#[derive(Debug, Clone)]
pub(super) struct JobProgress {
    form: ProgressForm,
    shown: Arc<Mutex<Shown>>,
}

#[derive(Debug, Default)]
struct Shown {
    bar: Option<ProgressBar>,
    /// When the last line was written, in the job's time.
    line: Duration,
}

impl JobProgress {
    /// In this form; a bar on a terminal and lines elsewhere, where that is left open.
    pub(super) fn new(form: ProgressForm) -> Self {
        let form = match form {
            ProgressForm::Auto if std::io::stderr().is_terminal() => ProgressForm::Bar,
            ProgressForm::Auto => ProgressForm::Plain,
            form => form,
        };
        Self {
            form,
            shown: Arc::default(),
        }
    }

    /// Shows how far the job is.
    pub(super) fn show(&self, progress: &Progress) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_due = |every| {
            let due = progress.elapsed.saturating_sub(shown.line) >= every;
            if due {
                shown.line = progress.elapsed;
            }
            due
        };
        match self.form {
            ProgressForm::Plain if is_due(LINE_EVERY) => note!("{}", line(progress)),
            ProgressForm::Json if is_due(OBJECT_EVERY) => note!("{}", object(progress)),
            ProgressForm::Bar => {
                let bar = shown.bar.get_or_insert_with(|| {
                    let bar = bar(progress.total);
                    bar.set_position(progress.before);
                    bar.reset_eta();
                    bar
                });
                bar.set_position(progress.before + progress.rows);
                if progress.failures > 0 {
                    bar.set_message(format!(", {} failed", HumanCount(progress.failures)));
                }
                bar.tick();
            }
            _ => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = shown.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn object(progress: &Progress) -> Value {
    json!({
        "rows": progress.before + progress.rows,
        "total": progress.total,
        "failures": progress.failures,
        "seconds": (progress.elapsed.as_secs_f64() * 1e3).round() / 1e3,
    })
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), BAR),
        None => (ProgressBar::new_spinner(), SPINNER),
    };
    // The templates are constants that a test checks, so the plain style is never needed.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.with_key(
        "per_sec",
        |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
            // Writing to a String does not fail.
            let _ = write!(out, "{:.0} images/s", state.per_sec());
        },
    ))
}

fn line(progress: &Progress) -> String {
    let rate = progress.rows as f64 / progress.elapsed.as_secs_f64().max(f64::EPSILON);
    let rows = progress.rows + progress.before;
    let mut text = match progress.total {
        Some(total) => format!("{}/{} images", HumanCount(rows), HumanCount(total)),
        None => format!("{} images", HumanCount(rows)),
    };
    text.push_str(&format!(", {rate:.0} images/s"));
    if let Some(left) = progress.total.map(|total| total.saturating_sub(rows))
        && rate > 0.0
    {
        let left = Duration::from_secs_f64((left as f64 / rate).min(1e9));
        text.push_str(&format!(", {} left", HumanDuration(left)));
    }
    if progress.failures > 0 {
        text.push_str(&format!(", {} failed", HumanCount(progress.failures)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_five_seconds(rows: u64, before: u64, total: Option<u64>, failures: u64) -> String {
        line(&Progress {
            rows,
            before,
            total,
            failures,
            elapsed: Duration::from_secs(5),
        })
    }

    #[test]
    fn a_line_says_rate_and_time_left() {
        assert_eq!(
            after_five_seconds(500, 0, Some(2000), 0),
            "500/2,000 images, 100 images/s, 15 seconds left"
        );
        assert_eq!(
            after_five_seconds(500, 1000, Some(2000), 0),
            "1,500/2,000 images, 100 images/s, 5 seconds left",
            "what an earlier run did does not count for the rate"
        );
        assert_eq!(
            after_five_seconds(1500, 0, None, 2),
            "1,500 images, 300 images/s, 2 failed"
        );
    }

    #[test]
    fn nothing_done_yet_has_no_time_left() {
        assert_eq!(
            after_five_seconds(0, 0, Some(10), 0),
            "0/10 images, 0 images/s"
        );
    }

    #[test]
    fn both_templates_are_valid() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
