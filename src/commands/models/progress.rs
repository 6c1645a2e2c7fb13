//! What a person sees while a model is fetched: a bar on a terminal, a line every few seconds elsewhere.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::printer::note;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use picsift_vision::{FetchProgress, SourceError};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

const BAR: &str =
    "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";

/// Reports downloads to standard error.
#[derive(Debug, Default)]
pub(crate) struct FetchReport {
    current: Mutex<Option<Current>>,
}

/// The file that is being fetched.
#[derive(Debug)]
struct Current {
    file: String,
    done: u64,
    total: u64,
    said: Instant,
    bar: Option<ProgressBar>,
}

impl FetchReport {
    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        // A report that went wrong half-way is still a report.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FetchProgress for FetchReport {
    fn started(&self, file: &str, total: u64, already: u64) {
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| bar(file, total, already));
        if bar.is_none() {
            note!("fetching {}", line(file, already, total));
        }
        *self.current() = Some(Current {
            file: file.to_string(),
            done: already,
            total,
            said: Instant::now(),
            bar,
        });
    }

    fn advanced(&self, bytes: u64) {
        let mut current = self.current();
        let Some(current) = &mut *current else { return };
        current.done += bytes;
        match &current.bar {
            Some(bar) => bar.set_position(current.done),
            None if current.said.elapsed() >= LINE_EVERY => {
                current.said = Instant::now();
                note!(
                    "fetching {}",
                    line(&current.file, current.done, current.total)
                );
            }
            None => {}
        }
    }

    fn finished(&self) {
        let Some(current) = self.current().take() else {
            return;
        };
        if let Some(bar) = current.bar {
            bar.finish_and_clear();
        }
        note!("fetched {}, {}", current.file, DecimalBytes(current.total));
    }

    fn retrying(&self, error: &SourceError, wait: Duration) {
        if let Some(Current { bar: Some(bar), .. }) = self.current().take() {
            bar.finish_and_clear();
        }
        note!("{error}; trying again in {} s", wait.as_secs_f32());
    }
}

fn bar(file: &str, total: u64, already: u64) -> ProgressBar {
    // The template is a constant that a test checks, so the plain style is never needed.
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    bar.set_message(file.to_string());
    bar.set_position(already);
    // What was here before says nothing about the speed.
    bar.reset_eta();
    bar
}

fn line(file: &str, done: u64, total: u64) -> String {
    if done == 0 {
        return format!("{file}, {}", DecimalBytes(total));
    }
    format!("{file}, {} of {}", DecimalBytes(done), DecimalBytes(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        assert!(ProgressStyle::with_template(BAR).is_ok());
    }

    #[test]
    fn a_line_says_how_far_it_is() {
        assert_eq!(
            line("model.safetensors", 0, 3_854_538_968),
            "model.safetensors, 3.85 GB"
        );
        assert_eq!(
            line("model.safetensors", 1_000_000, 3_854_538_968),
            "model.safetensors, 1.00 MB of 3.85 GB"
        );
    }
}
