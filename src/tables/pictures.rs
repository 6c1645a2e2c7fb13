//! A folder of pictures as a table: a row for each, with what its place says.
//!
//! The table is `file` and `image`, both the picture's path below the folder, a column for each folder `key=value`, and those that a file of
//! metadata has (`imagefolder`). It is written as
//! Parquet into a store in memory ([`MADE`]) under the digest of what is in it, so that all that reads tables reads it, and a folder in which
//! nothing came, went or moved is the same table. No picture is opened here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::{Result, plan_err};
use datafusion::datasource::listing::{ListingTableUrl, PartitionedFile};
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use sha2::{Digest, Sha256};

use super::NULL_PARTITION;
use super::imagefolder::Metadata;
use super::locate::shown;
use super::names::ends_with;

/// The store of tables that are made when they are named; every session has one of its own, in memory.
pub const MADE: &str = "made://pictures/";

/// Column of the picture's path below the folder; UTF8, never NULL.
pub const FILE: &str = "file";

/// Column of the picture, as a reference relative to the folder; UTF8, never NULL.
pub const IMAGE: &str = "image";

/// Ends of names of pictures in the formats that are read.
const ENDS: [&str; 12] = [
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
    ".jxl",
];

/// Those of pictures in other formats, of which a person is told that they are left out.
const OTHERS: [&str; 8] = [
    ".heic", ".heif", ".avif", ".svg", ".psd", ".dng", ".cr2", ".nef",
];

/// Tables that a session keeps in memory; of more, the oldest goes. A folder that changes between statements makes another.
const KEPT: usize = 64;

/// Rows of a group: a label job of a million pictures asks for a place among them.
const GROUP: usize = 1 << 16;

/// The end by which a name says that it is a picture's in a format that is read.
pub(super) fn end_of(name: &str) -> Option<&'static str> {
    ENDS.into_iter().find(|end| ends_with(name, end))
}

/// A picture below a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    /// Its path below the location.
    pub(super) path: String,
    /// Keys and values of its folders.
    pub(super) keys: Vec<(String, String)>,
}

impl Picture {
    /// The value of a folder's key; `None` where it lies in no such folder, or in that of NULL.
    fn value(&self, key: &str) -> Option<&str> {
        let (_, value) = self.keys.iter().find(|(own, _)| own == key)?;
        (value != NULL_PARTITION).then_some(value.as_str())
    }
}

/// Pictures of a folder, and how many of other formats it has.
#[derive(Debug, Clone, Default)]
pub(super) struct Pictures {
    pub(super) all: Vec<Picture>,
    /// What files beside them say of them.
    pub(super) metadata: Option<Metadata>,
    others: BTreeMap<&'static str, usize>,
}

impl Pictures {
    /// Takes note of a file, if its name says that it is a picture.
    pub(super) fn add(
        &mut self,
        name: &str,
        below: &[&str],
        keys: impl FnOnce() -> Vec<(String, String)>,
    ) {
        if end_of(name).is_some() {
            self.all.push(Picture {
                path: below.join("/"),
                keys: keys(),
            });
        } else if let Some(end) = OTHERS.iter().find(|end| ends_with(name, end)) {
            *self.others.entry(end).or_default() += 1;
        }
    }

    /// One sentence on what of the folder is read, where that is not all that a person may expect.
    pub(super) fn note(&self, location: &ListingTableUrl) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(others) = self.others() {
            parts.push(format!(
                "left out are files that picsift does not decode: {others}"
            ));
        }
        if let Some(metadata) = &self.metadata {
            let known = self.all.iter().filter(|one| metadata.names(&one.path));
            let known = known.count();
            match self.all.len() - known {
                0 => {}
                unknown => parts.push(format!("its metadata has no row for {unknown} of them")),
            }
            match metadata.len() - known {
                0 => {}
                gone => parts.push(format!("{gone} rows of its metadata name no picture there")),
            }
        }
        let count = self.all.len();
        let pictures = if count == 1 { "picture" } else { "pictures" };
        (!parts.is_empty()).then(|| {
            format!(
                "note: '{}' is read as a table of its {count} {pictures}; {}",
                shown(location),
                parts.join("; ")
            )
        })
    }

    /// How many files there are of pictures in formats that are not read, in words; `None` where there is none.
    pub(super) fn others(&self) -> Option<String> {
        let others = self.others.iter();
        let others: Vec<String> = others
            .map(|(end, count)| format!("{count} {end}"))
            .collect();
        (!others.is_empty()).then(|| others.join(" and "))
    }

    /// Keys of folders, in the order of their names.
    fn keys(&self) -> BTreeSet<&str> {
        let keys = self.all.iter().flat_map(|picture| &picture.keys);
        keys.map(|(key, _)| key.as_str()).collect()
    }

    /// The table's columns.
    ///
    /// # Errors
    /// A sentence with a folder's key that is the name of another column.
    pub(super) fn schema(&self, location: &ListingTableUrl) -> Result<SchemaRef> {
        let mut fields = vec![
            Field::new(FILE, DataType::Utf8, false),
            Field::new(IMAGE, DataType::Utf8, false),
        ];
        for key in self.keys() {
            if [FILE, IMAGE].contains(&key) {
                return plan_err!(
                    "'{}' has folders {key}=..., but '{key}' is a column of every folder of pictures; rename the folders",
                    shown(location)
                );
            }
            fields.push(Field::new(key, DataType::Utf8, true));
        }
        for field in self.metadata.iter().flat_map(Metadata::fields) {
            if fields.iter().any(|own| own.name() == field.name()) {
                return plan_err!(
                    "the metadata of the pictures in '{}' has a column '{}', as the folder itself has; rename it",
                    shown(location),
                    field.name()
                );
            }
            fields.push(field.as_ref().clone());
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The table as Parquet, by path.
    fn parquet(&self, location: &ListingTableUrl) -> Result<Vec<u8>> {
        let mut rows: Vec<&Picture> = self.all.iter().collect();
        rows.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: StringArray = rows.iter().map(|row| Some(row.path.as_str())).collect();
        let paths: ArrayRef = Arc::new(paths);
        let mut columns = vec![Arc::clone(&paths), paths];
        for key in self.keys() {
            let values: StringArray = rows.iter().map(|row| row.value(key)).collect();
            columns.push(Arc::new(values));
        }
        if let Some(metadata) = &self.metadata {
            columns.extend(metadata.columns(rows.iter().map(|row| row.path.as_str()))?);
        }
        let schema = self.schema(location)?;
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, schema, None)?;
        for start in (0..batch.num_rows()).step_by(GROUP) {
            writer.write(&batch.slice(start, GROUP.min(batch.num_rows() - start)))?;
            writer.flush()?;
        }
        writer.close()?;
        Ok(bytes)
    }

    /// The table in the session's memory.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub(super) async fn file(
        &self,
        state: &dyn Session,
        location: &ListingTableUrl,
    ) -> Result<PartitionedFile> {
        let bytes = self.parquet(location)?;
        let digest = picsift_images::hex(&Sha256::digest(&bytes));
        let path = Path::from(format!("{digest}.parquet"));
        let store = state.runtime_env().object_store(store_url()?)?;
        if store.head(&path).await.is_err() {
            store.put(&path, PutPayload::from(bytes)).await?;
            let mut kept: Vec<_> = store.list(None).try_collect().await?;
            kept.sort_by_key(|meta| meta.last_modified);
            for old in &kept[..kept.len().saturating_sub(KEPT)] {
                store.delete(&old.location).await?;
            }
        }
        let mut meta = store.head(&path).await?;
        // A version that another process gives the same folder too.
        meta.e_tag = Some(digest);
        Ok(PartitionedFile::from(meta))
    }
}

/// Pictures of a folder beside some that are known.
#[derive(Debug)]
pub struct Since {
    /// One of the known ones that is not there any more.
    pub gone: Option<String>,
    /// How many others there are.
    pub new: usize,
    /// Those as a file of the table.
    pub file: PartitionedFile,
    /// A file of the table without a row.
    pub none: PartitionedFile,
}

impl Pictures {
    /// Which pictures there are beside the known ones, by their paths.
    ///
    /// # Errors
    /// As [`Self::schema`].
    pub(super) async fn since(
        mut self,
        state: &dyn Session,
        location: &ListingTableUrl,
        known: &HashSet<String>,
    ) -> Result<Since> {
        let there: HashSet<&str> = self.all.iter().map(|one| one.path.as_str()).collect();
        let mut gone: Vec<&String> = known
            .iter()
            .filter(|one| !there.contains(one.as_str()))
            .collect();
        gone.sort_unstable();
        let gone = gone.first().map(|gone| (*gone).clone());
        self.all.retain(|picture| !known.contains(&picture.path));
        let (new, file) = (self.all.len(), self.file(state, location).await?);
        self.all.clear();
        let none = self.file(state, location).await?;
        Ok(Since {
            gone,
            new,
            file,
            none,
        })
    }
}

/// Where the tables are.
///
/// # Errors
/// None: the URL is constant.
pub(super) fn store_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(MADE)
}
