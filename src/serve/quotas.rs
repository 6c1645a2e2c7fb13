//! How much a statement and a token may take.
//!
//! Bounds of a statement hold while it runs, whoever reads its rows how slowly; a token runs a bounded number of them at once. Fair parts
//! of the model between tenants are the engine's to give.

use std::sync::Arc;
use std::time::Duration;

use picsift_udf::RunStats;

use super::refusal::Refusal;

/// What one statement, or one request to label, may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quotas {
    /// Images that a model is asked about.
    pub images: u64,
    /// From its start to its last row.
    pub time: Duration,
    /// Bytes of encoded images that are read for it.
    pub bytes: u64,
    /// Rows that it gives.
    pub rows: u64,
    /// Statements of one token at once.
    pub at_once: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            images: 100_000,
            time: Duration::from_secs(3600),
            bytes: 64 << 30,
            rows: 10_000_000,
            at_once: 8,
        }
    }
}

impl Quotas {
    /// Whether what has been counted is within them.
    ///
    /// # Errors
    /// [`Refusal::Exhausted`] with what is used up.
    pub(super) fn check(&self, stats: &Arc<RunStats>, rows: u64) -> Result<(), Refusal> {
        let over = |what: &str, most: u64| {
            Err(Refusal::Exhausted(format!(
                "a statement may take {most} {what} here; ask for fewer"
            )))
        };
        if stats.asked() > self.images {
            return over("images", self.images);
        }
        if stats.bytes() > self.bytes {
            return over("bytes of images", self.bytes);
        }
        if rows > self.rows {
            return over("rows", self.rows);
        }
        Ok(())
    }

    /// What ends a statement that took its time.
    pub(super) fn late(&self) -> Refusal {
        Refusal::Exhausted(format!(
            "a statement may take {} seconds here, reading its rows included; ask for fewer",
            self.time.as_secs_f64()
        ))
    }
}
