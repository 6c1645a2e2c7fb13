//! What flags make of an engine: limits, what references may reach, and the answers that are kept.

use std::sync::Arc;
use std::time::Duration;

use picsift_images::Limits;
use picsift_udf::EngineOptions;

use super::cache;
use super::models::progress::FetchReport;
use crate::cli::{CacheArgs, FetchArgs, LimitArgs};
use crate::error::AppError;

/// The engine's options with these limits, what is kept and, where tables are read, what their references may reach.
///
/// # Errors
/// When the folder for kept answers was named and cannot be used.
pub(super) fn options(
    limits: &LimitArgs,
    cache: Option<&CacheArgs>,
    fetch: Option<&FetchArgs>,
) -> Result<EngineOptions, AppError> {
    let default = EngineOptions::default();
    Ok(EngineOptions {
        store: match cache {
            Some(cache) => cache::open(cache)?,
            None => None,
        },
        fetch_concurrency: fetch.map_or(default.fetch_concurrency, |f| f.fetches.get()),
        policy: fetch.map(FetchArgs::policy).unwrap_or_default(),
        limits: Limits {
            max_bytes: limits.max_image_bytes,
            max_pixels: limits.max_image_pixels,
            max_memory: limits.max_image_memory,
            timeout: Duration::from_secs(limits.image_timeout),
        },
        progress: Arc::new(FetchReport::default()),
        ..default
    })
}
