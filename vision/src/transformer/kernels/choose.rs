//! The likeliest token of each row of logits.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use super::Steps;

impl Steps {
    /// For each row of `logits`, `[rows, n]`, the index of the highest, the first of equals, `barred` aside; `None` where one is NaN or
    /// infinite, or none is left.
    pub(crate) fn choose(self, logits: &Tensor, barred: Option<u32>) -> Result<Vec<Option<u32>>> {
        #[cfg(feature = "cuda")]
        if let Steps::Cuda(_) = self {
            return super::cuda::choose(logits, barred);
        }
        let width = logits.dim(1)?;
        let logits = logits.to_dtype(DType::F32)?.flatten_all()?;
        let logits = logits.to_vec1::<f32>()?;
        Ok(logits
            .par_chunks(width.max(1))
            .map(|row| likeliest(row, barred))
            .collect())
    }
}

/// The choice of one row.
pub(crate) fn likeliest(logits: &[f32], barred: Option<u32>) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, &logit) in (0_u32..).zip(logits) {
        if !logit.is_finite() {
            return None;
        }
        if Some(id) != barred && best.is_none_or(|(_, top)| logit > top) {
            best = Some((id, logit));
        }
    }
    best.map(|(id, _)| id)
}
