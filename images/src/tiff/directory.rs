//! The first directory of a TIFF or BigTIFF: tags and their values, in either byte order.
//!
//! Every place is checked against the data, so that no announced count costs memory that the file has not. It knows no tag's meaning.

use super::{corrupt, truncated};
use crate::error::ImageError;

/// Tags that are read.
pub(super) mod tag {
    pub(in crate::tiff) const WIDTH: u16 = 256;
    pub(in crate::tiff) const HEIGHT: u16 = 257;
    pub(in crate::tiff) const BITS: u16 = 258;
    pub(in crate::tiff) const COMPRESSION: u16 = 259;
    pub(in crate::tiff) const PHOTOMETRIC: u16 = 262;
    pub(in crate::tiff) const FILL_ORDER: u16 = 266;
    pub(in crate::tiff) const STRIP_OFFSETS: u16 = 273;
    pub(in crate::tiff) const ORIENTATION: u16 = 274;
    pub(in crate::tiff) const SAMPLES: u16 = 277;
    pub(in crate::tiff) const ROWS_PER_STRIP: u16 = 278;
    pub(in crate::tiff) const STRIP_COUNTS: u16 = 279;
    pub(in crate::tiff) const PLANAR: u16 = 284;
    pub(in crate::tiff) const FAX3_OPTIONS: u16 = 292;
    pub(in crate::tiff) const FAX4_OPTIONS: u16 = 293;
    pub(in crate::tiff) const PREDICTOR: u16 = 317;
    pub(in crate::tiff) const COLOUR_MAP: u16 = 320;
    pub(in crate::tiff) const TILE_WIDTH: u16 = 322;
    pub(in crate::tiff) const TILE_HEIGHT: u16 = 323;
    pub(in crate::tiff) const TILE_OFFSETS: u16 = 324;
    pub(in crate::tiff) const TILE_COUNTS: u16 = 325;
    pub(in crate::tiff) const INK_SET: u16 = 332;
    pub(in crate::tiff) const EXTRA_SAMPLES: u16 = 338;
    pub(in crate::tiff) const SAMPLE_FORMAT: u16 = 339;
    pub(in crate::tiff) const INDEXED: u16 = 346;
    pub(in crate::tiff) const JPEG_TABLES: u16 = 347;
    pub(in crate::tiff) const COEFFICIENTS: u16 = 529;
    pub(in crate::tiff) const SUBSAMPLING: u16 = 530;
    pub(in crate::tiff) const REFERENCE: u16 = 532;
    pub(in crate::tiff) const XMP: u16 = 700;
    pub(in crate::tiff) const MATTEING: u16 = 32995;
    pub(in crate::tiff) const PROFILE: u16 = 34675;
}

struct Entry {
    tag: u16,
    kind: u16,
    count: u64,
    /// Where its values are.
    at: usize,
}

/// The first directory of a file.
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    pub(super) big_endian: bool,
    entries: Vec<Entry>,
}

impl<'a> Directory<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Directory<'a>, ImageError> {
        let big_endian = bytes.starts_with(b"MM");
        let mut directory = Directory {
            bytes,
            big_endian,
            entries: Vec::new(),
        };
        // BigTIFF says how many bytes an offset has, which is always eight.
        let big = directory.number(2, 2)? == 43;
        if big && directory.number(4, 2)? != 8 {
            return Err(corrupt("it says that its offsets do not have 8 bytes"));
        }
        let (offset_at, counted, wide) = if big { (8, 8, 8) } else { (4, 2, 4) };
        let at = directory.number(offset_at, wide)?;
        if at < 8 {
            return Err(corrupt("it has no directory"));
        }
        let at = usize::try_from(at).map_err(|_| truncated(bytes))?;
        let count = directory.number(at, counted)?;
        let size = 4 + 2 * wide as u64;
        let begin = at as u64 + counted as u64;
        if count.saturating_mul(size).saturating_add(begin) > bytes.len() as u64 {
            return Err(truncated(bytes));
        }
        for index in 0..count {
            let at = (begin + index * size) as usize;
            let mut entry = Entry {
                tag: directory.number(at, 2)? as u16,
                kind: directory.number(at + 2, 2)? as u16,
                count: directory.number(at + 4, wide)?,
                at: at + 4 + wide,
            };
            // Values that do not fit are elsewhere.
            let bytes = entry.count.saturating_mul(size_of_kind(entry.kind));
            if bytes > wide as u64 {
                let place = directory.number(entry.at, wide)?;
                entry.at = usize::try_from(place).unwrap_or(usize::MAX);
            }
            directory.entries.push(entry);
        }
        Ok(directory)
    }

    /// The unsigned number of `size` bytes at `at`.
    fn number(&self, at: usize, size: usize) -> Result<u64, ImageError> {
        let bytes = at
            .checked_add(size)
            .and_then(|end| self.bytes.get(at..end))
            .ok_or_else(|| truncated(self.bytes))?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Ok(match self.big_endian {
            true => bytes.iter().fold(0, add),
            false => bytes.iter().rev().fold(0, add),
        })
    }

    fn entry(&self, tag: u16) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// The bytes of a tag's values, whatever type they have.
    pub(super) fn raw(&self, tag: u16) -> Option<&'a [u8]> {
        let entry = self.entry(tag)?;
        let size = usize::try_from(entry.count.checked_mul(size_of_kind(entry.kind))?).ok()?;
        self.bytes.get(entry.at..entry.at.checked_add(size)?)
    }

    /// The values of a tag of whole numbers, of any size.
    ///
    /// # Errors
    /// The values are of another type, or the data ends before they do.
    pub(super) fn numbers(&self, tag: u16) -> Result<Option<Vec<u64>>, ImageError> {
        let Some(entry) = self.entry(tag) else {
            return Ok(None);
        };
        if !matches!(entry.kind, 1 | 3 | 4 | 13 | 16 | 18) {
            return Err(corrupt(&format!(
                "the values of its tag {tag} are no whole numbers"
            )));
        }
        let bytes = self.raw(tag).ok_or_else(|| truncated(self.bytes))?;
        let size = size_of_kind(entry.kind) as usize;
        let numbers =
            (0..bytes.len() / size).map(|index| self.number(entry.at + index * size, size));
        numbers.collect::<Result<_, _>>().map(Some)
    }

    /// The first value of a tag of whole numbers.
    pub(super) fn value(&self, tag: u16) -> Result<Option<u64>, ImageError> {
        match self.numbers(tag)? {
            None => Ok(None),
            Some(values) => match values.first() {
                Some(&value) => Ok(Some(value)),
                None => Err(corrupt(&format!("its tag {tag} has no value"))),
            },
        }
    }

    /// As [`Directory::value`] of a tag that must be there, under its name.
    pub(super) fn required(&self, tag: u16, name: &str) -> Result<u64, ImageError> {
        self.value(tag)?
            .ok_or_else(|| corrupt(&format!("it does not say its {name}")))
    }

    /// The values of a tag of fractions.
    pub(super) fn fractions(&self, tag: u16) -> Result<Option<Vec<f64>>, ImageError> {
        let Some(entry) = self.entry(tag) else {
            return Ok(None);
        };
        let bytes = self.raw(tag).ok_or_else(|| truncated(self.bytes))?;
        if entry.kind != 5 {
            return Err(corrupt(&format!(
                "the values of its tag {tag} are no fractions"
            )));
        }
        let fraction = |index: usize| {
            let part = |offset| self.number(entry.at + 8 * index + offset, 4);
            Ok(part(0)? as f64 / part(4)? as f64)
        };
        (0..bytes.len() / 8)
            .map(fraction)
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

/// Bytes of a value; none of a type that there is not.
fn size_of_kind(kind: u16) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 0,
    }
}
