//! A job as it is told to another program that labels units of it: all that decides what its answers are, and how images are fetched.
//!
//! What belongs to the machine that labels (its device, where answers are kept, how it decodes) is that machine's to say. Paths are whole,
//! as the other program runs in another folder; what they lead to must be the same there, which its comparison with the job's plan finds out.

use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use picsift_images::{FetchPolicy, Limits};
use picsift_udf::EngineOptions;
use picsift_vision::LoadOptions;
use serde::{Deserialize, Serialize};

use super::options::LabelOptions;
use crate::error::AppError;
use crate::options::{CategoryOptions, ModelOptions};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    inputs: Vec<String>,
    output: String,
    categories: Vec<String>,
    categories_file: Option<PathBuf>,
    heads: Option<PathBuf>,
    threshold: Option<f32>,
    prompt_style: String,
    model: String,
    dtype: Option<String>,
    quantize: Option<String>,
    crops: String,
    image: Option<String>,
    digest: Option<String>,
    embedding: bool,
    embed: bool,
    keep_images: bool,
    predicate: Option<String>,
    limit: Option<usize>,
    partition_by: Vec<String>,
    on_error: String,
    max_error_ratio: Option<f64>,
    shard_rows: NonZeroUsize,
    corrections: Option<String>,
    max_bytes: u64,
    max_pixels: u64,
    seconds: f64,
    fetches: usize,
    schemes: Vec<String>,
    hosts: Vec<String>,
    folders: Vec<PathBuf>,
    buckets: Vec<String>,
    respect_robots: bool,
    at_once_per_host: usize,
    per_second_per_host: Option<NonZeroU32>,
}

impl Order {
    /// The job of these options, from the current folder.
    ///
    /// # Errors
    /// When there is no current folder.
    pub fn new(options: &LabelOptions) -> Result<Self, AppError> {
        let (categories, model) = (&options.categories, &options.model);
        let (limits, policy) = (&options.engine.limits, &options.engine.policy);
        let file = |path: &Option<PathBuf>| path.as_deref().map(whole).transpose();
        let is_folder =
            model.name.contains(std::path::MAIN_SEPARATOR) && Path::new(&model.name).is_dir();
        Ok(Self {
            inputs: options
                .inputs
                .iter()
                .map(|text| place(text))
                .collect::<Result<_, _>>()?,
            output: place(&options.output)?,
            categories: categories.names.clone(),
            categories_file: file(&categories.file)?,
            heads: file(&categories.heads)?,
            threshold: categories.threshold,
            prompt_style: categories.style.to_string(),
            model: match is_folder {
                true => place(&model.name)?,
                false => model.name.clone(),
            },
            dtype: model.load.dtype.map(|dtype| dtype.to_string()),
            quantize: model.load.quantize.map(|quantize| quantize.to_string()),
            crops: model.load.crops.to_string(),
            image: options.image.clone(),
            digest: options.digest.clone(),
            embedding: options.embedding,
            embed: options.embed,
            keep_images: options.keep_images,
            predicate: options.predicate.clone(),
            limit: options.limit,
            partition_by: options.partition_by.clone(),
            on_error: options.on_error.to_string(),
            max_error_ratio: options.max_error_ratio,
            shard_rows: options.shard_rows,
            corrections: options.corrections.as_deref().map(place).transpose()?,
            max_bytes: limits.max_bytes,
            max_pixels: limits.max_pixels,
            seconds: limits.timeout.as_secs_f64(),
            fetches: options.engine.fetch_concurrency,
            schemes: policy.schemes.clone(),
            hosts: policy.hosts.iter().map(ToString::to_string).collect(),
            folders: policy
                .folders
                .iter()
                .map(|path| whole(path))
                .collect::<Result<_, _>>()?,
            buckets: policy.buckets.iter().map(ToString::to_string).collect(),
            respect_robots: policy.respect_robots,
            at_once_per_host: policy.at_once_per_host,
            per_second_per_host: policy.per_second_per_host,
        })
    }

    /// The job on this machine, whose engine has the other options of `own`.
    ///
    /// # Errors
    /// [`AppError::Usage`] for what this program does not know.
    pub fn options(&self, own: &EngineOptions) -> Result<LabelOptions, AppError> {
        let seconds = Duration::try_from_secs_f64(self.seconds);
        let engine = EngineOptions {
            limits: Limits {
                max_bytes: self.max_bytes,
                max_pixels: self.max_pixels,
                timeout: seconds.map_err(|error| wrong("a time-out", &error))?,
                ..own.limits.clone()
            },
            fetch_concurrency: self.fetches,
            policy: FetchPolicy {
                schemes: self.schemes.clone(),
                hosts: each(&self.hosts)?,
                folders: self.folders.clone(),
                buckets: each(&self.buckets)?,
                within: None,
                keys: Vec::new(),
                respect_robots: self.respect_robots,
                at_once_per_host: self.at_once_per_host,
                per_second_per_host: self.per_second_per_host,
            },
            ..own.clone()
        };
        Ok(LabelOptions {
            categories: CategoryOptions {
                names: self.categories.clone(),
                file: self.categories_file.clone(),
                heads: self.heads.clone(),
                threshold: self.threshold,
                style: parsed(&self.prompt_style)?,
            },
            model: ModelOptions {
                name: self.model.clone(),
                load: LoadOptions {
                    dtype: self.dtype.as_deref().map(parsed).transpose()?,
                    quantize: self.quantize.as_deref().map(parsed).transpose()?,
                    crops: parsed(&self.crops)?,
                    ..LoadOptions::default()
                },
            },
            image: self.image.clone(),
            digest: self.digest.clone(),
            embedding: self.embedding,
            embed: self.embed,
            keep_images: self.keep_images,
            predicate: self.predicate.clone(),
            limit: self.limit,
            partition_by: self.partition_by.clone(),
            on_error: parsed(&self.on_error)?,
            max_error_ratio: self.max_error_ratio,
            shard_rows: self.shard_rows,
            corrections: self.corrections.clone(),
            engine,
            ..LabelOptions::new(&self.inputs, &self.output)
        })
    }
}

/// A path or URL that means the same in every folder.
fn place(text: &str) -> Result<String, AppError> {
    match text.contains("://") {
        true => Ok(text.to_string()),
        false => Ok(whole(Path::new(text))?.to_string_lossy().into_owned()),
    }
}

fn whole(path: &Path) -> Result<PathBuf, AppError> {
    std::path::absolute(path).map_err(AppError::file("find", path))
}

fn wrong(text: &str, error: &dyn Display) -> AppError {
    AppError::Usage(format!(
        "'{text}' of a job that came from another program: {error}"
    ))
}

fn parsed<T>(text: &str) -> Result<T, AppError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|error| wrong(text, &error))
}

fn each<T>(texts: &[String]) -> Result<Vec<T>, AppError>
where
    T: FromStr,
    T::Err: Display,
{
    texts.iter().map(|text| parsed(text)).collect()
}

#[cfg(test)]
mod tests {
    use picsift_udf::OnError;
    use picsift_vision::{ComputeDtype, CropPolicy, DeviceChoice, PromptStyle};

    use super::*;

    #[test]
    fn a_job_arrives_as_it_was_told_and_the_machine_stays_its_own() {
        let mut options = LabelOptions::new(["datasets", "s3://bucket/photos/"], "out")
            .with_categories(["dog", "fish"])
            .with_predicate("id > 3")
            .with_limit(7);
        options.model.name = "moondream2".to_string();
        options.model.load = LoadOptions {
            device: DeviceChoice::Cpu,
            dtype: Some(ComputeDtype::Bf16),
            quantize: None,
            crops: CropPolicy::Global,
        };
        options.categories.style = PromptStyle::Shared;
        options.on_error = OnError::Fail;
        options.engine.limits.max_pixels = 77;
        options.engine.policy.hosts = vec!["localhost:8000".parse().unwrap()];
        options.engine.policy.buckets = vec!["s3://other".parse().unwrap()];
        let order = Order::new(&options).unwrap();
        let text = serde_json::to_string(&order).unwrap();
        let read: Order = serde_json::from_str(&text).unwrap();
        assert_eq!(read, order);

        let own = EngineOptions {
            decode_threads: 3,
            ..EngineOptions::default()
        };
        let there = read.options(&own).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            there.inputs,
            [
                here.join("datasets").to_str().unwrap(),
                "s3://bucket/photos/"
            ]
        );
        assert_eq!(there.output, here.join("out").to_str().unwrap());
        assert_eq!(there.categories, options.categories);
        assert_eq!(there.model.name, "moondream2");
        assert_eq!(
            there.model.load,
            LoadOptions {
                device: DeviceChoice::default(),
                ..options.model.load
            }
        );
        assert_eq!(
            (there.predicate, there.limit, there.on_error),
            (options.predicate, Some(7), OnError::Fail)
        );
        assert_eq!(there.engine.policy, options.engine.policy);
        assert_eq!(there.engine.limits.max_pixels, 77);
        assert_eq!(there.engine.decode_threads, 3);
        // It is the same job in the end: what it is told on is what it was told.
        let again = Order::new(&LabelOptions {
            engine: there.engine.clone(),
            ..read.options(&own).unwrap()
        });
        assert_eq!(again.unwrap(), order);
    }
}
