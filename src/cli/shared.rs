//! Groups of flags that several commands take.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use picsift_images::{AllowedHost, Bucket, FetchPolicy, Limits};
use picsift_udf::EngineOptions;
use picsift_vision::store::LEAST_BYTES;
use picsift_vision::{
    ComputeDtype, CropPolicy, DEFAULT_MODEL, DeviceChoice, Generation, LoadOptions, PromptStyle,
    Quantization, Temperature,
};

use crate::eval::TruthOptions;
use crate::options::{CategoryOptions, ModelOptions};

/// Which model answers, where, and how it is loaded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Model that answers: a name that `picsift models` lists, owner/name@revision of the hub, or a folder
    #[arg(long, default_value = DEFAULT_MODEL, value_name = "MODEL")]
    pub model: String,
    /// Where the model runs: auto, cpu, cuda, cuda:N or cuda:all
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Number format that the model computes in: f32 or bf16 [default: bf16 on a GPU, f32 on a CPU]
    #[arg(long, hide_short_help = true, value_name = "FORMAT")]
    pub dtype: Option<ComputeDtype>,
    /// Quantise the weights while they are loaded: q8_0 (8.5 bits each) or q4k (4.5 bits); less memory, answers that
    /// differ a little [default: as published]
    #[arg(long, hide_short_help = true, value_name = "FORMAT")]
    pub quantize: Option<Quantization>,
    /// What a model that cuts large images up sees of them: reference, the overview and all crops as published, or global,
    /// the overview alone, several times faster and blind to what is small
    #[arg(long, hide_short_help = true, default_value_t = CropPolicy::Reference, value_name = "WHICH")]
    pub crops: CropPolicy,
}

impl ModelArgs {
    /// The model and how it is to be loaded.
    pub fn options(&self) -> ModelOptions {
        ModelOptions {
            name: self.model.clone(),
            load: LoadOptions {
                device: self.device,
                dtype: self.dtype,
                quantize: self.quantize,
                crops: self.crops,
            },
        }
    }
}

/// How a question is answered in words.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked")]
pub struct GenerationArgs {
    /// Most tokens of the answer; it is cut off there
    #[arg(long, hide_short_help = true, requires = "ask", default_value_t = Generation::default().max_tokens, value_parser = max_tokens, value_name = "TOKENS")]
    pub max_tokens: usize,
    /// How freely the answer's words are chosen, 0 to 2; at 0 always the likeliest
    #[arg(long, hide_short_help = true, requires = "ask", default_value_t = Temperature::default(), value_name = "NUMBER")]
    pub temperature: Temperature,
}

impl GenerationArgs {
    /// The model's view of them.
    pub fn generation(&self) -> Generation {
        Generation {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
        }
    }
}

/// What one image may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits on one image")]
pub struct LimitArgs {
    /// Bytes of its file
    #[arg(long, hide_short_help = true, default_value_t = Limits::default().max_bytes, value_name = "BYTES")]
    pub max_image_bytes: u64,
    /// Width times height, checked before memory is taken
    #[arg(long, hide_short_help = true, default_value_t = Limits::default().max_pixels, value_name = "PIXELS")]
    pub max_image_pixels: u64,
    /// Bytes of memory that all images together may take while they are decoded; an image waits for its share
    #[arg(long, hide_short_help = true, default_value_t = Limits::default().max_memory, value_name = "BYTES")]
    pub max_image_memory: u64,
    /// Seconds to fetch it, and again to decode it
    #[arg(long, hide_short_help = true, default_value_t = Limits::default().timeout.as_secs(), value_name = "SECONDS")]
    pub image_timeout: u64,
    /// Decode images in processes of their own that can do nothing else, for pictures by strangers who may know a hole in a decoder
    #[arg(long, hide_short_help = true)]
    pub sandbox: bool,
}

/// What references of tables may reach, and how hard servers are asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fetching images that tables refer to")]
pub struct FetchArgs {
    /// Host that may be asked although it is on this machine or in a private network: localhost:8000, 10.1.2.3, 10.0.0.0/8
    #[arg(long = "allow-host", hide_short_help = true, value_name = "HOST")]
    pub allow_hosts: Vec<AllowedHost>,
    /// Folder whose files references may name, besides the table's own
    #[arg(long = "allow-folder", hide_short_help = true, value_name = "DIR")]
    pub allow_folders: Vec<PathBuf>,
    /// Bucket that references may name with your credentials, besides the table's own: s3://BUCKET, gs://BUCKET, az://CONTAINER,
    /// hf://datasets/OWNER/NAME
    #[arg(long = "allow-bucket", hide_short_help = true, value_name = "BUCKET")]
    pub allow_buckets: Vec<Bucket>,
    /// Schemes that references may have [default: file,s3,s3a,gs,az,abfs,abfss,hf,http,https,data]
    #[arg(
        long,
        hide_short_help = true,
        value_delimiter = ',',
        value_name = "SCHEME,..."
    )]
    pub allow_schemes: Vec<String>,
    /// Fetch images too whose server forbids their use to train models (X-Robots-Tag: noai)
    #[arg(long, hide_short_help = true)]
    pub ignore_robots: bool,
    /// Images fetched at once
    #[arg(long, hide_short_help = true, default_value_t = NonZeroUsize::new(EngineOptions::default().fetch_concurrency).unwrap_or(NonZeroUsize::MIN), value_name = "IMAGES")]
    pub fetches: NonZeroUsize,
    /// Images fetched at once from one web server
    #[arg(long, hide_short_help = true, default_value_t = NonZeroUsize::new(FetchPolicy::default().at_once_per_host).unwrap_or(NonZeroUsize::MIN), value_name = "IMAGES")]
    pub fetches_per_host: NonZeroUsize,
    /// Requests a second to one web server [default: no bound]
    #[arg(long, hide_short_help = true, value_name = "REQUESTS")]
    pub host_rate: Option<NonZeroU32>,
}

impl FetchArgs {
    /// What they allow.
    pub fn policy(&self) -> FetchPolicy {
        let default = FetchPolicy::default();
        FetchPolicy {
            schemes: match self.allow_schemes.is_empty() {
                true => default.schemes.clone(),
                false => self.allow_schemes.clone(),
            },
            hosts: self.allow_hosts.clone(),
            folders: self.allow_folders.clone(),
            buckets: self.allow_buckets.clone(),
            respect_robots: !self.ignore_robots,
            at_once_per_host: self.fetches_per_host.get(),
            per_second_per_host: self.host_rate,
            ..default
        }
    }
}

/// Where answers are kept, so that no image is asked the same question twice.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kept answers")]
pub struct CacheArgs {
    /// Neither use answers of earlier runs nor keep those of this one
    #[arg(long, hide_short_help = true, conflicts_with = "cache_dir")]
    pub no_cache: bool,
    /// Folder on a disk of this machine [default: PICSIFT_CACHE, else ~/.cache/picsift]
    #[arg(long, hide_short_help = true, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
    /// Bytes that it may take; the oldest answers go first
    #[arg(long, hide_short_help = true, default_value_t = CACHE_BYTES, value_parser = at_least(LEAST_BYTES), value_name = "BYTES")]
    pub cache_size: u64,
}

/// Bytes of the kept answers unless they are set: about ten million images with ten categories.
pub(super) const CACHE_BYTES: u64 = 2 << 30;

/// A whole number that is at least this. The end of a range that has none is nothing to tell a person.
pub(super) fn at_least(least: u64) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("it must be a whole number, at least {least}")),
    }
}

/// Which categories are asked for.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is asked")]
pub struct CategoryArgs {
    /// Categories, separated by commas: nouns such as fish or 'polar bear'
    #[arg(long, value_delimiter = ',', value_name = "NOUN,...")]
    pub categories: Vec<String>,
    /// TOML file of categories: one table each, with nouns, threshold, column, prompt and head
    #[arg(long, value_name = "FILE")]
    pub categories_file: Option<PathBuf>,
    /// File that `picsift teach` wrote: its categories are answered by what was taught [default of --categories: all of them]
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
    /// Score from which a category holds, 0 to 1 [default: the model's own; 0.5 of what was taught]
    #[arg(long, value_parser = threshold, value_name = "SCORE")]
    pub threshold: Option<f32>,
    /// How categories are put to a model that reads questions: vendor, in its makers' words, or shared, with the category at the
    /// end, which costs less where there are many; compare both by eval before trusting it
    #[arg(long, hide_short_help = true, default_value_t = PromptStyle::Vendor, value_name = "STYLE")]
    pub prompt_style: PromptStyle,
}

impl CategoryArgs {
    /// The categories.
    pub fn options(&self) -> CategoryOptions {
        CategoryOptions {
            names: self.categories.clone(),
            file: self.categories_file.clone(),
            heads: self.heads.clone(),
            threshold: self.threshold,
            style: self.prompt_style,
        }
    }
}

/// What is true of the rows of a labelled table.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What is true")]
pub struct TruthArgs {
    /// What is true: a column of labels (one as text, or a list), a BOOLEAN column for a single category, CATEGORY=COLUMN, or
    /// a pattern such as truth_{}; may be given several times
    #[arg(long = "truth", value_name = "COLUMN")]
    pub columns: Vec<String>,
    /// CSV, JSON lines or Parquet that has the truth, joined by --key; of corrections (key, category, is) no --truth need be said
    #[arg(long = "truth-file", value_name = "FILE")]
    pub file: Option<String>,
    /// Column that says which row is which, in both tables or as LABELLED=TRUTH [default: the image's reference, and 'key' in the
    /// truth]
    #[arg(long, value_name = "COLUMN")]
    pub key: Option<String>,
}

impl TruthArgs {
    /// What is true.
    pub fn options(self) -> TruthOptions {
        TruthOptions {
            columns: self.columns,
            file: self.file,
            key: self.key,
        }
    }
}

fn max_tokens(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(tokens) if tokens >= 1 => Ok(tokens),
        _ => Err("it must be a whole number from 1".to_string()),
    }
}

fn threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_of_a_model_become_its_load_options() {
        let line = "picsift sql --device cpu --dtype f32 --quantize q8_0 --crops global";
        let Command::Sql(args) = parse(line).unwrap().command else {
            panic!("not sql");
        };
        let expected = LoadOptions {
            device: DeviceChoice::Cpu,
            dtype: Some(ComputeDtype::F32),
            quantize: Some(Quantization::Q8_0),
            crops: CropPolicy::Global,
        };
        assert_eq!(args.model.options().load, expected);
        let Command::Sql(args) = parse("picsift sql").unwrap().command else {
            panic!("not sql");
        };
        assert_eq!(args.model.options().load, LoadOptions::default());
        for (wrong, known) in [
            ("--dtype f16", "f32 or bf16"),
            ("--quantize q5", "q8_0 or q4k"),
            ("--crops all", "reference or global"),
        ] {
            let error = parse(&format!("picsift sql {wrong}")).unwrap_err();
            assert!(error.contains(known), "{error}");
        }
    }

    #[test]
    fn flags_of_answers_need_a_question() {
        let line = "picsift image a.png --max-tokens 7 --temperature 0.5";
        let error = parse(line).unwrap_err();
        assert!(error.contains("--ask"), "{error}");
        let Command::Image(args) = parse(&format!("{line} --ask What?")).unwrap().command else {
            panic!("not image");
        };
        let generation = args.generation.generation();
        assert_eq!(generation.max_tokens, 7);
        assert_eq!(generation.temperature.get(), 0.5);
        let Command::Image(args) = parse("picsift image a.png").unwrap().command else {
            panic!("not image");
        };
        assert_eq!(args.generation.generation(), Generation::default());
        for wrong in ["--max-tokens 0", "--temperature 3"] {
            assert!(parse(&format!("picsift image a.png --ask What? {wrong}")).is_err());
        }
    }
}
