//! The plan of a job that several programs do together: what the job is, and the units that it is cut into.
//!
//! One program makes it and puts it into the work on the output; every other reads it and compares itself with it. From then on nobody cuts
//! anew: a unit is a range of rows of files in one version each, and who labels it needs to know nothing of the others.

use std::cmp::Ordering;

use picsift_images::Limits;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dataset::Manifest;
use crate::dataset::publish::Output;
use crate::error::AppError;
use crate::input::files::{Comparison, InputFile};
use crate::input::select::Rows;
use crate::input::{Position, scan};
use crate::label::chance::token;
use crate::label::identity::difference;
use crate::label::journal::{Journal, Shard};
use crate::label::prepare::PreparedJob;
use crate::label::publish::draft;
use crate::label::resume::numbered;

/// Its name in the work on an output.
pub(super) const PLAN: &str = "plan.json";

/// A job and its units.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct JobPlan {
    /// The manifest to be, without what comes of the rows: identity, model, categories, version of the program, input files.
    pub(super) draft: Manifest,
    /// What decides, besides, which images can be judged.
    limits: Value,
    /// Rows of a unit at most.
    pub(super) unit_rows: u64,
    /// The units; their numbers are their places here.
    pub(super) units: Vec<Unit>,
}

/// A range of rows of the input, of files that are read as one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 5]", into = "[u64; 5]")]
pub(super) struct Unit {
    /// Where it begins.
    pub(super) from: Position,
    /// Where it ends.
    pub(super) to: Position,
    /// Rows between, before a predicate.
    pub(super) rows: u64,
}

impl From<[u64; 5]> for Unit {
    fn from([file, row, to_file, to_row, rows]: [u64; 5]) -> Self {
        let position = |file: u64, row| Position {
            file: u32::try_from(file).unwrap_or(u32::MAX),
            row,
        };
        Self {
            from: position(file, row),
            to: position(to_file, to_row),
            rows,
        }
    }
}

impl From<Unit> for [u64; 5] {
    fn from(Unit { from, to, rows }: Unit) -> Self {
        [from.file.into(), from.row, to.file.into(), to.row, rows]
    }
}

impl Unit {
    /// The rows between two places of files with so many rows each.
    fn between(from: Position, to: Position, totals: &[u64]) -> Self {
        let before = |place: Position| -> u64 {
            let file = (place.file as usize).min(totals.len());
            totals[..file].iter().sum::<u64>() + place.row
        };
        Self {
            from,
            to,
            rows: before(to).saturating_sub(before(from)),
        }
    }

    /// What of a job's files it is, which are in the order of their numbers; each with its source.
    pub(super) fn of(&self, files: &[(usize, InputFile)]) -> Vec<(usize, InputFile, Rows)> {
        let first = files.partition_point(|(_, file)| file.id < self.from.file);
        let inside = files[first..].iter().take_while(|(_, file)| {
            file.id < self.to.file || (file.id == self.to.file && self.to.row > 0)
        });
        let rows = |file: &InputFile| {
            let first = match file.id == self.from.file {
                true => self.from.row,
                false => 0,
            };
            match file.id == self.to.file {
                true => Rows::Between(first, self.to.row),
                false => Rows::From(first),
            }
        };
        inside
            .map(|(source, file)| (*source, file.clone(), rows(file)))
            .collect()
    }
}

impl JobPlan {
    /// The plan of a job of which nothing is done. Every footer of the input is read.
    ///
    /// # Errors
    /// When a file cannot be read, or the input has no rows.
    pub(super) async fn new(job: &PreparedJob) -> Result<Self, AppError> {
        Self::of(job, token(16), job.files(), &[]).await
    }

    /// The plan of a job that a journal is of: its shards are the first units, and the files those that it began with.
    ///
    /// # Errors
    /// As [`JobPlan::new`].
    pub(super) async fn after(job: &PreparedJob, journal: &Journal) -> Result<Self, AppError> {
        let begun = journal.job();
        let mut files = job.files();
        numbered(&begun.files, &mut files);
        files.retain(|(_, file)| (file.id as usize) < begun.files.len());
        files.sort_by_key(|(_, file)| file.id);
        Self::of(job, begun.id.clone(), files, &journal.shards).await
    }

    /// The plan of these files, which are in the order of their numbers, with these shards as the units that are done.
    async fn of(
        job: &PreparedJob,
        id: String,
        files: Vec<(usize, InputFile)>,
        done: &[Shard],
    ) -> Result<Self, AppError> {
        let rows_done: u64 = done.iter().map(|shard| shard.counts.rows).sum();
        let limit = job.options.limit.map(|limit| limit as u64);
        let mut cutter = Cutter::new(
            job.options.shard_rows.get() as u64,
            job.shard_size().bytes as u64,
            limit.map(|limit| limit.saturating_sub(rows_done)),
        );
        let through = done.last().map_or(Position::default(), |last| last.through);
        let (mut entries, mut totals) = (Vec::new(), Vec::new());
        for files in files.chunk_by(|a, b| a.0 == b.0) {
            let source = &job.tables.sources[files[0].0];
            let files: Vec<InputFile> = files.iter().map(|(_, file)| file.clone()).collect();
            let groups = scan::row_groups(&job.inference.context, &source.table, &files);
            let groups = groups.await.map_err(AppError::Plan)?;
            cutter.next_source();
            for (file, groups) in files.into_iter().zip(groups) {
                let first = match file.id.cmp(&through.file) {
                    Ordering::Less => u64::MAX,
                    Ordering::Equal => through.row,
                    Ordering::Greater => 0,
                };
                cutter.file(&groups, file.entry.bytes, first);
                totals.push(groups.iter().sum());
                entries.push(file.entry);
            }
        }
        let mut from = Position::default();
        let done = done.iter().map(|shard| {
            let unit = Unit::between(from, shard.through, &totals);
            from = shard.through;
            unit
        });
        let mut units: Vec<Unit> = done.collect();
        units.extend(cutter.finish());
        if units.is_empty() {
            return Err(AppError::Usage(format!(
                "the table {} has no rows",
                job.tables.shown.join(", ")
            )));
        }
        let mut draft = draft(job, &vec![0; job.columns.categories.len()]);
        draft.job.id = id;
        draft.job.through = Position {
            file: entries.len() as u32,
            row: 0,
        };
        draft.job.files = entries;
        Ok(Self {
            draft,
            limits: limits(job),
            unit_rows: job.options.shard_rows.get() as u64,
            units,
        })
    }

    /// The plan in the work on an output; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub(super) async fn read(output: &Output) -> Result<Option<Self>, AppError> {
        let Some(text) = output.work.read(PLAN).await? else {
            return Ok(None);
        };
        let damaged = |why: &str| {
            AppError::Usage(format!(
                "the plan {}/{PLAN} {why}, so nobody can work by it; remove the folder to begin anew",
                output.work
            ))
        };
        let plan: Self = serde_json::from_slice(&text)
            .map_err(|error| damaged(&format!("is damaged ({error})")))?;
        let id = &plan.draft.job.id;
        // It becomes the name of a folder.
        match !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Some(plan)),
            false => Err(damaged("has an id that picsift did not make")),
        }
    }

    /// Puts it into the work on an output; whether it is there, and not another's.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) async fn put(&self, output: &Output) -> Result<bool, AppError> {
        let text = serde_json::to_vec(self).map_err(AppError::json)?;
        output.work.create(PLAN, text).await
    }

    /// How a job differs from the one of this plan, by the name of what differs; `None` if it is the same. Numbers the job's files as the plan
    /// does.
    pub(super) fn other_job(
        &self,
        job: &PreparedJob,
        files: &mut [(usize, InputFile)],
    ) -> Option<String> {
        let here = env!("CARGO_PKG_VERSION");
        if self.draft.picsift != here {
            return Some(format!(
                "the version of picsift was {} and is {here} now",
                self.draft.picsift
            ));
        }
        if let Some(what) = difference(&self.draft.job.identity, &job.identity) {
            return Some(what);
        }
        if let Some(what) = difference(&self.limits, &limits(job)) {
            return Some(format!("the limit on one image of {what}"));
        }
        match numbered(&self.draft.job.files, files) {
            Comparison::Different(what) => Some(format!("its input is another, {what}")),
            Comparison::Same { .. } => None,
        }
    }

    /// Rows of the input in it, before a predicate.
    pub(super) fn rows(&self) -> u64 {
        self.units.iter().map(|unit| unit.rows).sum()
    }
}

fn limits(job: &PreparedJob) -> Value {
    let Limits {
        max_bytes,
        max_pixels,
        ..
    } = job.options.engine.limits;
    json!({"bytes": max_bytes, "pixels": max_pixels})
}

/// Cuts the rows of files into units: at the borders of row groups where these are no larger, for a group that is cut is read twice.
#[derive(Debug)]
struct Cutter {
    /// Rows and bytes of a unit at most.
    most: (u64, u64),
    /// Rows that may still be taken.
    left: Option<u64>,
    units: Vec<Unit>,
    from: Position,
    /// What the open unit holds.
    rows: u64,
    bytes: u64,
    /// The number of the next file.
    file: u32,
}

impl Cutter {
    fn new(rows: u64, bytes: u64, limit: Option<u64>) -> Self {
        Self {
            most: (rows.max(1), bytes.max(1)),
            left: limit,
            units: Vec::new(),
            from: Position::default(),
            rows: 0,
            bytes: 0,
            file: 0,
        }
    }

    /// The next file is of another table, and so of another unit.
    fn next_source(&mut self) {
        self.close(0);
    }

    /// The next file, of so many bytes, with row groups of so many rows, without its `first` ones.
    fn file(&mut self, groups: &[u64], bytes: u64, first: u64) {
        let total: u64 = groups.iter().sum();
        let row_bytes = bytes.checked_div(total).unwrap_or_default().max(1);
        let most = self.most.0.min(self.most.1 / row_bytes).max(1);
        let mut at = 0;
        for &group in groups {
            let parts = group.div_ceil(most).max(1);
            for part in 0..parts {
                let begin = (at + group * part / parts).max(first);
                let rows = (at + group * (part + 1) / parts).saturating_sub(begin);
                let rows = self.left.map_or(rows, |left| left.min(rows));
                if rows == 0 {
                    continue;
                }
                let bytes = rows * row_bytes;
                if self.rows + rows > self.most.0 || self.bytes + bytes > self.most.1 {
                    self.close(begin);
                }
                if self.rows == 0 {
                    self.from = self.at(begin);
                }
                self.rows += rows;
                self.bytes += bytes;
                self.left = self.left.map(|left| left - rows);
                if self.left == Some(0) {
                    self.close(begin + rows);
                }
            }
            at += group;
        }
        self.file += 1;
    }

    /// Ends the open unit before this row of the file that is being cut.
    fn close(&mut self, row: u64) {
        if self.rows > 0 {
            self.units.push(Unit {
                from: self.from,
                to: self.at(row),
                rows: self.rows,
            });
        }
        (self.rows, self.bytes) = (0, 0);
    }

    /// A row of the file that is being cut.
    fn at(&self, row: u64) -> Position {
        Position {
            file: self.file,
            row,
        }
    }

    fn finish(mut self) -> Vec<Unit> {
        self.close(0);
        self.units
    }
}

#[cfg(test)]
mod tests {
    use datafusion::datasource::listing::PartitionedFile;

    use super::*;
    use crate::input::files::FileEntry;

    fn file(id: u32) -> (usize, InputFile) {
        let file = InputFile {
            id,
            entry: FileEntry {
                url: id.to_string(),
                bytes: 1,
                version: String::new(),
            },
            file: PartitionedFile::new(id.to_string(), 1),
        };
        (0, file)
    }

    /// Each row of the files, by the units that have it.
    fn rows(units: &[Unit], totals: &[u64]) -> Vec<(u32, u64)> {
        let files: Vec<_> = (0..totals.len() as u32).map(file).collect();
        let mut all = Vec::new();
        for unit in units {
            let before = all.len();
            for (_, file, rows) in unit.of(&files) {
                let total = totals[file.id as usize];
                let (first, end) = match rows {
                    Rows::From(first) => (first, total),
                    Rows::Between(first, end) => (first, end),
                    Rows::Only(_) => panic!("never chosen"),
                };
                all.extend((first..end).map(|row| (file.id, row)));
            }
            assert_eq!((all.len() - before) as u64, unit.rows, "{unit:?}");
        }
        all
    }

    fn every(totals: &[u64]) -> Vec<(u32, u64)> {
        let files = (0..).zip(totals);
        files
            .flat_map(|(id, total)| (0..*total).map(move |row| (id, row)))
            .collect()
    }

    #[test]
    fn units_have_each_row_once_whatever_files_and_groups_there_are() {
        for (groups, most) in [
            (vec![vec![10, 10, 5], vec![], vec![3], vec![0, 7]], 10),
            (vec![vec![100]], 7),
            (vec![vec![1]; 40], 7),
            (vec![vec![], vec![], vec![6, 1]], 1),
        ] {
            let mut cutter = Cutter::new(most, u64::MAX, None);
            for groups in &groups {
                cutter.file(groups, 1000, 0);
            }
            let units = cutter.finish();
            let totals: Vec<u64> = groups.iter().map(|groups| groups.iter().sum()).collect();
            assert_eq!(rows(&units, &totals), every(&totals));
            assert!(units.iter().all(|unit| unit.rows <= most), "{units:?}");
        }
    }

    #[test]
    fn row_groups_stay_whole_where_they_fit_and_large_images_make_small_units() {
        let mut cutter = Cutter::new(10, u64::MAX, None);
        cutter.file(&[6, 6, 3], 15, 0);
        let sizes: Vec<u64> = cutter.finish().iter().map(|unit| unit.rows).collect();
        assert_eq!(sizes, [6, 9]);
        let mut cutter = Cutter::new(1000, 50, None);
        cutter.file(&[40], 400, 0);
        let sizes: Vec<u64> = cutter.finish().iter().map(|unit| unit.rows).collect();
        assert_eq!(sizes, [5; 8]);
    }

    #[test]
    fn what_is_done_is_a_unit_and_what_is_left_the_others() {
        let groups = [vec![4], vec![10, 5], vec![6]];
        let totals: Vec<u64> = groups.iter().map(|groups| groups.iter().sum()).collect();
        let places = (0..3).flat_map(|file| (0..=totals[file]).map(move |row| (file as u32, row)));
        for (through, most) in places.flat_map(|place| [(place, 1), (place, 4), (place, 100)]) {
            let through = Position {
                file: through.0,
                row: through.1,
            };
            let mut cutter = Cutter::new(most, u64::MAX, None);
            for (file, groups) in (0..).zip(&groups) {
                let first = match Ord::cmp(&file, &through.file) {
                    Ordering::Less => u64::MAX,
                    Ordering::Equal => through.row,
                    Ordering::Greater => 0,
                };
                cutter.file(groups, 1000, first);
            }
            let mut units = vec![Unit::between(Position::default(), through, &totals)];
            units.extend(cutter.finish());
            assert_eq!(rows(&units, &totals), every(&totals), "{through:?} {most}");
        }
    }

    #[test]
    fn a_limit_and_the_end_of_a_table_end_units() {
        let mut cutter = Cutter::new(4, u64::MAX, Some(10));
        cutter.file(&[3], 1, 0);
        cutter.next_source();
        cutter.file(&[5], 1, 0);
        cutter.file(&[50], 1, 0);
        let units = cutter.finish();
        let all = rows(&units, &[3, 5, 50]);
        let mut wanted = every(&[3, 5, 50]);
        wanted.truncate(10);
        assert_eq!(all, wanted);
        assert!(
            units
                .iter()
                .all(|unit| unit.from.file != 0 || unit.to <= Position { file: 1, row: 0 }),
            "no unit has rows of two tables: {units:?}"
        );
        let text = serde_json::to_string(&units[0]).unwrap();
        assert_eq!(text, "[0,0,1,0,3]");
        assert_eq!(serde_json::from_str::<Unit>(&text).unwrap(), units[0]);
    }
}
