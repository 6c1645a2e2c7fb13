//! From the features of an image's views to the two pictures of features that are projected: overview and local.
//!
//! Pure geometry over tensors; which views there are is the preprocessor's to say.

use candle_core::{DType, Device, Result, Tensor};

/// Puts the features of tiles together: `[rows * cols, side * side, dim]`, tiles row-major, to `[height, width, dim]`.
///
/// Neighbouring tiles overlap: at each inner border both lose `margin` positions.
pub(super) fn stitch(
    tiles: &Tensor,
    (rows, cols): (usize, usize),
    side: usize,
    margin: usize,
) -> Result<Tensor> {
    let (count, _, dim) = tiles.dims3()?;
    if count != rows * cols {
        candle_core::bail!("{count} tiles do not make a grid of {rows} x {cols}");
    }
    let tiles = tiles.reshape((rows, cols, side, side, dim))?;
    // What is left of a tile along one axis: (first position, positions).
    let kept = |index: usize, count: usize| {
        let start = if index == 0 { 0 } else { margin };
        let end = if index + 1 == count {
            side
        } else {
            side - margin
        };
        (start, end - start)
    };
    let mut bands = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut parts = Vec::with_capacity(cols);
        for col in 0..cols {
            let (top, height) = kept(row, rows);
            let (left, width) = kept(col, cols);
            parts.push(
                tiles
                    .get(row)?
                    .get(col)?
                    .narrow(0, top, height)?
                    .narrow(1, left, width)?,
            );
        }
        bands.push(Tensor::cat(&parts, 1)?);
    }
    Tensor::cat(&bands, 0)
}

/// Averages `[height, width, dim]` over `side` x `side` windows to `[side * side, dim]`.
///
/// The windows are those of adaptive average pooling: window `i` of an axis of length `n` reaches from `floor(i n / side)`
/// to `ceil((i + 1) n / side)`, so they may overlap and differ in size. Computed in f32.
pub(super) fn pool(features: &Tensor, side: usize) -> Result<Tensor> {
    let (height, width, dim) = features.dims3()?;
    let dtype = features.dtype();
    let device = features.device();
    let features = features.to_dtype(DType::F32)?;
    let down = averages(side, height, device)?.matmul(&features.reshape((height, width * dim))?)?;
    let columns = down
        .reshape((side, width, dim))?
        .transpose(0, 1)?
        .contiguous()?;
    let pooled = averages(side, width, device)?.matmul(&columns.reshape((width, side * dim))?)?;
    pooled
        .reshape((side, side, dim))?
        .transpose(0, 1)?
        .reshape((side * side, dim))?
        .to_dtype(dtype)
}

/// The matrix `[side, length]` that averages an axis over its windows.
fn averages(side: usize, length: usize, device: &Device) -> Result<Tensor> {
    let mut weights = vec![0_f32; side * length];
    for (index, row) in weights.chunks_exact_mut(length).enumerate() {
        let (start, end) = (index * length / side, ((index + 1) * length).div_ceil(side));
        row[start..end].fill(1.0 / (end - start) as f32);
    }
    Tensor::from_vec(weights, (side, length), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_lose_their_margin_at_inner_borders_only() {
        // Two tiles side by side, 3 x 3 positions, margin 1: columns 0 1 | 1 2 of the tiles.
        let values: Vec<f32> = (0..18).map(|i| i as f32).collect();
        let tiles = Tensor::from_vec(values, (2, 9, 1), &Device::Cpu).unwrap();
        let whole = stitch(&tiles, (1, 2), 3, 1).unwrap();
        assert_eq!(whole.dims(), [3, 4, 1]);
        assert_eq!(
            whole
                .get(0)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap(),
            [0.0, 1.0, 10.0, 11.0]
        );
        assert!(stitch(&tiles, (2, 2), 3, 1).is_err());
    }

    #[test]
    fn windows_overlap_where_the_length_is_no_multiple() {
        // 5 positions in 3 windows: 0..2, 1..4, 3..5.
        let row =
            Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0], (1, 5, 1), &Device::Cpu).unwrap();
        let pooled = pool(&row.repeat((3, 1, 1)).unwrap(), 3).unwrap();
        assert_eq!(
            pooled
                .narrow(0, 0, 3)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap(),
            [1.5, 3.0, 4.5]
        );
    }
}
