//! A matrix product of slices on the calling thread: the safe face of `gemm`.

use gemm::Parallelism;

/// A matrix within a slice: element `(row, column)` at `row * row_step + column * column_step`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_step: usize,
    pub(super) column_step: usize,
}

impl Matrix<'_> {
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    fn last(&self) -> usize {
        (self.rows.max(1) - 1) * self.row_step + (self.columns.max(1) - 1) * self.column_step
    }
}

/// `target = scale * left * right`, plus what `target` held if `add`. The target is row-major, rows `row_step` apart.
///
/// # Panics
/// When the shapes do not go together or a matrix reaches beyond its slice: a mistake in this crate.
pub(super) fn product(
    target: &mut [f32],
    row_step: usize,
    add: bool,
    scale: f32,
    left: Matrix<'_>,
    right: Matrix<'_>,
) {
    let (m, k, n) = (left.rows, left.columns, right.columns);
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        k == right.rows && n <= row_step,
        "the shapes of a product go together"
    );
    assert!(
        left.last() < left.values.len()
            && right.last() < right.values.len()
            && (m - 1) * row_step + n <= target.len(),
        "a product's matrices lie within their slices"
    );
    // SAFETY: the assertions above keep every element that is read or written inside its slice, and the target, being a
    // mutable borrow, overlaps neither source. Each target row is written by one call on one thread.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.as_mut_ptr(),
            1,
            row_step as isize,
            add,
            left.values.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.values.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            if add { 1.0 } else { 0.0 },
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
