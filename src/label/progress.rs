//! What a person sees while a job runs: a bar on a terminal, a line every few seconds elsewhere.
//!
//! Reads the run's counters now and then; the work does not know it is watched.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::printer::note;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use picsift_udf::RunStats;
use tokio::task::JoinHandle;

/// How often a bar is drawn anew.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{bar:30} {human_pos}/{human_len} images, {per_sec}, {eta} left{msg}";
const SPINNER: &str = "{spinner} {human_pos} images, {per_sec}, {elapsed}{msg}";

/// A task that reports until it is stopped.
#[derive(Debug)]
pub struct Progress {
    task: JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins to report to standard error. `total` is the number of rows, where it is known, and `done` how many of them an
    /// earlier run has done.
    pub fn start(stats: Arc<RunStats>, done: u64, total: Option<u64>) -> Self {
        if std::io::stderr().is_terminal() {
            let bar = bar(total);
            bar.set_position(done);
            bar.reset_eta();
            let drawn = bar.clone();
            let task = tokio::spawn(async move {
                let mut ticks = tokio::time::interval(BAR_EVERY);
                loop {
                    ticks.tick().await;
                    drawn.set_position(done + stats.rows());
                    if stats.failures() > 0 {
                        drawn.set_message(format!(", {} failed", HumanCount(stats.failures())));
                    }
                    drawn.tick();
                }
            });
            return Self {
                task,
                bar: Some(bar),
            };
        }
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let mut ticks = tokio::time::interval(LINE_EVERY);
            // The first tick is at once.
            ticks.tick().await;
            loop {
                ticks.tick().await;
                note!(
                    "{}",
                    line(
                        stats.rows(),
                        done,
                        stats.failures(),
                        total,
                        started.elapsed()
                    )
                );
            }
        });
        Self { task, bar: None }
    }

    /// Ends the report and waits until nothing more is written.
    pub async fn stop(self) {
        self.task.abort();
        // Aborted is what was asked for; a panic of the report must not undo the work it reports on.
        let _ = self.task.await;
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
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

fn line(rows: u64, done: u64, failures: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = rows as f64 / elapsed.as_secs_f64().max(f64::EPSILON);
    let rows = rows + done;
    let mut text = match total {
        Some(total) => format!("{}/{} images", HumanCount(rows), HumanCount(total)),
        None => format!("{} images", HumanCount(rows)),
    };
    text.push_str(&format!(", {rate:.0} images/s"));
    if let Some(left) = total.map(|total| total.saturating_sub(rows))
        && rate > 0.0
    {
        let left = Duration::from_secs_f64((left as f64 / rate).min(1e9));
        text.push_str(&format!(", {} left", HumanDuration(left)));
    }
    if failures > 0 {
        text.push_str(&format!(", {} failed", HumanCount(failures)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_and_time_left() {
        assert_eq!(
            line(500, 0, 0, Some(2000), Duration::from_secs(5)),
            "500/2,000 images, 100 images/s, 15 seconds left"
        );
        assert_eq!(
            line(500, 1000, 0, Some(2000), Duration::from_secs(5)),
            "1,500/2,000 images, 100 images/s, 5 seconds left",
            "what an earlier run did does not count for the rate"
        );
        assert_eq!(
            line(1500, 0, 2, None, Duration::from_secs(5)),
            "1,500 images, 300 images/s, 2 failed"
        );
    }

    #[test]
    fn nothing_done_yet_has_no_time_left() {
        assert_eq!(
            line(0, 0, 0, Some(10), Duration::from_secs(5)),
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
