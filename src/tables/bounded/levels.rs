//! Pages looked into where their heads do not say enough: the longest value of a dictionary, and how many values come together.
//!
//! Whoever calls has seen by their heads that pages do not decompress to much more than they are.

use std::io::Read;

use bytes::{Buf, Bytes};
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::pages::Part;

/// Values that are decoded together: each may be as long as a page.
const TOGETHER: usize = 8;

/// The first part of a column as if it were its file.
struct Source(Part);

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.start + self.0.bytes.len() as u64
    }
}

impl Source {
    fn from(&self, start: u64) -> Result<Bytes> {
        let at = start.checked_sub(self.0.start).map(|at| at as usize);
        let at = at.filter(|at| *at <= self.0.bytes.len());
        let at = at.ok_or_else(|| ParquetError::EOF("bytes that were not fetched".to_string()))?;
        Ok(self.0.bytes.slice(at..))
    }
}

impl ChunkReader for Source {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(Box::new(self.from(start)?.reader()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF("bytes that were not fetched".to_string())),
        }
    }
}

fn pages(column: &ColumnChunkMetaData, parts: &[Part]) -> Option<SerializedPageReader<Source>> {
    let first = parts.first()?.clone();
    let rows = usize::try_from(column.num_values()).ok()?;
    SerializedPageReader::new(Source(first).into(), column, rows, None).ok()
}

/// Bytes of the longest value in the dictionary of a column of texts; `None` where it cannot be read.
pub(super) fn longest_value(column: &ColumnChunkMetaData, parts: &[Part]) -> Option<u64> {
    if column.column_descr().physical_type() != Type::BYTE_ARRAY {
        return Some(0);
    }
    let Some(Page::DictionaryPage { buf, .. }) = pages(column, parts)?.get_next_page().ok()? else {
        return None;
    };
    let (mut longest, mut rest) = (0, &buf[..]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(u64::from(length));
        rest = after.get(length as usize..)?;
    }
    Some(longest)
}

/// The most values that so many rows after one another have; `None` where their levels cannot be read.
pub(super) fn most_values(column: &ColumnChunkMetaData, parts: &[Part], rows: u64) -> Option<u64> {
    // Parts of one page each were chosen by a predicate; each is read by itself.
    if parts.len() > 1 {
        return None;
    }
    let width = u16::BITS - (column.column_descr().max_rep_level() as u16).leading_zeros();
    let mut window = Window::new(rows);
    let mut pages = pages(column, parts)?;
    while let Some(page) = pages.get_next_page().ok()? {
        let values = u64::from(page.num_values());
        let levels = match &page {
            Page::DictionaryPage { .. } => continue,
            Page::DataPageV2 {
                buf,
                rep_levels_byte_len,
                ..
            } => buf.get(..*rep_levels_byte_len as usize)?,
            Page::DataPage {
                buf,
                rep_level_encoding: Encoding::RLE,
                ..
            } => {
                let (length, rest) = buf.split_first_chunk::<4>()?;
                rest.get(..u32::from_le_bytes(*length) as usize)?
            }
            Page::DataPage { .. } => return None,
        };
        count(levels, width, values, &mut window)?;
    }
    Some(window.most())
}

/// Counts the levels of a page: those that are zero begin a row.
fn count(levels: &[u8], width: u32, values: u64, window: &mut Window) -> Option<()> {
    let mut rest = levels;
    let mut left = values;
    while left > 0 {
        let (head, length) = varint(rest)?;
        rest = &rest[length..];
        if head & 1 == 0 {
            let run = (head >> 1).min(left);
            let bytes = width.div_ceil(8) as usize;
            let is_zero = rest.get(..bytes)?.iter().all(|byte| *byte == 0);
            rest = &rest[bytes..];
            match is_zero {
                true => window.rows(run),
                false => window.values(run),
            }
            // A run of none would go on for ever.
            if run == 0 {
                return None;
            }
            left -= run;
        } else {
            let bytes = (head >> 1).checked_mul(u64::from(width))?;
            let packed = rest.get(..usize::try_from(bytes).ok()?)?;
            rest = &rest[packed.len()..];
            let packed_values = (head >> 1).checked_mul(8)?.min(left);
            if packed_values == 0 {
                return None;
            }
            for place in 0..packed_values {
                let first = place * u64::from(width);
                let bit = |bit: u64| packed[(bit / 8) as usize] >> (bit % 8) & 1 == 1;
                match (first..first + u64::from(width)).any(bit) {
                    true => window.values(1),
                    false => window.rows(1),
                }
            }
            left -= packed_values;
        }
    }
    Some(())
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// The bytes of the longest texts of so many rows after one another; more than `most` is not counted to its end. `None` where they
/// cannot be read.
pub(super) fn longest_window(
    column: &ColumnChunkMetaData,
    parts: &[Part],
    rows: u64,
    most: u64,
) -> Option<u64> {
    if parts.len() > 1 {
        return None;
    }
    let described = column.column_descr_ptr();
    let repeats = described.max_rep_level() > 0;
    let reader = Box::new(pages(column, parts)?) as Box<dyn PageReader>;
    let ColumnReader::ByteArrayColumnReader(mut reader) = get_column_reader(described, reader)
    else {
        return None;
    };
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    let mut window = Window::new(rows);
    loop {
        values.clear();
        definitions.clear();
        repetitions.clear();
        let read = reader.read_records(
            TOGETHER,
            Some(&mut definitions),
            repeats.then_some(&mut repetitions),
            &mut values,
        );
        let (records, ..) = read.ok()?;
        if records == 0 {
            return Some(window.most());
        }
        window.rows(records as u64);
        window.values(values.iter().map(|value| value.len() as u64).sum());
        if window.most() > most {
            return Some(window.most());
        }
    }
}

/// What rows after one another have together. Rows are counted in blocks; any so many lie in two of them.
struct Window {
    rows: u64,
    in_block: u64,
    block: u64,
    before: u64,
    most: u64,
}

impl Window {
    fn new(rows: u64) -> Self {
        Self {
            rows: rows.max(1),
            in_block: 0,
            block: 0,
            before: 0,
            most: 0,
        }
    }

    /// So many rows begin, each with a value.
    fn rows(&mut self, mut rows: u64) {
        while rows > 0 {
            if self.in_block == self.rows {
                (self.before, self.block, self.in_block) = (self.block, 0, 0);
            }
            let fits = rows.min(self.rows - self.in_block);
            self.in_block += fits;
            self.values(fits);
            rows -= fits;
        }
    }

    /// The row that began has so much more.
    fn values(&mut self, values: u64) {
        self.block = self.block.saturating_add(values);
        self.most = self.most.max(self.before.saturating_add(self.block));
    }

    fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_say_how_many_values_come_together() {
        // One row of 1 + 200 values, then three bit-packed rows: 0 1 0 0 (1 1 1 1).
        let levels = [2, 0, 0x90, 3, 1, 3, 0b1111_0010];
        let mut window = Window::new(1);
        count(&levels, 1, 201 + 8, &mut window).unwrap();
        assert_eq!(window.most(), 201 + 2);
        // Rows of one value each cost what they are, however many.
        let mut window = Window::new(8192);
        count(&[0x80, 0x84, 0xAF, 0x5F, 0], 1, 100_000_000, &mut window).unwrap();
        assert_eq!(window.most(), 2 * 8192);
        for broken in [
            &[][..],
            &[0],
            &[2],
            &[0, 0],
            &[3],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert!(
                count(broken, 1, 10, &mut Window::new(1)).is_none(),
                "{broken:?}"
            );
        }
    }
}
