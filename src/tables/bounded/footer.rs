//! A Parquet file's footer before it is decoded: its size, how many columns it has and how deeply they nest.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use datafusion::catalog::Session;
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::datasource::physical_plan::parquet::metadata::CachedParquetMetaData;
use datafusion::execution::cache::cache_manager::CachedFileMetadataEntry;
use object_store::{ObjectMeta, ObjectStore};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

use super::thrift::{Broken, Kind, Reader};

/// Largest footer. One of a thousand row groups of a hundred columns has about ten megabytes.
const LARGEST: u64 = 64 << 20;

/// Deepest nesting of columns; the depth that a person's tables have is below ten.
const DEEPEST: usize = 64;

/// Most columns, those inside of others counted.
const MOST_COLUMNS: u64 = 20_000;

/// What is read of a file's end at first, which is the whole footer of most.
const TAIL: u64 = 64 << 10;

/// The length of the footer and the four letters of the format.
const END: u64 = 8;

/// Files whose footers were found to be within bounds, by where they lie and which state they are in.
static CHECKED: LazyLock<Mutex<Checked>> = LazyLock::new(Mutex::default);

/// How many are remembered.
const REMEMBERED: usize = 100_000;

#[derive(Default)]
struct Checked {
    known: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

/// What is wrong with a footer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has so many bytes.
    #[error("its footer has {0} bytes; at most {LARGEST} are read")]
    Large(u64),
    /// Columns in columns in columns.
    #[error("its columns nest more than {DEEPEST} levels deep")]
    Deep,
    /// Columns beside columns.
    #[error("it has more than {MOST_COLUMNS} columns")]
    Wide,
    /// No structures of Parquet.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Looks at the footer of a file before anything decodes it, and leaves it decoded where readers look for it.
///
/// # Errors
/// A sentence that says what is too much.
pub(in crate::tables) async fn check(
    state: &dyn Session,
    store: &dyn ObjectStore,
    file: &ObjectMeta,
) -> Result<()> {
    if is_checked(file) {
        return Ok(());
    }
    let start = file.size.saturating_sub(TAIL);
    let mut tail = read(store, file, start..file.size).await?;
    // What is no Parquet its reader says better.
    let Some(length) = length(&tail) else {
        return Ok(());
    };
    if length > LARGEST {
        return plan_err!("{}", Refused::Large(length));
    }
    let whole = length + END;
    if whole > file.size {
        return Ok(());
    }
    if whole > tail.len() as u64 {
        let more = read(store, file, file.size - whole..start).await?;
        let mut both = BytesMut::from(more.as_ref());
        both.extend_from_slice(&tail);
        tail = both.freeze();
    }
    let footer = footer(&tail, length);
    columns(&footer).map_err(|refused| plan_datafusion_err!("{refused}"))?;
    // With the index of its pages, if that was read too, as its readers want it.
    let mut decoder =
        ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    if decoder.try_parse_sized(&tail, file.size).is_ok()
        && let Ok(metadata) = decoder.finish()
    {
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let metadata = CachedParquetMetaData::new(Arc::new(metadata));
        let entry = CachedFileMetadataEntry::new(file.clone(), Arc::new(metadata));
        cache.put(&file.location, entry);
    }
    remember(file);
    Ok(())
}

/// The same of a file whose bytes are at hand.
///
/// # Errors
/// What is too much.
pub fn check_bytes(file: &[u8]) -> std::result::Result<(), Refused> {
    let Some(length) = length(file) else {
        return Ok(());
    };
    if length > LARGEST {
        return Err(Refused::Large(length));
    }
    match length + END > file.len() as u64 {
        true => Ok(()),
        false => columns(&footer(&Bytes::copy_from_slice(file), length)),
    }
}

/// The same of an open file.
///
/// # Errors
/// What is too much, or the system's reason why it cannot be read.
pub fn check_file(mut file: &File) -> io::Result<()> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut end = [0; END as usize];
    if size >= END {
        file.seek(SeekFrom::Start(size - END))?;
        file.read_exact(&mut end)?;
    }
    let whole = length(&end).filter(|length| *length <= LARGEST);
    let whole = whole.map_or(END, |length| length + END).min(size);
    file.seek(SeekFrom::Start(size - whole))?;
    let mut tail = vec![0; whole as usize];
    file.read_exact(&mut tail)?;
    file.rewind()?;
    check_bytes(&tail).map_err(io::Error::other)
}

/// The length that the end of a file says of its footer.
fn length(tail: &[u8]) -> Option<u64> {
    let (_, end) = tail.split_last_chunk::<8>()?;
    let (length, letters) = end.split_first_chunk::<4>()?;
    (letters == b"PAR1").then(|| u64::from(u32::from_le_bytes(*length)))
}

fn footer(tail: &Bytes, length: u64) -> Bytes {
    let end = tail.len() - END as usize;
    tail.slice(end.saturating_sub(length as usize)..end)
}

/// A part of a file: asked for as one of several, which for a local disk is one task and not three.
async fn read(store: &dyn ObjectStore, file: &ObjectMeta, range: Range<u64>) -> Result<Bytes> {
    let mut parts = store.get_ranges(&file.location, &[range]).await?;
    Ok(parts.pop().unwrap_or_default())
}

/// Counts the columns of a footer and how deeply they nest.
fn columns(footer: &[u8]) -> std::result::Result<(), Refused> {
    let mut reader = Reader::new(footer);
    let mut last = 0;
    while let Some(kind) = reader.field(&mut last)? {
        match (last, kind) {
            (2, Kind::List) => schema(&mut reader)?,
            _ => reader.skip(kind)?,
        }
    }
    Ok(())
}

/// The elements of a schema, which stand in the order of a walk: a group before what is in it.
fn schema(reader: &mut Reader<'_>) -> std::result::Result<(), Refused> {
    let list = reader.list()?;
    if list.of != Kind::Struct {
        return Err(Broken.into());
    }
    // The root is no column.
    if list.length > MOST_COLUMNS + 1 {
        return Err(Refused::Wide);
    }
    // How many elements each open group still has.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..list.length {
        let (mut last, mut children) = (0, 0);
        while let Some(kind) = reader.field(&mut last)? {
            match (last, kind) {
                (5, Kind::Int) => children = reader.int()?,
                _ => reader.skip(kind)?,
            }
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            open.push(children);
        }
        if open.len() > DEEPEST {
            return Err(Refused::Deep);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(())
}

fn key(file: &ObjectMeta) -> String {
    let (tag, time) = (file.e_tag.as_deref(), file.last_modified);
    format!("{}\0{}\0{time}\0{tag:?}", file.location, file.size)
}

fn is_checked(file: &ObjectMeta) -> bool {
    let checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    checked.known.contains(key(file).as_str())
}

fn remember(file: &ObjectMeta) {
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    let key: Arc<str> = key(file).into();
    if checked.known.insert(Arc::clone(&key)) {
        checked.order.push_back(key);
    }
    if checked.order.len() > REMEMBERED
        && let Some(oldest) = checked.order.pop_front()
    {
        checked.known.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose schema nests so many groups, each with so many columns after the group.
    fn file(depth: usize, columns: usize) -> Vec<u8> {
        let varint = |mut value: u64| {
            let mut bytes = Vec::new();
            while value > 0x7F {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        };
        let group = |children: u64| {
            let mut group = vec![0x48, 1, b'a', 0x15];
            group.extend(varint(children << 1));
            group.push(0);
            group
        };
        let leaf = [0x15, 2, 0x38, 1, b'x', 0];
        let mut elements = vec![group(1 + columns as u64)];
        elements.extend((1..depth).map(|_| group(1)));
        elements.push(leaf.to_vec());
        elements.extend((0..columns).map(|_| leaf.to_vec()));
        let mut footer = vec![0x15, 2, 0x19, 0xFC];
        footer.extend(varint(elements.len() as u64));
        footer.extend(elements.concat());
        footer.extend([0x16, 0, 0x19, 0x0C, 0]);
        let length = (footer.len() as u32).to_le_bytes();
        [&b"PAR1"[..], &footer, &length, b"PAR1"].concat()
    }

    #[test]
    fn a_footer_is_counted_before_it_is_decoded() {
        assert_eq!(check_bytes(&file(3, 0)), Ok(()));
        assert_eq!(check_bytes(&file(60, 100)), Ok(()));
        assert_eq!(check_bytes(&file(10_000, 0)), Err(Refused::Deep));
        assert_eq!(check_bytes(&file(1, 30_000)), Err(Refused::Wide));
        let mut long = file(1, 1);
        let at = long.len() - 8;
        long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(check_bytes(&long), Err(Refused::Large(_))));
        // What is no Parquet its reader says.
        assert_eq!(check_bytes(b"no table"), Ok(()));
        assert_eq!(check_bytes(b""), Ok(()));
    }
}
