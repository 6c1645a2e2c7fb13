//! Local files as every other module needs them: written as a whole, read without following a link, and waited for where no task
//! of the runtime waits. What stands in them is not known here.

mod durable;
pub mod plain;

pub(crate) use durable::{blocking, open_to_others, replace, synced};
