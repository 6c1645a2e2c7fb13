//! Which files an input is made of, and whether they are what they were.
//!
//! A file is known by its URL, its size and what the store gives for a version. Two listings of an input are compared here;
//! what follows from a difference is the job's to say.

use datafusion::common::{Result, plan_err};
use datafusion::datasource::listing::{ListingTableUrl, PartitionedFile};
use datafusion::execution::SessionState;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::tables::{self, FileTable, without_secrets};

/// A file of the input, as the journal remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its URL, without what may be a credential.
    pub url: String,
    /// Its size.
    pub bytes: u64,
    /// What changes when the file does: the store's entity tag, else the time of the last change.
    pub version: String,
}

/// A file of the input that can be read.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Its number in the job.
    pub id: u32,
    /// How it is remembered.
    pub entry: FileEntry,
    /// How it is read, with the values of its partition folders.
    pub file: PartitionedFile,
}

/// The files of `table`, at `locations`, in the order in which they are read; numbers begin at 0.
///
/// # Errors
/// When a location cannot be listed, or names what another named already.
pub async fn list(
    state: &SessionState,
    table: &FileTable,
    locations: &[ListingTableUrl],
) -> Result<Vec<InputFile>> {
    let mut all = Vec::new();
    for location in locations {
        for file in table.files_at(state, location).await? {
            let root = location.object_store();
            let meta = &file.object_meta;
            let url = match table.is_pictures() {
                true => location.as_str().to_owned(),
                false => format!("{}{}", root.as_str(), meta.location),
            };
            let entry = FileEntry {
                url: without_secrets(url),
                bytes: meta.size,
                version: version_of(meta),
            };
            all.push(InputFile { id: 0, entry, file });
        }
    }
    for (id, file) in (0..).zip(&mut all) {
        file.id = id;
    }
    if let Some(location) = locations.first()
        && all.is_empty()
    {
        return plan_err!("every file of '{}' is empty", tables::shown(location));
    }
    Ok(all)
}

/// Size and version of a file as it is now; `None` where it is gone.
///
/// # Errors
/// When its store cannot be asked.
pub async fn version(
    state: &SessionState,
    table: &FileTable,
    file: &InputFile,
) -> Result<Option<(u64, String)>> {
    let store = state.runtime_env().object_store(table.store_url()?)?;
    match store.head(&file.file.object_meta.location).await {
        Ok(meta) => Ok(Some((meta.size, version_of(&meta)))),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn version_of(meta: &ObjectMeta) -> String {
    let tag = meta.e_tag.clone();
    tag.unwrap_or_else(|| meta.last_modified.to_rfc3339())
}

/// What became of the files of an earlier listing.
#[derive(Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They are all there, and so many files behind them are new.
    Same {
        /// New files.
        new: usize,
    },
    /// Something else than before would be read; one sentence's part.
    Different(String),
}

/// Compares the files that there are with those that `known` remembers, and numbers them: the known ones as before, new ones
/// behind.
pub fn compare(known: &[FileEntry], files: &mut [InputFile]) -> Comparison {
    let places: std::collections::HashMap<&str, usize> = known
        .iter()
        .enumerate()
        .map(|(place, entry)| (entry.url.as_str(), place))
        .collect();
    let (mut found, mut new) = (vec![false; known.len()], 0);
    for file in files.iter_mut() {
        match places.get(file.entry.url.as_str()) {
            None => {
                file.id = (known.len() + new) as u32;
                new += 1;
            }
            Some(&place) if known[place] == file.entry => {
                found[place] = true;
                file.id = place as u32;
            }
            Some(_) => {
                return Comparison::Different(format!("{} has changed since", file.entry.url));
            }
        }
    }
    match found.iter().position(|found| !found) {
        Some(lost) => Comparison::Different(format!("{} is not in it any more", known[lost].url)),
        None => Comparison::Same { new },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, version: &str) -> InputFile {
        InputFile {
            id: 0,
            entry: FileEntry {
                url: format!("file:///{name}"),
                bytes: 1,
                version: version.to_string(),
            },
            file: PartitionedFile::new(name, 1),
        }
    }

    #[test]
    fn new_files_are_numbered_behind_the_known_ones_wherever_they_sort() {
        let known = [file("b", "1").entry, file("d", "1").entry];
        let mut files = [
            file("a", "1"),
            file("b", "1"),
            file("c", "1"),
            file("d", "1"),
        ];
        assert_eq!(compare(&known, &mut files), Comparison::Same { new: 2 });
        assert_eq!(files.map(|file| file.id), [2, 0, 3, 1]);
    }

    #[test]
    fn a_changed_and_a_missing_file_are_named() {
        let known = [file("a", "1").entry, file("b", "1").entry];
        let said = |files: &mut [InputFile]| match compare(&known, files) {
            Comparison::Different(what) => what,
            same => panic!("{same:?}"),
        };
        assert!(said(&mut [file("a", "2"), file("b", "1")]).contains("/a has changed"));
        assert!(said(&mut [file("a", "1")]).contains("/b is not in it"));
    }
}
