//! Tables of distinct photographs for the benches of whole jobs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// The JPEG files of a folder; none: those of the repository, photographs at most 512 pixels wide or high.
pub(crate) fn photographs(folder: Option<&Path>) -> Vec<Vec<u8>> {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("datasets/photos/references/images");
    let folder = folder.unwrap_or(&ours);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jpg"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// The JPEG with a comment that holds `number`: other bytes, the same work.
pub(crate) fn distinct(jpeg: &[u8], number: u64) -> Vec<u8> {
    let mut copy = jpeg[..2].to_vec();
    copy.extend([0xff, 0xfe, 0, 10]);
    copy.extend(number.to_be_bytes());
    copy.extend(&jpeg[2..]);
    copy
}

/// Writes so many photographs of `photographs` (none: the repository's) with different bytes, `0.jpg`, `1.jpg`, and so on.
#[allow(dead_code, reason = "two of the benches read references")]
pub(crate) fn files(folder: &Path, count: usize, photographs: Option<&Path>) {
    let photographs = self::photographs(photographs);
    for number in 0..count {
        let bytes = distinct(&photographs[number % photographs.len()], number as u64);
        std::fs::write(folder.join(format!("{number}.jpg")), bytes).unwrap();
    }
}

/// Writes a table of `rows` distinct photographs, `id` and `image`, in row groups of 100 rows.
pub(crate) fn table(path: &Path, rows: usize) {
    let photographs = photographs(None);
    let mut writer: Option<ArrowWriter<File>> = None;
    let numbers: Vec<usize> = (0..rows).collect();
    for group in numbers.chunks(100) {
        let mut images = BinaryBuilder::new();
        for &number in group {
            images.append_value(distinct(
                &photographs[number % photographs.len()],
                number as u64,
            ));
        }
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(
            group.iter().map(|&n| n as i64),
        ));
        let images: ArrayRef = Arc::new(images.finish());
        let batch = RecordBatch::try_from_iter([("id", ids), ("image", images)]).unwrap();
        let writer = writer.get_or_insert_with(|| {
            let properties = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_max_row_group_row_count(Some(100))
                .build();
            ArrowWriter::try_new(
                File::create(path).unwrap(),
                batch.schema(),
                Some(properties),
            )
            .unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
}

/// Ten categories, the first of which stands for one.
pub(crate) const CATEGORIES: &str =
    "animal,building,tool,fish,bird,vehicle,furniture,food,clothing,musical instrument";
