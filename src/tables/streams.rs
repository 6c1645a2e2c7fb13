//! Arrow files, as `datasets.save_to_disk` writes them: one stream of batches each.
//!
//! Owns what of such a file is looked at before a reader decodes it. A stream says how long its parts are, and readers take memory for that
//! unseen; so every length is compared with the file's own. Parts that are compressed say nothing that could be compared, and are refused.

use std::io::{BufReader, Read, Seek};

use arrow::ipc::{MessageHeader, RecordBatch, root_as_message};
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use object_store::{GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::stream_types;

/// Bytes of the description of one part: that of tens of thousands of columns.
const MOST_HEAD: u64 = 64 << 20;

/// What stands before the length of a part.
const MARK: [u8; 4] = [0xff; 4];

/// How a file begins that has a list of its parts at its end.
const WITH_LIST: &[u8] = b"ARROW1";

/// Files that `datasets` keeps beside those of a data set.
pub(super) fn is_beside(name: &str) -> bool {
    let describes = ["state.json", "dataset_info.json", "dataset_dict.json"].contains(&name);
    describes || (name.starts_with("cache-") && name.ends_with(".arrow"))
}

/// Refuses a file that cannot be read in memory that follows from its size, or does not lie on this machine.
///
/// # Errors
/// A sentence without the file's name.
pub(super) async fn check(store: &dyn ObjectStore, file: &ObjectMeta) -> Result<()> {
    let GetResultPayload::File(opened, _) = store.get(&file.location).await?.payload else {
        return plan_err!(
            "Arrow files are read from a disk of this machine only; fetch it first, or save it as Parquet"
        );
    };
    let size = file.size;
    let looked = tokio::task::spawn_blocking(move || walk(opened, size)).await;
    match looked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(what)) => plan_err!("{what}"),
        Err(error) => Err(plan_datafusion_err!("it cannot be looked at: {error}")),
    }
}

/// Goes from part to part of a stream of so many bytes.
fn walk(file: impl Read + Seek, size: u64) -> std::result::Result<(), String> {
    let mut file = BufReader::new(file);
    let unreadable = |error: std::io::Error| error.to_string();
    let mut at = 0;
    while at < size {
        let mut word = [0; 4];
        file.read_exact(&mut word).map_err(unreadable)?;
        at += 4;
        if at == 4 && WITH_LIST.starts_with(&word) {
            return Err("it is an Arrow file with a list of its parts (Feather), not a stream as datasets.save_to_disk writes it; save it \
                        as Parquet"
                .to_string());
        }
        if word == MARK {
            file.read_exact(&mut word).map_err(unreadable)?;
            at += 4;
        }
        let head = u64::from(u32::from_le_bytes(word));
        if head == 0 {
            return Ok(());
        }
        if head > MOST_HEAD || at + head > size {
            return Err(format!("it is cut off or no Arrow stream, at byte {at}"));
        }
        let mut text = vec![0; head as usize];
        file.read_exact(&mut text).map_err(unreadable)?;
        at += head;
        let message = root_as_message(&text).map_err(|error| {
            // Behind its first line stands how it was looked for.
            let error = error.to_string();
            let line = error.lines().next().unwrap_or_default();
            format!("it is no Arrow stream: {line}")
        })?;
        if let Some(schema) = message.header_as_schema() {
            stream_types::check(&schema)?;
        }
        let body = u64::try_from(message.bodyLength()).unwrap_or(u64::MAX);
        if body > size - at {
            return Err(format!("it is cut off at byte {size}"));
        }
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|d| d.data())
            }
            _ => None,
        };
        if let Some(batch) = batch {
            check_batch(&batch, body)?;
        }
        let skipped = i64::try_from(body).map_err(|error| error.to_string())?;
        file.seek_relative(skipped).map_err(unreadable)?;
        at += body;
    }
    Ok(())
}

/// Refuses a batch that names bytes beyond its own.
fn check_batch(batch: &RecordBatch<'_>, body: u64) -> std::result::Result<(), String> {
    if batch.compression().is_some() {
        return Err(
            "its batches are compressed; save it without compression, or as Parquet".to_string(),
        );
    }
    let inside = |offset: i64, length: i64| {
        let end = u64::try_from(offset).ok().zip(u64::try_from(length).ok());
        end.and_then(|(offset, length)| offset.checked_add(length))
            .is_some_and(|end| end <= body)
    };
    let mut buffers = batch.buffers().into_iter().flatten();
    // A value takes at least a bit somewhere, but for columns of NULL.
    let most = i64::try_from(body.saturating_mul(8)).unwrap_or(i64::MAX);
    let mut nodes = batch.nodes().into_iter().flatten();
    match buffers.all(|buffer| inside(buffer.offset(), buffer.length()))
        && nodes
            .all(|node| (0..=most).contains(&node.length()) || node.null_count() == node.length())
    {
        true => Ok(()),
        false => Err("a batch in it names bytes that it does not have".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::ipc::reader::StreamReader;
    use arrow::ipc::writer::{FileWriter, StreamWriter};

    use super::*;

    fn batch() -> RecordBatch {
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let file: ArrayRef = Arc::new(StringArray::from(vec!["a.jpg", "b.jpg"]));
        RecordBatch::try_from_iter([("id", id), ("file", file)]).unwrap()
    }

    fn looked(bytes: &[u8]) -> std::result::Result<(), String> {
        walk(Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn a_stream_is_within_its_bytes_and_a_changed_one_is_refused() {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.write(&batch()).unwrap();
        writer.write(&batch()).unwrap();
        let bytes = writer.into_inner().unwrap();
        assert_eq!(looked(&bytes), Ok(()));
        for cut in 1..bytes.len() - 8 {
            // A cut between two parts is the end of a stream.
            if let Err(said) = looked(&bytes[..cut]) {
                assert!(!said.is_empty());
            }
        }
        assert!(looked(&bytes[..bytes.len() / 2]).is_err());
        // The lengths of bodies and buffers, made larger.
        let mut refused = 0;
        for at in (0..bytes.len() - 8).step_by(8) {
            let mut wrong = bytes.clone();
            wrong[at + 6] = 0x7f;
            refused += usize::from(looked(&wrong).is_err());
        }
        assert!(refused > 6, "{refused}");
        assert!(looked(b"no stream at all").is_err());
    }

    #[test]
    fn what_is_no_type_of_a_column_is_refused_before_a_reader_takes_it() {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.write(&batch()).unwrap();
        let bytes = writer.into_inner().unwrap();
        let head = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize + 8;
        let mut refused = 0;
        for at in 8..head {
            for bits in [0x01, 0x10, 0x55, 0xff] {
                let mut wrong = bytes.clone();
                wrong[at] ^= bits;
                match looked(&wrong) {
                    // It may be an error, and ends no thread.
                    Ok(()) => drop(StreamReader::try_new(Cursor::new(wrong), None)),
                    Err(said) => {
                        refused += usize::from(said.contains("has a type that is not read"))
                    }
                }
            }
        }
        assert!(refused > 0);
    }

    #[test]
    fn a_file_with_a_list_and_a_compressed_one_say_what_to_do() {
        let mut writer = FileWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.write(&batch()).unwrap();
        let said = looked(&writer.into_inner().unwrap()).unwrap_err();
        assert!(said.contains("Parquet"), "{said}");
    }
}
