//! What the tests share: the binary, the data, and tables made on the spot.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray, StructArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The table with embedded images.
pub(crate) const EMBEDDED: &str = "datasets/photos/embedded";

/// The table with references, hive-partitioned by `collection`.
pub(crate) const REFERENCES: &str = "datasets/photos/references";

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The binary, run in the repository's root.
pub(crate) fn picsift<I, S>(args: I) -> Output
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let cache = tempfile::tempdir().unwrap();
    command(args, cache.path()).output().unwrap()
}

/// The same, not run yet, with its kept answers in `cache`.
pub(crate) fn command<I, S>(args: I, cache: &Path) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new(env!("CARGO_BIN_EXE_picsift"));
    command
        .args(args)
        .current_dir(root())
        .env("PICSIFT_CACHE", cache)
        .env("XDG_CONFIG_HOME", cache)
        .env("XDG_STATE_HOME", cache);
    command
}

/// Standard output of a run that must succeed.
pub(crate) fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "exit {:?}\n{}",
        output.status.code(),
        stderr(output)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts exit code 2 and gives the one line that was said.
pub(crate) fn refused(output: &Output) -> String {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "one sentence, not {said:?}");
    said.trim().to_string()
}

/// Writes columns as one Parquet file.
pub(crate) fn write_table(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// All rows of the Parquet files below a folder, files in the order of their paths.
pub(crate) fn read_table(folder: &Path) -> RecordBatch {
    let mut files = parquet_files(folder);
    files.sort();
    let mut schema = None;
    let mut batches = Vec::new();
    for path in &files {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        // The builder's, because a reader's batches leave the metadata out.
        schema.get_or_insert_with(|| builder.schema().clone());
        batches.extend(builder.build().unwrap().map(Result::unwrap));
    }
    let schema = schema.expect("no Parquet file");
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// The Parquet files below a folder.
pub(crate) fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .collect()
}

/// Asserts that two outputs have the same rows. Scores may differ in their last digits: the sums of a convolution are taken
/// in an order that depends on how many images go through the model together.
pub(crate) fn assert_same_rows(a: &RecordBatch, b: &RecordBatch) {
    assert_eq!(a.schema(), b.schema());
    for (field, (a, b)) in a
        .schema()
        .fields()
        .iter()
        .zip(a.columns().iter().zip(b.columns()))
    {
        let name = field.name();
        let floats = |array: &ArrayRef| array.as_any().downcast_ref::<Float32Array>().cloned();
        let (Some(a), Some(b)) = (floats(a), floats(b)) else {
            assert!(a == b, "column {name} differs");
            continue;
        };
        assert_eq!(a.len(), b.len());
        for (row, (a, b)) in a.iter().zip(b.iter()).enumerate() {
            let same = match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-5,
                (a, b) => a == b,
            };
            assert!(same, "{name} of row {row}: {a:?} and {b:?}");
        }
    }
}

/// A column of a type that the test knows.
pub(crate) fn column<'a, A: arrow::array::Array + 'static>(
    batch: &'a RecordBatch,
    name: &str,
) -> &'a A {
    let column = batch
        .column_by_name(name)
        .unwrap_or_else(|| panic!("no column {name}"));
    column
        .as_any()
        .downcast_ref()
        .unwrap_or_else(|| panic!("{name} is {}", column.data_type()))
}

/// An array behind the type that batches take.
pub(crate) fn array(array: impl arrow::array::Array + 'static) -> ArrayRef {
    Arc::new(array)
}

/// The bytes of a photograph of the repository.
pub(crate) fn photo(name: &str) -> Vec<u8> {
    std::fs::read(root().join(REFERENCES).join("images").join(name)).unwrap()
}

/// The Python that has these modules, or why there is none.
pub(crate) fn python(modules: &str) -> Result<String, String> {
    let python = std::env::var("PICSIFT_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let probe = Command::new(&python)
        .args(["-c", &format!("import {modules}")])
        .output()
        .map_err(|error| format!("{python} cannot be run: {error}"))?;
    if probe.status.success() {
        return Ok(python);
    }
    Err(format!(
        "{python} lacks tests/readers/requirements.txt: {}",
        stderr(&probe).trim()
    ))
}

/// Stage and sentence of each row's failure.
pub(crate) fn errors(batch: &RecordBatch) -> Vec<Option<String>> {
    let errors = column::<StructArray>(batch, "picsift_error");
    let part = |name: &str| {
        let part = errors.column_by_name(name).unwrap();
        part.as_any().downcast_ref::<StringArray>().unwrap().clone()
    };
    let (stages, messages) = (part("stage"), part("message"));
    (0..batch.num_rows())
        .map(|row| {
            let failed = errors.is_valid(row);
            failed.then(|| format!("{}: {}", stages.value(row), messages.value(row)))
        })
        .collect()
}
