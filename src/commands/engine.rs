//! What flags make of an engine: limits, what references may reach, and the answers that are kept.

use std::sync::Arc;
use std::time::Duration;

use picsift_images::{Confinement, DecodePool, Limits, Sandbox};
use picsift_udf::EngineOptions;

use super::cache;
use super::models::progress::FetchReport;
use super::printer::note;
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
        sandbox: match limits.sandbox {
            true => Some(sandbox()?),
            false => None,
        },
        progress: Arc::new(FetchReport::default()),
        ..default
    })
}

/// The argument by which this program is one that decodes for another.
const DECODE: &str = "decode-for-picsift";

/// Whether this program was started to decode for another.
pub fn is_decoder() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == DECODE) && arguments.next().is_none()
}

/// Processes of this program that decode, after a look whether they can be had.
fn sandbox() -> Result<Sandbox, AppError> {
    let refused = |error: &dyn std::fmt::Display| {
        AppError::Usage(format!("--sandbox cannot be had on this machine: {error}"))
    };
    let sandbox = Sandbox::this_program(DECODE).map_err(|error| refused(&error))?;
    let tried = DecodePool::sandboxed(1, Limits::default(), sandbox.clone());
    if let (_, Confinement::LimitsAlone) = tried.map_err(|error| refused(&error))? {
        note!(
            "note: --sandbox bounds memory, time, files and processes here; filters of system calls, which Linux has, are not to be had"
        );
    }
    Ok(sandbox)
}
