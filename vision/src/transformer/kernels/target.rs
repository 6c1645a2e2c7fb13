//! An output that several threads write at once.

/// A matrix of f32 with rows `columns` apart, of which each task writes rows and columns of its own.
pub(super) struct Target {
    pub(super) values: *mut f32,
    pub(super) columns: usize,
}

// SAFETY: threads write through it to places that no other thread touches, and read nothing of others.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// The place of a row and column.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize) -> *mut f32 {
        self.values.wrapping_add(row * self.columns + column)
    }
}
