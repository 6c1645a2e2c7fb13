//! What the values of a column's pages will take in memory, from the heads of the pages.
//!
//! A page's head says how many values it has and how many bytes. Where that leaves room for much more than a batch should take (a
//! dictionary whose few values are long, lists in which one row may have all elements) the pages are looked into ([`levels`]).

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;

use super::levels;
use super::thrift::{Broken, Kind, Reader};
use super::{BATCH_BYTES, RATIO};

/// Bytes that a reader keeps for a value besides the value: its levels, and whether it is NULL.
const LEVELS: u64 = 5;

/// Bytes of a page that may come of none.
const PAGE_BYTES: u64 = 64 << 20;

/// Values of a column that are counted one by one; a reader keeps levels of those that come together.
const MOST_COUNTED: u64 = 32 << 20;

/// Bytes in which the head of most pages is.
const HEAD_BYTES: u64 = 256;

/// Why pages are not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("a page of its column '{column}' says {bytes} bytes and has {stored}")]
    Page {
        column: String,
        bytes: u64,
        stored: u64,
    },
    #[error("the heads of the pages of its column '{0}' are broken")]
    Heads(String),
    #[error(
        "the values of its column '{column}' would take more than {RATIO} times the bytes that they have and {spare} MiB more",
        spare = BATCH_BYTES >> 20
    )]
    Much { column: String },
}

/// A page by its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    is_dictionary: bool,
    /// Bytes in the file.
    stored: u64,
    /// Bytes when they are decompressed.
    bytes: u64,
    values: u64,
    encoding: i64,
}

/// Some pages of a column, as they lie in the file.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Where they begin in the file.
    pub(super) start: u64,
    pub(super) bytes: Bytes,
}

/// The pages of a part.
///
/// # Errors
/// For a page that says much more bytes than it has, and for heads that cannot be read.
pub(super) fn of(column: &ColumnChunkMetaData, part: &Part) -> Result<Vec<Page>, Refused> {
    let mut pages = Vec::new();
    let mut at = 0;
    while at < part.bytes.len() {
        let (page, head) = one(column, &part.bytes[at..])?;
        at += head + page.stored as usize;
        pages.push(page);
    }
    match at == part.bytes.len() {
        true => Ok(pages),
        false => Err(Refused::Heads(column.column_path().string())),
    }
}

/// The heads of all pages of a column in a file, of which no more is read.
///
/// # Errors
/// As [`of`], and when the file cannot be read.
pub(super) fn of_file(
    column: &ColumnChunkMetaData,
    file: &impl ChunkReader,
) -> Result<Vec<Page>, Refused> {
    let broken = || Refused::Heads(column.column_path().string());
    let (start, length) = column.byte_range();
    let end = start.saturating_add(length);
    let (mut pages, mut at) = (Vec::new(), start);
    while at < end {
        let mut wanted = HEAD_BYTES;
        let (page, head) = loop {
            let there = wanted.min(end - at);
            let bytes = file.get_bytes(at, there as usize).map_err(|_| broken())?;
            match one(column, &bytes) {
                // Statistics of long values make a long head.
                Err(Refused::Heads(_)) if there < end - at && wanted < PAGE_BYTES => wanted *= 64,
                found => break found?,
            }
        };
        at = at.saturating_add(head as u64 + page.stored);
        pages.push(page);
    }
    match at == end {
        true => Ok(pages),
        false => Err(broken()),
    }
}

/// The page whose head `bytes` begin with, and how long that is.
fn one(column: &ColumnChunkMetaData, bytes: &[u8]) -> Result<(Page, usize), Refused> {
    let name = || column.column_path().string();
    let mut reader = Reader::new(bytes);
    let page = head(&mut reader).map_err(|_| Refused::Heads(name()))?;
    match page.bytes > PAGE_BYTES.saturating_add(RATIO.saturating_mul(page.stored)) {
        true => Err(Refused::Page {
            column: name(),
            bytes: page.bytes,
            stored: page.stored,
        }),
        false => Ok((page, reader.at())),
    }
}

fn head(reader: &mut Reader<'_>) -> Result<Page, Broken> {
    let size = |reader: &mut Reader<'_>| u64::try_from(reader.int()?).map_err(|_| Broken);
    let mut page = Page {
        is_dictionary: false,
        stored: 0,
        bytes: 0,
        values: 0,
        encoding: 0,
    };
    let mut last = 0;
    while let Some(kind) = reader.field(&mut last)? {
        match (last, kind) {
            (1, Kind::Int) => page.is_dictionary = reader.int()? == 2,
            (2, Kind::Int) => page.bytes = size(reader)?,
            (3, Kind::Int) => page.stored = size(reader)?,
            // Of data pages of both versions, and of dictionaries.
            (5 | 7 | 8, Kind::Struct) => {
                let encoding = if last == 8 { 4 } else { 2 };
                let mut inner = 0;
                while let Some(kind) = reader.field(&mut inner)? {
                    match kind {
                        Kind::Int if inner == 1 => page.values = size(reader)?,
                        Kind::Int if inner == encoding => page.encoding = reader.int()?,
                        kind => reader.skip(kind)?,
                    }
                }
            }
            (_, kind) => reader.skip(kind)?,
        }
    }
    // Whoever gives no head gives a page of nothing, which would be read for ever.
    match page.stored > i32::MAX as u64 || page.bytes > i32::MAX as u64 {
        true => Err(Broken),
        false => Ok(page),
    }
}

/// How many bytes a batch of `rows` rows of the column may take beyond what its pages have. `parts` gets their bytes, where they must be
/// looked into.
pub(super) fn excess(
    column: &ColumnChunkMetaData,
    pages: &[Page],
    rows: u64,
    parts: impl FnOnce() -> Vec<Part>,
) -> u64 {
    let facts = Facts::of(column, pages);
    let rough = facts.excess(pages, rows, facts.dictionary_bytes(), facts.repeats);
    if rough <= BATCH_BYTES / 64 {
        return rough;
    }
    // Only now are pages decompressed, within the bounds that their heads keep.
    let parts = &parts();
    let longest = match facts.has_dictionary {
        true => levels::longest_value(column, parts),
        false => None,
    };
    let longest = longest.unwrap_or_else(|| facts.dictionary_bytes());
    let together = match facts.repeats {
        true => levels::most_values(column, parts, rows),
        false => None,
    };
    let bound = match together {
        // In lists the rows say how many values come together.
        Some(values) => facts.of_values(pages, values, longest),
        None => facts.excess(pages, rows, longest, facts.repeats),
    };
    let values: u64 = pages.iter().map(|page| page.values).sum();
    if !facts.is_text || bound <= BATCH_BYTES / 8 || values > MOST_COUNTED {
        return bound;
    }
    // Texts that share beginnings or stand in a dictionary are as long as they are, which only they say.
    let stored: u64 = pages.iter().map(|page| page.stored).sum();
    let allowed = RATIO.saturating_mul(stored);
    let most = allowed.saturating_add(BATCH_BYTES);
    match levels::longest_window(column, parts, rows, most) {
        Some(bytes) => bytes
            .saturating_add(together.unwrap_or(rows).saturating_mul(facts.width))
            .saturating_sub(allowed),
        None => bound,
    }
}

/// What a column's values take.
struct Facts {
    /// Bytes of a value of fixed width, or of an offset, with its levels.
    width: u64,
    /// Whether values have bytes of their own.
    is_text: bool,
    /// Whether a row may have several values.
    repeats: bool,
    has_dictionary: bool,
    dictionary: u64,
}

impl Facts {
    fn of(column: &ColumnChunkMetaData, pages: &[Page]) -> Self {
        let described = column.column_descr();
        let width = match described.physical_type() {
            Type::BOOLEAN => 1,
            Type::INT32 | Type::FLOAT => 4,
            Type::INT64 | Type::DOUBLE => 8,
            Type::INT96 => 12,
            Type::BYTE_ARRAY => 8,
            Type::FIXED_LEN_BYTE_ARRAY => described.type_length().max(0) as u64,
        };
        let levels = match described.max_def_level() > 0 || described.max_rep_level() > 0 {
            true => LEVELS,
            false => 0,
        };
        let mut dictionaries = pages.iter().filter(|page| page.is_dictionary);
        let dictionary = dictionaries.next();
        Self {
            width: width + levels,
            is_text: described.physical_type() == Type::BYTE_ARRAY,
            repeats: described.max_rep_level() > 0,
            has_dictionary: dictionary.is_some(),
            dictionary: dictionary.map_or(0, |page| page.bytes),
        }
    }

    /// The longest value that its dictionary can have.
    fn dictionary_bytes(&self) -> u64 {
        match self.is_text {
            true => self.dictionary,
            false => 0,
        }
    }

    /// What the own bytes of so many values of a page may take.
    fn text(&self, page: &Page, values: u64, longest: u64) -> u64 {
        let values = values.min(page.values);
        match page.encoding {
            _ if !self.is_text || page.is_dictionary => 0,
            encoding if is_indexed(encoding) => values.saturating_mul(longest),
            encoding if encoding == Encoding::DELTA_BYTE_ARRAY as i64 => {
                values.saturating_mul(page.bytes)
            }
            _ => page.bytes,
        }
    }

    /// The excess of the worst rows that come together: pages one after the other, of which those between the first and the last have
    /// fewer values than there are rows.
    fn excess(&self, pages: &[Page], rows: u64, longest: u64, all: bool) -> u64 {
        if all {
            let values = pages.iter().map(|page| page.values).sum();
            return self.of_values(pages, values, longest);
        }
        let pages: Vec<&Page> = pages.iter().filter(|page| !page.is_dictionary).collect();
        let (mut worst, mut first) = (0, 0);
        let (mut values, mut bytes, mut stored) = (0_u64, 0_u64, 0_u64);
        for last in &pages {
            values += last.values;
            bytes = bytes.saturating_add(self.text(last, rows, longest));
            stored += last.stored;
            // Without its first page it still has more values than a batch has rows.
            while values - pages[first].values - last.values.min(values - pages[first].values)
                > rows
            {
                let gone = pages[first];
                values -= gone.values;
                bytes = bytes.saturating_sub(self.text(gone, rows, longest));
                stored -= gone.stored;
                first += 1;
            }
            let fixed = values.min(rows).saturating_mul(self.width);
            let taken = fixed.saturating_add(bytes);
            worst = worst.max(taken.saturating_sub(RATIO.saturating_mul(stored)));
        }
        worst
    }

    /// The excess of so many values, wherever they are.
    fn of_values(&self, pages: &[Page], values: u64, longest: u64) -> u64 {
        let mut taken = values.saturating_mul(self.width);
        let (mut left, mut stored) = (values, 0_u64);
        for page in pages.iter().filter(|page| !page.is_dictionary) {
            taken = taken.saturating_add(self.text(page, left, longest));
            if is_indexed(page.encoding) {
                left = left.saturating_sub(page.values);
            }
            stored += page.stored;
        }
        taken.saturating_sub(RATIO.saturating_mul(stored))
    }
}

/// Whether values of this encoding stand in a dictionary.
#[allow(deprecated)]
fn is_indexed(encoding: i64) -> bool {
    encoding == Encoding::PLAIN_DICTIONARY as i64 || encoding == Encoding::RLE_DICTIONARY as i64
}
