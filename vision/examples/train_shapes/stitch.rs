//! How the local views' features become as many as one view has: one matrix for a tiling.
//!
//! It owns the arithmetic on positions only. Neighbouring views overlap: each gives up its margin at inner borders, what
//! is left is put together, and averages over windows (those of adaptive average pooling) bring it to one view's grid.

use picsift_vision::moondream::VisionConfig;

/// For each axis position of the stitched features, the view and the position in it.
fn kept(views: usize, grid: usize, margin: usize) -> Vec<(usize, usize)> {
    (0..views)
        .flat_map(|view| {
            let start = if view == 0 { 0 } else { margin };
            let end = if view + 1 == views {
                grid
            } else {
                grid - margin
            };
            (start..end).map(move |position| (view, position))
        })
        .collect()
}

/// The matrix `[tokens, rows * columns * tokens]`, row by row, from the local views' features to the pooled ones.
pub(crate) fn stitching(vision: &VisionConfig, rows: usize, columns: usize) -> Vec<f32> {
    let (grid, tokens) = (vision.grid(), vision.tokens());
    let down = kept(rows, grid, vision.overlap_margin);
    let across = kept(columns, grid, vision.overlap_margin);
    let window = |i: usize, length: usize| i * length / grid..((i + 1) * length).div_ceil(grid);
    let width = rows * columns * tokens;
    let mut matrix = vec![0f32; tokens * width];
    for token in 0..tokens {
        let (ys, xs) = (
            window(token / grid, down.len()),
            window(token % grid, across.len()),
        );
        let share = 1.0 / (ys.len() * xs.len()) as f32;
        for &(view_row, y) in &down[ys] {
            for &(view_column, x) in &across[xs.clone()] {
                let view = view_row * columns + view_column;
                matrix[token * width + view * tokens + y * grid + x] = share;
            }
        }
    }
    matrix
}
