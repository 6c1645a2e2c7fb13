//! Record batches into Parquet files, hive-partitioned by columns, in bounded memory.
//!
//! Owns names of files and folders, sizes of files and row groups, and how many are open. It writes into a folder that
//! it is given; whether that becomes visible is `crate::dataset::publish`'s.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use cap_std::fs::{Dir, OpenOptions};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::error::DataFusionError;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::properties::properties;
use crate::session::ROW_GROUP_BYTES;
use crate::tables::NULL_PARTITION;

/// Files open at once; past it the fullest is finished. A partition seen again then gets one more file.
const OPEN_FILES: usize = 64;

/// Bytes buffered over all open files before the fullest writes its row group.
const BUFFERED_BYTES: usize = 2 * ROW_GROUP_BYTES;

/// Bytes from which a file is finished and the next begun.
const FILE_BYTES: usize = 512 << 20;

/// Characters of a partition value that a path cannot hold or a reader would misread; written as %XX, as Hive does.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'\'')
    .add(b'*')
    .add(b'/')
    .add(b':')
    .add(b'=')
    .add(b'?')
    .add(b'\\')
    .add(b'{')
    .add(b'[')
    .add(b']')
    .add(b'^');

/// One file that was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WrittenFile {
    /// Path below the output folder.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Rows in it whose image failed.
    pub failures: u64,
}

/// What a writer calls its files: `part-<shard>[-<token>][-<number>].parquet`, the number from the second file of a folder on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartNames {
    /// Number of the shard.
    pub shard: usize,
    /// What tells files of two programs apart that write to one place.
    pub token: Option<String>,
    /// Digits that the number has at least, so that files sort as their shards do; five are the fewest.
    pub digits: usize,
}

impl PartNames {
    fn name(&self, number: usize) -> String {
        let token = self.token.as_ref().map(|token| format!("-{token}"));
        let number = (number > 0).then(|| format!("-{number}"));
        let digits = self.digits.max(5);
        format!(
            "part-{:0digits$}{}{}.parquet",
            self.shard,
            token.unwrap_or_default(),
            number.unwrap_or_default()
        )
    }
}

/// Writes batches of one schema.
#[derive(Debug)]
pub struct PartitionedWriter {
    /// The folder, and its path for messages.
    folder: Dir,
    place: PathBuf,
    /// Columns of the partitions' folders, by index in the input.
    partitions: Vec<usize>,
    /// Columns of the files, by index in the input.
    kept: Vec<usize>,
    input: SchemaRef,
    file_schema: SchemaRef,
    properties: WriterProperties,
    /// Column that says why an image failed, by index in the input.
    errors: Option<usize>,
    names: PartNames,
    open: HashMap<String, OpenFile>,
    next_part: HashMap<String, usize>,
    written: Vec<WrittenFile>,
}

/// Which columns of the batches go where.
#[derive(Debug, Clone, Copy)]
pub struct TableShape<'a> {
    /// The batches' schema.
    pub schema: &'a SchemaRef,
    /// Columns that become folders.
    pub partition_by: &'a [String],
    /// The column of the label, which stands in the files also where it becomes folders: not every reader knows those.
    pub label: &'a str,
    /// Columns that are left out of the files.
    pub dropped: &'a [String],
    /// Column that is not NULL where an image failed.
    pub errors: &'a str,
}

#[derive(Debug)]
struct OpenFile {
    path: String,
    rows: u64,
    failures: u64,
    writer: ArrowWriter<File>,
}

impl PartitionedWriter {
    /// A writer into `folder`, which lies at `place`.
    ///
    /// # Errors
    /// For a partition column that the schema does not have, or that leaves no column for the files.
    pub fn new(folder: Dir, place: &Path, shape: TableShape<'_>, names: PartNames) -> Result<Self> {
        let TableShape {
            schema,
            partition_by,
            label,
            dropped,
            errors,
        } = shape;
        let partitions = partition_by
            .iter()
            .map(|name| schema.index_of(name))
            .collect::<Result<Vec<_>, _>>()?;
        let kept: Vec<usize> = (0..schema.fields().len())
            .filter(|index| {
                let name = schema.field(*index).name();
                (!partitions.contains(index) || name == label) && !dropped.contains(name)
            })
            .collect();
        let file_schema = schema.project(&kept)?;
        Ok(Self {
            folder,
            place: place.to_path_buf(),
            partitions,
            kept,
            input: Arc::clone(schema),
            properties: properties(&file_schema),
            file_schema: Arc::new(file_schema),
            errors: schema.index_of(errors).ok(),
            names,
            open: HashMap::new(),
            next_part: HashMap::new(),
            written: Vec::new(),
        })
    }

    /// Writes the rows of `batch`, each to its partition.
    ///
    /// # Errors
    /// When the disk or Parquet refuses.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.project(&self.kept)?.columns().to_vec();
        let kept = RecordBatch::try_new(Arc::clone(&self.file_schema), columns)?;
        let errors = self.errors.map(|index| batch.column(index));
        let failed = |row: usize| errors.is_some_and(|errors| errors.is_valid(row));
        for (folder, rows) in self.split(batch)? {
            let (part, failures) = match rows {
                Some(rows) => {
                    let failures = rows.values().iter().filter(|&&row| failed(row as usize));
                    (take_record_batch(&kept, &rows)?, failures.count())
                }
                None => (
                    kept.clone(),
                    (0..batch.num_rows()).filter(|&row| failed(row)).count(),
                ),
            };
            self.write_part(folder, &part, failures as u64)?;
        }
        self.relieve()
    }

    /// Finishes all files and says what they are, in the order of their paths.
    ///
    /// # Errors
    /// As [`PartitionedWriter::write`].
    pub fn finish(mut self) -> Result<Vec<WrittenFile>> {
        let open: Vec<String> = self.open.keys().cloned().collect();
        for folder in open {
            self.close(&folder)?;
        }
        self.written.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self.written)
    }

    /// Rows by folder, in the order in which folders first appear; `None` is all rows.
    fn split(&self, batch: &RecordBatch) -> Result<Vec<(String, Option<UInt32Array>)>> {
        if self.partitions.is_empty() {
            return Ok(vec![(String::new(), None)]);
        }
        let values = self
            .partitions
            .iter()
            .map(|&index| {
                Ok((
                    self.input.field(index).name(),
                    as_text(batch.column(index))?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        let mut groups: Vec<(String, Vec<u32>)> = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for row in 0..batch.num_rows() {
            let folder: String = values
                .iter()
                .map(|(name, texts)| format!("{}/", hive_folder(name, texts[row].as_deref())))
                .collect();
            let place = *places.entry(folder.clone()).or_insert_with(|| {
                groups.push((folder, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(row as u32);
        }
        Ok(groups
            .into_iter()
            .map(|(folder, rows)| (folder, Some(UInt32Array::from(rows))))
            .collect())
    }

    fn write_part(&mut self, folder: String, part: &RecordBatch, failures: u64) -> Result<()> {
        if !self.open.contains_key(&folder) {
            if self.open.len() >= OPEN_FILES
                && let Some(fullest) = self.fullest()
            {
                self.close(&fullest)?;
            }
            let file = self.create(&folder)?;
            self.open.insert(folder.clone(), file);
        }
        let Some(file) = self.open.get_mut(&folder) else {
            return Ok(());
        };
        file.writer.write(part)?;
        file.rows += part.num_rows() as u64;
        file.failures += failures;
        if file.writer.bytes_written() >= FILE_BYTES {
            self.close(&folder)?;
        }
        Ok(())
    }

    /// Keeps what all files buffer together within [`BUFFERED_BYTES`].
    fn relieve(&mut self) -> Result<()> {
        while self
            .open
            .values()
            .map(|f| f.writer.in_progress_size())
            .sum::<usize>()
            > BUFFERED_BYTES
        {
            let Some(file) = self.fullest().and_then(|folder| self.open.get_mut(&folder)) else {
                return Ok(());
            };
            file.writer.flush()?;
        }
        Ok(())
    }

    fn fullest(&self) -> Option<String> {
        self.open
            .iter()
            .max_by_key(|(_, file)| file.writer.in_progress_size())
            .map(|(folder, _)| folder.clone())
    }

    fn create(&mut self, folder: &str) -> Result<OpenFile> {
        let part = self.next_part.entry(folder.to_string()).or_insert(0);
        let path = format!("{folder}{}", self.names.name(*part));
        *part += 1;
        let file = created(&self.folder, &path);
        let file = file.map_err(|error| cannot_write(&self.place.join(&path), &error))?;
        let writer = ArrowWriter::try_new(
            file,
            Arc::clone(&self.file_schema),
            Some(self.properties.clone()),
        )?;
        Ok(OpenFile {
            path,
            rows: 0,
            failures: 0,
            writer,
        })
    }

    fn close(&mut self, folder: &str) -> Result<()> {
        let Some(OpenFile {
            path,
            rows,
            failures,
            writer,
        }) = self.open.remove(folder)
        else {
            return Ok(());
        };
        let full = self.place.join(&path);
        let file = writer.into_inner()?;
        file.sync_all().map_err(|e| cannot_write(&full, &e))?;
        let bytes = file.metadata().map_err(|e| cannot_write(&full, &e))?.len();
        self.written.push(WrittenFile {
            path,
            rows,
            bytes,
            failures,
        });
        Ok(())
    }
}

/// A new file at a path in `folder`, none of whose names may lead out of it.
pub(super) fn created(folder: &Dir, path: &str) -> std::io::Result<File> {
    if let Some((folders, _)) = path.rsplit_once('/') {
        folder.create_dir_all(folders)?;
    }
    let mut options = OpenOptions::new();
    let file = folder.open_with(path, options.write(true).create_new(true))?;
    Ok(file.into_std())
}

/// The text of each value of a partition column, as it stands in a folder's name; NULL and empty text give `None`.
fn as_text(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    let texts = cast(column, &DataType::Utf8)?;
    let texts = datafusion::common::cast::as_string_array(&texts)?;
    Ok(texts
        .iter()
        .map(|text| text.filter(|t| !t.is_empty()).map(str::to_string))
        .collect())
}

/// The folder of the rows with a value of a partition column, as Hive names it; NULL and empty text have one folder.
pub fn hive_folder(name: &str, value: Option<&str>) -> String {
    let value = value.map_or(NULL_PARTITION.into(), |v| {
        utf8_percent_encode(v, ESCAPED).to_string()
    });
    format!("{}={value}", utf8_percent_encode(name, ESCAPED))
}

pub(super) fn cannot_write(path: &Path, error: &std::io::Error) -> DataFusionError {
    exec_datafusion_err!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn batch(ids: Vec<i64>, labels: Vec<Option<&str>>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("label", DataType::Utf8, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from(ids)),
                Arc::new(StringArray::from(labels)),
            ],
        )
        .unwrap()
    }

    fn writer(folder: &Path, schema: &SchemaRef) -> PartitionedWriter {
        let shape = TableShape {
            schema,
            partition_by: &["label".to_string()],
            label: "answer",
            dropped: &[],
            errors: "label",
        };
        let dir = Dir::open_ambient_dir(folder, cap_std::ambient_authority()).unwrap();
        PartitionedWriter::new(dir, folder, shape, PartNames::default()).unwrap()
    }

    fn ids(path: &Path) -> Vec<i64> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap())
            .unwrap()
            .build()
            .unwrap();
        reader
            .flat_map(|batch| {
                let batch = batch.unwrap();
                assert_eq!(batch.num_columns(), 1);
                batch
                    .column(0)
                    .as_any()
                    .downcast_ref::<Int64Array>()
                    .unwrap()
                    .values()
                    .to_vec()
            })
            .collect()
    }

    #[test]
    fn rows_go_to_their_folders_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let first = batch(vec![1, 2, 3], vec![Some("a/b"), None, Some("a/b")]);
        let mut writer = writer(folder.path(), &first.schema());
        writer.write(&first).unwrap();
        writer
            .write(&batch(vec![4, 5], vec![None, Some("a/b")]))
            .unwrap();
        let files = writer.finish().unwrap();
        let listed: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.rows)).collect();
        assert_eq!(
            listed,
            [
                ("label=__HIVE_DEFAULT_PARTITION__/part-00000.parquet", 2),
                ("label=a%2Fb/part-00000.parquet", 3)
            ]
        );
        let failures: Vec<_> = files.iter().map(|f| f.failures).collect();
        assert_eq!(
            failures,
            [0, 3],
            "a column that is not NULL stands for a failure here"
        );
        assert_eq!(ids(&folder.path().join(&files[0].path)), [2, 4]);
        assert_eq!(ids(&folder.path().join(&files[1].path)), [1, 3, 5]);
        let size = std::fs::metadata(folder.path().join(&files[0].path))
            .unwrap()
            .len();
        assert_eq!(files[0].bytes, size);
    }

    #[test]
    fn many_partitions_keep_few_files_open_and_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..OPEN_FILES * 2).map(|i| format!("p{i}")).collect();
        let labels = || names.iter().map(|n| Some(n.as_str())).collect();
        let rows = || (0..names.len() as i64).collect();
        let first = batch(rows(), labels());
        let mut writer = writer(folder.path(), &first.schema());
        writer.write(&first).unwrap();
        writer.write(&batch(rows(), labels())).unwrap();
        assert!(writer.open.len() <= OPEN_FILES);
        let files = writer.finish().unwrap();
        assert_eq!(
            files.iter().map(|f| f.rows).sum::<u64>(),
            2 * names.len() as u64
        );
        for (id, name) in names.iter().enumerate() {
            let of_name = files
                .iter()
                .filter(|f| f.path.starts_with(&format!("label={name}/")));
            let found: Vec<i64> = of_name
                .flat_map(|f| ids(&folder.path().join(&f.path)))
                .collect();
            assert_eq!(found, [id as i64, id as i64]);
        }
    }
}
