//! Models that answer questions about images, and the service that batches the questions.
//!
//! The crate owns model weights, the arithmetic that runs them, what a category means to each model and the
//! queue in front of the one thread that holds a model. It refuses to know where images come from (it takes
//! RGB pixels of the size that [`ModelInfo::input`] names), tables, Arrow and SQL: those meet it on
//! [`RgbImage`] and [`Answer`] only, so that a new model needs nothing but [`Questions`], a [`Preprocessor`] and a
//! [`Model`].
//!
//! ```no_run
//! # async fn example(image: picsift_vision::RgbImage) -> Result<(), picsift_vision::VisionError> {
//! use picsift_vision::{Category, LoadOptions, Service, ServiceOptions};
//!
//! let service = Service::start(
//!     picsift_vision::load("pocket", &LoadOptions::default(), &())?,
//!     ServiceOptions::default(),
//! )?;
//! let fish = service.questions().category(&Category::named("fish"))?;
//! let views = service.preprocessor().views(image)?;
//! let answers = service.submit(views, [fish].into()).await?;
//! println!("{answers:?}");
//! # Ok(())
//! # }
//! ```

pub mod categories;
mod classes;
pub mod coco_ssd;
mod comparison;
mod description;
mod device;
pub mod efficientnet;
pub mod embedding;
mod error;
pub mod heads;
pub mod learn;
mod memory;
mod model;
pub mod moondream;
pub mod nouns;
pub mod ops;
mod options;
mod packing;
pub mod pocket;
pub mod registry;
mod service;
pub mod siglip;
pub mod source;
mod squares;
pub mod store;
pub mod transformer;
pub mod wordnet;

pub use categories::CategorySpec;
pub use comparison::Comparison;
pub use description::{DescribedModel, ModelDescription};
pub use device::{CudaOptions, DeviceChoice};
pub use embedding::Embedding;
pub use error::VisionError;
pub use heads::{HEAD_THRESHOLD, Head, HeadModel, Heads, HeadsError};
pub use model::{
    Answer, BatchAdvice, Category, Embeddings, InputGeometry, Job, Loaded, Model, ModelInfo,
    Preprocessor, Prompt, Question, Questions, RgbImage, Scale, Staged, Stager, TextEmbeddings,
    Views,
};
pub use options::{
    ComputeDtype, CropPolicy, Generation, LoadOptions, PromptStyle, Quantization, Temperature,
};
pub use packing::{PackLimits, pack};
pub use registry::{
    DEFAULT_MODEL, EmbeddedModel, Family, HubModel, ModelEntry, Origin, check_name, describe, load,
    models, why_no_cuda,
};
pub use service::{Service, ServiceOptions, ServiceStats};
pub use source::{FetchProgress, HubFile, HubSettings, ModelFiles, SourceError};
