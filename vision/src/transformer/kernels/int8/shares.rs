//! How a product is cut into tasks: rectangles of rows and panels.
//!
//! A picture's rows are worth as many tasks as a machine has use for; panels alone are too few for many cores. A task takes some panels side by
//! side, so that what it writes of a row lies together.

use std::ops::Range;

/// Panels that a task takes at most, and bytes of them: half of the second level of the cache, through which they go for each tile of rows.
const PANELS: usize = 8;
const CACHED: usize = 512 << 10;

/// Tiles of rows that a task takes at least, if there are so many: the panels have to come from memory for them.
const TILES: usize = 8;

/// Tasks for each thread that are wanted, so that none waits long for the last of another.
const TASKS: usize = 16;

#[derive(Debug)]
pub(super) struct Shares {
    rows: usize,
    panels: usize,
    /// Rows and panels of a task.
    share: (usize, usize),
}

impl Shares {
    /// Of so many rows in tiles of `tile`, and so many panels of so many bytes, for so many threads.
    pub(super) fn new(
        (rows, tile): (usize, usize),
        (panels, panel_bytes): (usize, usize),
        threads: usize,
    ) -> Self {
        let tasks = TASKS * threads;
        let least = TILES * tile;
        let most = PANELS.min(CACHED / panel_bytes.max(1)).max(1);
        let group = (panels * rows.div_ceil(least) / tasks).clamp(1, most);
        let parts = tasks.div_ceil(panels.div_ceil(group).max(1));
        let share = rows.div_ceil(parts).next_multiple_of(tile);
        Self {
            rows,
            panels,
            share: (share.max(least), group),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.rows.div_ceil(self.share.0) * self.panels.div_ceil(self.share.1)
    }

    /// The rows and panels of a task; those over the same panels follow each other.
    pub(super) fn share(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let parts = self.rows.div_ceil(self.share.0);
        let range = |at: usize, share: usize, all: usize| at * share..all.min((at + 1) * share);
        (
            range(index % parts, self.share.0, self.rows),
            range(index / parts, self.share.1, self.panels),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_meets_every_panel_once_and_no_thread_is_left_without() {
        for rows in [0, 1, 6, 17, 48, 49, 730, 2916] {
            for (panels, bytes) in [
                (0, 0),
                (1, 1088),
                (36, 39_168),
                (135, 39_168),
                (64, 278_528),
            ] {
                for threads in [1, 2, 7, 64] {
                    let shares = Shares::new((rows, 6), (panels, bytes), threads);
                    let mut met = vec![0; rows * panels];
                    for index in 0..shares.count() {
                        let (rows, group) = shares.share(index);
                        assert!(rows.start % 6 == 0 && !rows.is_empty() && !group.is_empty());
                        for row in rows {
                            group
                                .clone()
                                .for_each(|panel| met[row * panels + panel] += 1);
                        }
                    }
                    assert!(met.iter().all(|times| *times == 1), "{shares:?}");
                    if rows >= 730 && panels >= 36 {
                        assert!(shares.count() >= 4 * threads, "{shares:?}");
                    }
                }
            }
        }
    }
}
