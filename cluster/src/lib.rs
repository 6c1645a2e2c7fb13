//! Queries and jobs of picsift on a Ballista cluster.
//!
//! Owns what Ballista wants to be told: a scheduler ([`schedule`]), executors that each have one engine with its models ([`execute`]), and
//! [`Cluster`], by which plans get there and rows come back. Plans are made by whoever asks and go by the codec of `picsift-udf`. What a unit
//! of a labelling job is, and where its files go, is not known here: an executor is handed [`Units`].
//!
//! Executors ask the scheduler for work, so that only the scheduler and the executors' Flight ports need to be reached. Who may speak with
//! them is [`Access`]'s to say, who gets what [`Deal`]'s. Nothing is encrypted.

mod access;
mod client;
mod codec;
mod deal;
mod engine;
mod error;
mod executor;
mod message;
mod scheduler;
mod settings;
mod slots;
mod units;
#[cfg(test)]
mod versions;

pub use access::Access;
pub use client::{Cluster, FailedUnit, Tried};
pub use deal::Deal;
pub use error::ClusterError;
pub use executor::{ExecutorOptions, execute};
pub use scheduler::{SchedulerOptions, schedule};
pub use settings::planned;
pub use units::Units;
