//! What a model costs: how long it takes for a few of the images, with all that comes before it, and nothing of them known.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use picsift_udf::{Engine, EngineOptions, InferenceQuota};

use super::candidates::Tried;
use super::reading::Reading;
use super::{Candidate, TuneOptions};
use crate::batches;
use crate::error::AppError;

/// Rows whose images are timed at most, and after how long no more are.
const ROWS: usize = 48;
const LONGEST: Duration = Duration::from_secs(20);

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    /// Seconds that a thousand images take.
    pub(super) seconds: f64,
    /// Images that were shown to the model for that.
    pub(super) images: u64,
}

/// Times each candidate on the first rows, fetching and decoding included, its weights read before; `None` where the budget had nothing
/// left for it.
///
/// # Errors
/// As [`Reading::open`]; when a model cannot be loaded or rows not be read.
pub(super) async fn time(
    options: &TuneOptions,
    engine: &Engine,
    quota: &Arc<InferenceQuota>,
    tried: &[Tried],
    candidates: &[Candidate],
) -> Result<Vec<Option<Speed>>, AppError> {
    let mut all = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        // An engine beside the other, that nothing of earlier images is known.
        let fresh = engine.beside(EngineOptions {
            store: None,
            ..options.engine.clone()
        })?;
        let fresh = Arc::new(fresh);
        tokio::task::block_in_place(|| fresh.service(&candidate.name, &candidate.load))?;
        let reading = Reading::open(options, &fresh, quota, tried).await?;
        let frame = reading.asked(candidate, tried)?;
        let frame = frame.limit(0, Some(ROWS)).map_err(AppError::Plan)?;
        let started = Instant::now();
        let mut stream = batches::stream(frame).await.map_err(AppError::Run)?;
        while let Some(_rows) = stream.try_next().await.map_err(AppError::Run)? {
            if started.elapsed() > LONGEST {
                break;
            }
        }
        let (took, images) = (started.elapsed().as_secs_f64(), reading.counted().asked);
        all.push(match (quota.exhausted(), images) {
            (Some(_), _) => None,
            (None, 0) => {
                return Err(AppError::Usage(format!(
                    "none of the first {ROWS} images of {} can be read, so that nothing can be tried",
                    reading.shown()
                )));
            }
            (None, images) => Some(Speed {
                seconds: 1000.0 * took / images as f64,
                images,
            }),
        });
    }
    Ok(all)
}
