//! What flags make of an engine: limits, what references may reach, and the answers that are kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use picsift_images::{Confinement, DecodePool, Limits, Sandbox};
use picsift_udf::EngineOptions;
use picsift_vision::store::{Store, StoreError, StoreOptions, default_folder};

use super::Host;
use crate::cli::{CacheArgs, FetchArgs, LimitArgs};
use crate::error::AppError;

/// The engine's options with these limits, what is kept and, where tables are read, what their references may reach.
///
/// # Errors
/// When the folder for kept answers was named and cannot be used, or a sandbox is wanted and cannot be had.
pub fn engine(
    limits: &LimitArgs,
    cache: Option<&CacheArgs>,
    fetch: Option<&FetchArgs>,
    host: &Host,
) -> Result<EngineOptions, AppError> {
    let default = EngineOptions::default();
    Ok(EngineOptions {
        store: match cache {
            Some(cache) => store(cache, host)?,
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
            true => Some(sandbox(host)?),
            false => None,
        },
        progress: Arc::clone(&host.progress),
        ..default
    })
}

/// Processes that decode, after a look whether they can be had.
fn sandbox(host: &Host) -> Result<Sandbox, AppError> {
    let refused = |error: &dyn std::fmt::Display| {
        AppError::Usage(format!("--sandbox cannot be had on this machine: {error}"))
    };
    let sandbox = (host.decoder)().map_err(|error| refused(&error))?;
    let tried = DecodePool::sandboxed(1, Limits::default(), sandbox.clone());
    if let (_, Confinement::LimitsAlone) = tried.map_err(|error| refused(&error))? {
        (host.notice)(
            "note: --sandbox bounds memory, time, files and processes here; filters of system calls, which Linux has, are not to be had",
        );
    }
    Ok(sandbox)
}

/// How the store of answers in `folder` is opened; `None` is the usual folder.
///
/// # Errors
/// When nobody says where the usual folder is.
pub fn store_options(
    folder: Option<PathBuf>,
    max_bytes: u64,
    host: &Host,
) -> Result<StoreOptions, StoreError> {
    Ok(StoreOptions {
        folder: match folder {
            Some(folder) => folder,
            None => default_folder()?,
        },
        max_bytes,
        notice: Arc::clone(&host.notice),
    })
}

/// The store of work that asks about images; `None` where none is wanted, or none can be had, which is said.
///
/// # Errors
/// [`AppError::Store`] when a folder was named and cannot be used.
fn store(args: &CacheArgs, host: &Host) -> Result<Option<Store>, AppError> {
    if args.no_cache {
        return Ok(None);
    }
    let named = args.cache_dir.is_some();
    let options = store_options(args.cache_dir.clone(), args.cache_size, host);
    match options.and_then(Store::open) {
        Ok(store) => Ok(Some(store)),
        Err(error) if named => Err(error.into()),
        Err(error) => {
            (host.notice)(&format!("answers are not kept: {error}"));
            Ok(None)
        }
    }
}
