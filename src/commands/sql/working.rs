//! A sign of life of a statement that takes longer than a second, on the terminal of whoever waits for it.

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use picsift_udf::RunStats;
use tokio::task::JoinHandle;

use super::super::printer::is_quiet;

/// Time after which a person wonders.
const AFTER: Duration = Duration::from_secs(1);

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(100);

/// Shows that a statement is at work, until it is dropped.
#[derive(Debug)]
pub(super) struct Working {
    task: JoinHandle<()>,
    bar: ProgressBar,
    stats: Arc<OnceLock<Arc<RunStats>>>,
}

impl Working {
    /// From now on; `None` where nobody sees it.
    pub(super) fn begin() -> Option<Self> {
        if is_quiet() || !std::io::stderr().is_terminal() {
            return None;
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let stats: Arc<OnceLock<Arc<RunStats>>> = Arc::default();
        let begun = Instant::now();
        let (shown, known) = (bar.clone(), Arc::clone(&stats));
        let task = tokio::spawn(async move {
            tokio::time::sleep(AFTER).await;
            loop {
                let images = known.get().map_or(0, |stats| stats.images());
                shown.set_message(message(images, begun.elapsed()));
                shown.tick();
                tokio::time::sleep(EVERY).await;
            }
        });
        Some(Self { task, bar, stats })
    }

    /// Tells what counts the images of the statement.
    pub(super) fn counts(&self, stats: &Arc<RunStats>) {
        // The first stays.
        let _ = self.stats.set(Arc::clone(stats));
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

fn message(images: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match images {
        0 => format!("{seconds:.0} s; Ctrl-C stops it"),
        images => format!(
            "{} images, {:.0} images/s, {seconds:.0} s; Ctrl-C stops it",
            HumanCount(images),
            images as f64 / seconds
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_once_there_are_some() {
        let four = Duration::from_secs(4);
        assert_eq!(message(0, four), "4 s; Ctrl-C stops it");
        assert_eq!(
            message(1000, four),
            "1,000 images, 250 images/s, 4 s; Ctrl-C stops it"
        );
    }
}
