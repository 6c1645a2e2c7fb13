//! From the flags of a command to the options of the work below: one function for each command.
//!
//! Whoever has parsed flags, the program or another that offers the same options, gets the same work from them. What the
//! work says meanwhile is the host's to pass on ([`Host`]); nothing here prints.

mod engine;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use picsift_images::{Limits, Sandbox};
use picsift_udf::EngineOptions;
use picsift_vision::FetchProgress;
use picsift_vision::store::StoreOptions;

use crate::cli::{
    CalibrateArgs, DoorArgs, EvalArgs, ExecutorArgs, ExportArgs, GalleryArgs, ImageColumn,
    LabelArgs, LimitArgs, SampleArgs, SchedulerArgs, ServeArgs, SqlArgs, TeachArgs, TuneArgs,
};
use crate::cluster::{Door, ExecutorOptions, SchedulerOptions};
use crate::error::AppError;
use crate::eval::EvalOptions;
use crate::eval::sweep::Goal;
use crate::export::{ClassSize, ExportOptions};
use crate::gallery::GalleryOptions;
use crate::label::{Existing, LabelOptions};
use crate::options::CategoryOptions;
use crate::sample::SampleOptions;
use crate::serve::{Place, ServeOptions, TlsFiles};
use crate::sql::SessionOptions;
use crate::teach::TeachOptions;
use crate::tune::TuneOptions;

pub use engine::{engine, store_options};

/// Where clients find a server unless something else is said.
const PORT: u16 = 8815;

/// The program that the work is done in.
#[derive(Clone)]
pub struct Host {
    /// Is told in a sentence what a person should know.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
    /// Is told how far the files of a model are.
    pub progress: Arc<dyn FetchProgress>,
    /// How a process that decodes for it is started.
    pub decoder: Arc<dyn Fn() -> io::Result<Sandbox> + Send + Sync>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

/// What `picsift label` asks for.
///
/// # Errors
/// As [`engine()`].
pub fn label(args: LabelArgs, host: &Host) -> Result<LabelOptions, AppError> {
    let engine = engine(&args.limits, Some(&args.cache), Some(&args.fetch), host)?;
    let model = args.model.options();
    Ok(LabelOptions {
        cascade: args.cascade.options(model.load).map_err(AppError::Usage)?,
        answered_by: args.cascade.answered_by,
        categories: args.categories.options(),
        model,
        image: args.image,
        digest: args.sha256,
        embedding: args.embedding,
        embed: args.embed,
        keep_images: args.image_column == ImageColumn::Keep,
        predicate: args.predicate,
        limit: args.limit,
        partition_by: args.partition_by,
        on_error: args.on_error,
        existing: match (args.overwrite, args.incremental, args.retry_failed) {
            (true, ..) => Existing::Overwrite,
            (_, true, _) => Existing::Incremental,
            (.., true) => Existing::RetryFailed,
            _ => Existing::Resume,
        },
        max_error_ratio: args.max_error_ratio,
        shard_rows: args.shard_rows,
        corrections: args.corrections,
        max_images: args.max_images,
        max_time: args.max_seconds,
        engine,
        ..LabelOptions::new(args.inputs, args.output)
    })
}

/// What `picsift calibrate` asks for: the rows and models of a job whose output is the file of thresholds.
///
/// # Errors
/// As [`engine()`].
pub fn calibrate(args: CalibrateArgs, host: &Host) -> Result<LabelOptions, AppError> {
    let engine = engine(&args.limits, Some(&args.cache), Some(&args.fetch), host)?;
    let model = args.model.options();
    Ok(LabelOptions {
        cascade: Some(args.promise.options(&args.cascade, model.load, args.seed)),
        categories: args.categories.options(),
        model,
        image: args.image,
        predicate: args.predicate,
        existing: match args.overwrite {
            true => Existing::Overwrite,
            false => Existing::Resume,
        },
        engine,
        ..LabelOptions::new(args.inputs, args.output)
    })
}

/// The session that `picsift sql` asks for.
///
/// # Errors
/// As [`engine()`].
pub fn session(args: &SqlArgs, host: &Host) -> Result<SessionOptions, AppError> {
    Ok(SessionOptions {
        model: args.model.options(),
        heads: args.heads.clone(),
        corrections: args.corrections.clone(),
        partitions: None,
        engine: engine(&args.limits, Some(&args.cache), Some(&args.fetch), host)?,
    })
}

/// What `picsift eval` asks for.
pub fn eval(args: EvalArgs) -> EvalOptions {
    let goal = match (args.min_precision, args.min_recall) {
        (Some(least), _) => Goal::Precision(least),
        (None, Some(least)) => Goal::Recall(least),
        (None, None) => Goal::BestF1,
    };
    EvalOptions {
        goal: args.sweep.then_some(goal),
        inputs: args.inputs,
        truth: args.truth.options(),
        mistakes: args.mistakes,
        seed: args.seed,
    }
}

/// What `picsift sample` asks for.
pub fn sample(args: SampleArgs) -> SampleOptions {
    SampleOptions {
        inputs: args.inputs,
        output: args.output,
        per_category: args.per_category,
        by: args.by.into(),
        seed: args.seed,
        overwrite: args.overwrite,
    }
}

/// What `picsift teach` asks for.
///
/// # Errors
/// As [`engine()`].
pub fn teach(args: TeachArgs, host: &Host) -> Result<TeachOptions, AppError> {
    Ok(TeachOptions {
        engine: engine(&args.limits, Some(&args.cache), Some(&args.fetch), host)?,
        inputs: args.inputs,
        output: args.output,
        overwrite: args.overwrite,
        truth: args.truth,
        corrections: args.corrections,
        categories: CategoryOptions {
            names: args.categories,
            file: args.categories_file,
            ..CategoryOptions::default()
        },
        model: args.model.options(),
        image: args.image,
        base: args.base,
        seed: args.seed,
    })
}

/// What `picsift tune` asks for.
///
/// # Errors
/// As [`engine()`].
pub fn tune(args: TuneArgs, host: &Host) -> Result<TuneOptions, AppError> {
    Ok(TuneOptions {
        engine: engine(&args.limits, Some(&args.cache), Some(&args.fetch), host)?,
        truth: args.truth.options(),
        categories: CategoryOptions {
            names: args.categories,
            file: args.categories_file,
            heads: args.heads,
            ..CategoryOptions::default()
        },
        inputs: args.inputs,
        candidates: args.candidates,
        models: args.models,
        device: args.device,
        output: args.output,
        overwrite: args.overwrite,
        within: args.within,
        max_images: args.max_images,
        image: args.image,
        base: args.base,
        seed: args.seed,
    })
}

/// The server that `picsift serve` asks for.
///
/// # Errors
/// As [`engine()`]; [`AppError::Usage`] for places that are none.
pub fn serve(args: ServeArgs, host: &Host) -> Result<ServeOptions, AppError> {
    let limits = LimitArgs {
        sandbox: !args.no_sandbox,
        ..args.limits.clone()
    };
    let folders = args.folders.iter().map(|text| Place::folder(text));
    let buckets = args.buckets.iter().map(|text| Place::bucket(text));
    let mut places = folders.chain(buckets).collect::<Result<Vec<_>, _>>()?;
    for keys in &args.bucket_keys {
        Place::give_keys(&mut places, keys)?;
    }
    let answers = match args.cache.no_cache {
        true => None,
        false => {
            let usual = store_options(args.cache.cache_dir.clone(), args.cache.cache_size, host)?;
            Some(StoreOptions {
                folder: usual.folder.join("tenants"),
                ..usual
            })
        }
    };
    Ok(ServeOptions {
        listen: match (args.listen, &args.unix) {
            (None, None) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))),
            (listen, _) => listen,
        },
        metrics: Some(args.metrics),
        tls: match (&args.tls_cert, &args.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => None,
        },
        places,
        model: args.model.options(),
        engine: EngineOptions {
            policy: args.policy(),
            fetch_concurrency: args.fetches.get(),
            background: true,
            ..engine(&limits, None, None, host)?
        },
        answers,
        quotas: args.quotas.quotas(),
        hourly: args.hourly.hourly(),
        memory: args.memory.get(),
        unix: args.unix,
        tokens: args.tokens,
        models: args.models,
    })
}

/// The scheduler that `picsift cluster scheduler` asks for.
pub fn scheduler(args: &SchedulerArgs) -> SchedulerOptions {
    SchedulerOptions {
        door: door(args.bind, &args.door),
        executor_timeout: args.executor_timeout,
        metrics: args.metrics,
    }
}

/// The executor that `picsift cluster executor` asks for.
///
/// # Errors
/// As [`engine()`].
pub fn executor(args: ExecutorArgs, host: &Host) -> Result<ExecutorOptions, AppError> {
    let default = Limits::default();
    let limits = LimitArgs {
        max_image_bytes: default.max_bytes,
        max_image_pixels: default.max_pixels,
        max_image_memory: args.max_image_memory,
        image_timeout: default.timeout.as_secs(),
        sandbox: args.sandbox,
    };
    Ok(ExecutorOptions {
        door: door(args.bind, &args.door),
        models: args.preloaded(),
        host: args.advertise,
        tasks: args.tasks.get(),
        memory: args.memory.get(),
        metrics: args.metrics,
        engine: EngineOptions {
            device: Some(args.device),
            ..engine(&limits, Some(&args.cache), Some(&args.fetch), host)?
        },
        scheduler: args.scheduler,
    })
}

fn door(listen: SocketAddr, args: &DoorArgs) -> Door {
    Door {
        listen,
        token: args.token_file.clone(),
        is_private: args.private_network,
    }
}

/// The gallery that `picsift gallery` asks for.
///
/// # Errors
/// As [`engine()`].
pub fn gallery(args: GalleryArgs, host: &Host) -> Result<GalleryOptions, AppError> {
    Ok(GalleryOptions {
        engine: engine(&args.limits, None, Some(&args.fetch), host)?,
        inputs: args.inputs,
        output: args.output,
        overwrite: args.overwrite,
        title: args.title,
        image: args.image,
        base: args.base,
        limit: args.limit,
        pictures: match (args.pictures, args.no_pictures) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        truth: args.truth.options(),
    })
}

/// What `picsift export` asks for.
///
/// # Errors
/// As [`engine()`].
pub fn export(args: ExportArgs, host: &Host) -> Result<ExportOptions, AppError> {
    Ok(ExportOptions {
        engine: engine(&args.limits, None, Some(&args.fetch), host)?,
        inputs: args.inputs,
        form: args.form.into(),
        output: args.output,
        overwrite: args.overwrite,
        split: args.split,
        seed: args.seed,
        label: args.label,
        keep_unlabelled: args.keep_unlabelled,
        class_size: match (args.max_per_class, args.balance) {
            (Some(most), _) => ClassSize::AtMost(most),
            (None, true) => ClassSize::Balanced,
            (None, false) => ClassSize::All,
        },
        image: args.image,
        base: args.base,
        evaluation: args.evaluation,
        shard_bytes: args.shard_bytes,
    })
}
