//! The repository's photographs, each several times: flipped, cut and with noise, as one table with embedded images.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, crop_imm, flip_horizontal};
use image::{ImageReader, RgbImage};
use parquet::arrow::ArrowWriter;

/// Longest side of a copy: as large as the models look at, about.
const SIDE: u32 = 320;

/// Numbers that follow from a seed alone (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Writes the photographs of `folder`, each `copies` times, as the Parquet file `table` with columns `id`, `file` and `image`; rows of
/// one photograph do not stand together.
pub(crate) fn write(folder: &Path, table: &Path, copies: usize) {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of photographs")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "jpg" || end == "webp" || end == "png")
        })
        .collect();
    names.sort();
    let photos: Vec<(String, RgbImage)> = names
        .iter()
        .map(|path| {
            let photo = ImageReader::open(path).expect("a photograph");
            let photo = photo
                .with_guessed_format()
                .expect("its format")
                .decode()
                .expect("its pixels");
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (
                name,
                photo.resize(SIDE, SIDE, FilterType::Triangle).to_rgb8(),
            )
        })
        .collect();
    let mut writer: Option<ArrowWriter<File>> = None;
    for copy in 0..copies {
        let encoded: Vec<Vec<u8>> = photos
            .iter()
            .enumerate()
            .map(|(place, (_, photo))| changed(photo, copy, (copy * photos.len() + place) as u64))
            .collect();
        let first = (copy * photos.len()) as i64;
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "id",
                Arc::new(Int64Array::from_iter_values(
                    first..first + photos.len() as i64,
                )),
            ),
            (
                "file",
                Arc::new(StringArray::from_iter_values(
                    photos.iter().map(|(name, _)| name),
                )),
            ),
            ("image", Arc::new(BinaryArray::from_iter_values(&encoded))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(table).expect("the table's file");
            ArrowWriter::try_new(file, batch.schema(), None).expect("a writer")
        });
        writer.write(&batch).expect("a written batch");
        writer.flush().expect("a row group");
    }
    if let Some(writer) = writer {
        writer.close().expect("the table's footer");
    }
}

/// A copy of a photograph as a JPEG; the first is as it is.
fn changed(photo: &RgbImage, copy: usize, number: u64) -> Vec<u8> {
    let mut chance = Chance(0x9e37_79b9 ^ (number + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut changed = photo.clone();
    if copy > 0 {
        if chance.below(2) == 0 {
            changed = flip_horizontal(&changed);
        }
        let (width, height) = changed.dimensions();
        let cut = |side: u32, chance: &mut Chance| {
            let left = chance.below(u64::from(side / 5) + 1) as u32;
            (left, side - left)
        };
        let (left, wide) = cut(width, &mut chance);
        let (top, high) = cut(height, &mut chance);
        let from = (left * chance.below(2) as u32, top * chance.below(2) as u32);
        changed = crop_imm(&changed, from.0, from.1, wide, high).to_image();
        let noise = 1 + chance.below(24);
        for value in changed.iter_mut() {
            let moved = i32::from(*value) + chance.below(2 * noise + 1) as i32 - noise as i32;
            *value = moved.clamp(0, 255) as u8;
        }
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85)
        .encode_image(&changed)
        .expect("a JPEG");
    bytes
}
