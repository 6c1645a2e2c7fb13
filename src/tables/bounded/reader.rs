//! The reader of a Parquet file that looks at pages before it hands them out, and has all text looked at.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::super::text;
use super::BATCH_BYTES;
use super::pages::{self, Part};

/// Makes readers that look at pages.
#[derive(Debug)]
pub(super) struct Factory {
    pub(super) inner: Arc<dyn ParquetFileReaderFactory>,
    /// What stands before the files' places, for messages.
    pub(super) root: String,
    /// Rows that are decoded together at most.
    pub(super) rows: u64,
    /// The columns that are read of the files.
    pub(super) table: SchemaRef,
}

impl ParquetFileReaderFactory for Factory {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let place = format!("{}{}", self.root, file.object_meta.location);
        let inner = self.inner.create_reader(partition, file, hint, metrics)?;
        Ok(Box::new(Looking {
            inner,
            place,
            rows: self.rows,
            table: Arc::clone(&self.table),
            metadata: None,
            spans: Vec::new(),
        }))
    }
}

struct Looking {
    inner: Box<dyn AsyncFileReader + Send>,
    place: String,
    rows: u64,
    table: SchemaRef,
    metadata: Option<Arc<ParquetMetaData>>,
    /// Where each row group begins and ends: files have thousands of them, and few are fetched at once.
    spans: Vec<Range<u64>>,
}

impl Looking {
    fn refused(&self, reason: &dyn std::fmt::Display) -> ParquetError {
        ParquetError::General(format!("cannot read '{}' as Parquet: {reason}", self.place))
    }

    /// Looks at what was fetched of a row group.
    fn look(&self, ranges: &[Range<u64>], fetched: &[Bytes]) -> ParquetResult<()> {
        let Some(metadata) = &self.metadata else {
            return Ok(());
        };
        // Neighbours in the file, and thousands of them where there are thousands of columns.
        let mut near: Vec<(&Range<u64>, &Bytes)> = ranges.iter().zip(fetched).collect();
        near.sort_unstable_by_key(|(range, _)| range.start);
        let fetched = match (near.first(), ranges.iter().map(|range| range.end).max()) {
            (Some((first, _)), Some(end)) => first.start..end,
            _ => return Ok(()),
        };
        let mut excess = 0_u64;
        let groups = metadata.row_groups().iter().zip(&self.spans);
        let groups =
            groups.filter(|(_, span)| span.start < fetched.end && fetched.start < span.end);
        for (group, _) in groups {
            for column in group.columns() {
                let parts = parts_of(column, &near);
                if parts.is_empty() {
                    continue;
                }
                let mut heads = Vec::new();
                for part in &parts {
                    let of_part = pages::of(column, part).map_err(|error| self.refused(&error))?;
                    heads.extend(of_part);
                }
                let more = pages::excess(column, &heads, self.rows, || parts);
                excess = excess.saturating_add(more);
                if excess > BATCH_BYTES {
                    let column = column.column_path().string();
                    return Err(self.refused(&pages::Refused::Much { column }));
                }
            }
        }
        Ok(())
    }
}

/// Where a row group begins and ends.
fn span(group: &RowGroupMetaData) -> Range<u64> {
    let ranges = group.columns().iter().map(ColumnChunkMetaData::byte_range);
    let ends = ranges.map(|(start, length)| (start, start.saturating_add(length)));
    let span = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    span.map_or(0..0, |(start, end)| start..end)
}

/// What of the ranges, which are in the order in which they begin, is of this column.
fn parts_of(column: &ColumnChunkMetaData, ranges: &[(&Range<u64>, &Bytes)]) -> Vec<Part> {
    let (start, length) = column.byte_range();
    let end = start.saturating_add(length);
    // Those that a store fetched do not overlap, but for one that may reach into the column.
    let first = ranges
        .partition_point(|(range, _)| range.start < start)
        .saturating_sub(1);
    let ranges = ranges[first..]
        .iter()
        .take_while(|(range, _)| range.start < end);
    let parts = ranges.filter_map(|(range, bytes)| {
        let from = range.start.max(start);
        let to = range.end.min(end);
        let (first, last) = (from.checked_sub(range.start)?, to.checked_sub(range.start)?);
        let part = (first < last).then(|| bytes.get(first as usize..last as usize))??;
        Some(Part {
            start: from,
            bytes: bytes.slice_ref(part),
        })
    });
    parts.collect()
}

impl AsyncFileReader for Looking {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let bytes = self.inner.get_bytes(range.clone()).await?;
            self.look(&[range], std::slice::from_ref(&bytes))?;
            Ok(bytes)
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            let fetched = self.inner.get_byte_ranges(ranges.clone()).await?;
            self.look(&ranges, &fetched)?;
            Ok(fetched)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let metadata = self.inner.get_metadata(options).await?;
            let metadata = text::checked(&metadata, Some(&self.table))?;
            self.spans = metadata.row_groups().iter().map(span).collect();
            self.metadata = Some(Arc::clone(&metadata));
            Ok(metadata)
        }
        .boxed()
    }
}
