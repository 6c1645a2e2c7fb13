//! What is known of files before they are read, for DataFusion to count and prune by.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use picsift_udf::{is_binary, is_string};

/// `file` with statistics of its own columns and its folders' values.
pub(super) fn with_known(mut file: PartitionedFile, mut known: Statistics) -> PartitionedFile {
    for column in &mut known.column_statistics {
        // Where a file's type is not the table's, its least value reads as NULL.
        for bound in [&mut column.min_value, &mut column.max_value] {
            // Writers give no bounds of row groups with long texts or bytes, and DataFusion takes those of the others for the
            // file's: it would leave out files with rows that are wanted. Row groups are still left out by their own bounds.
            let untrue = |value: &ScalarValue| value.is_null() || is_of_any_length(value);
            if bound.get_value().is_some_and(untrue) {
                *bound = Precision::Absent;
            }
        }
    }
    let folders = file
        .partition_values
        .iter()
        .map(|value| match value.is_null() {
            true => ColumnStatistics {
                null_count: known.num_rows,
                ..ColumnStatistics::new_unknown()
            },
            false => ColumnStatistics {
                null_count: Precision::Exact(0),
                min_value: Precision::Exact(value.clone()),
                max_value: Precision::Exact(value.clone()),
                distinct_count: Precision::Exact(1),
                ..ColumnStatistics::new_unknown()
            },
        });
    let folders: Vec<_> = folders.collect();
    known.column_statistics.extend(folders);
    file.statistics = Some(Arc::new(known));
    file
}

fn is_of_any_length(value: &ScalarValue) -> bool {
    let data_type = value.data_type();
    is_string(&data_type) || is_binary(&data_type)
}

/// Files dealt out to so many streams, and what is known of all together; `more` says that there are others.
pub(super) fn grouped(
    files: Vec<PartitionedFile>,
    schema: &Schema,
    streams: usize,
    more: bool,
) -> Result<(Vec<FileGroup>, Statistics)> {
    let merged = |files: &[PartitionedFile]| {
        let known = files.iter().filter_map(|file| file.statistics.as_deref());
        Statistics::try_merge_iter(known, schema)
    };
    let all = match more {
        true => merged(&files)?.to_inexact(),
        false => merged(&files)?,
    };
    let groups = FileGroup::new(files).split_files(streams);
    let groups = groups.into_iter().map(|group| {
        let known = merged(group.files())?;
        Ok(group.with_statistics(Arc::new(known)))
    });
    Ok((groups.collect::<Result<_>>()?, all))
}
