//! Models that answer questions about images, and the service that batches the questions.
//!
//! The crate owns model weights, the arithmetic that runs them, what a category means to each model and the
//! queue in front of the one thread that holds a model. It refuses to know where images come from (it takes
//! RGB pixels of the size that [`ModelInfo::input`] names), tables, Arrow and SQL: those meet it on
//! [`RgbImage`] and [`Answer`] only, so that a new model needs nothing but an implementation of [`Model`].
//!
//! ```no_run
//! # async fn example(image: picsift_vision::RgbImage) -> Result<(), picsift_vision::VisionError> {
//! use picsift_vision::{Category, DeviceChoice, Service, ServiceOptions};
//!
//! let service = Service::start(
//!     picsift_vision::load("efficientnet-lite0", DeviceChoice::Auto)?,
//!     ServiceOptions::default(),
//! )?;
//! let fish = service.questions().category(&Category::named("fish"))?;
//! let answers = service.submit(image, [fish].into()).await?;
//! println!("{answers:?}");
//! # Ok(())
//! # }
//! ```

mod device;
pub mod efficientnet;
mod error;
mod model;
pub mod nouns;
pub mod ops;
mod packing;
mod registry;
mod service;
pub mod wordnet;

pub use device::DeviceChoice;
pub use error::VisionError;
pub use model::{
    Answer, Category, InputGeometry, Job, Loaded, Model, ModelInfo, Question, Questions, RgbImage,
};
pub use packing::{PackLimits, pack};
pub use registry::{DEFAULT_MODEL, ModelEntry, load, models};
pub use service::{Service, ServiceOptions, ServiceStats};
