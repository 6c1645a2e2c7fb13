//! The tables that clients can name: what lies in the folders and buckets that the server was started with.
//!
//! Each of these places is a schema, named as the server was told; a table in it is a file of a format that is read, without its end, or
//! a folder that holds such files or pictures, and deeper ones are named by their path below the place, in quotes. A place that is a
//! table itself is also one of the schema of bare names. A name never leads out of its place: no `..`, and no link, neither on the way
//! nor below. How files become a table is `tables`' to know, and who may read which place the server's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result, plan_datafusion_err, plan_err};
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::SessionState;
use datafusion::logical_expr::TableType;
use picsift_images::{Bucket, BucketKeys};
use picsift_udf::LocatedTable;
use url::Url;
use walkdir::WalkDir;

use super::tokens::check_name;
use crate::disk;
use crate::error::{AppError, innermost};
use crate::session::{CATALOG, PUBLIC};
use crate::tables::{self, Kind};

/// How long the names of a place are remembered.
const FRESH: Duration = Duration::from_secs(10);

/// Most names of a place that are listed; more can still be named.
const MOST_NAMES: usize = 10_000;

/// A folder or bucket with the name that clients know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of its schema.
    pub name: String,
    /// The folder's URL, which ends with a slash; a local one's is free of links.
    pub root: Url,
    /// A bucket's own credentials, in the place of this process's.
    pub keys: Option<BucketKeys>,
}

impl Place {
    /// A local folder, as `NAME=PATH`.
    ///
    /// # Errors
    /// [`AppError::Usage`] for another form, and a path that is no folder.
    pub fn folder(text: &str) -> Result<Self, AppError> {
        let (name, path) = named(text, "photos=/data/photos")?;
        let wrong = |reason: &dyn fmt::Display| {
            AppError::Usage(format!("the folder '{path}' cannot be read: {reason}"))
        };
        let real = Path::new(path).canonicalize().map_err(|e| wrong(&e))?;
        if !real.is_dir() {
            return Err(wrong(&"it is a file"));
        }
        match Url::from_directory_path(&real) {
            Ok(root) => Ok(Self {
                name,
                root,
                keys: None,
            }),
            Err(()) => Err(wrong(&"its path is none of this machine")),
        }
    }

    /// A bucket or a folder in one, as `NAME=URL`.
    ///
    /// # Errors
    /// [`AppError::Usage`] for another form, and a URL that is of no bucket.
    pub fn bucket(text: &str) -> Result<Self, AppError> {
        let (name, url) = named(text, "photos=s3://bucket/photos")?;
        let wrong = |reason: &dyn fmt::Display| {
            AppError::Usage(format!(
                "'{}' is no bucket: {reason}",
                picsift_images::shown(url)
            ))
        };
        let mut root = Url::parse(url).map_err(|e| wrong(&e))?;
        if Bucket::of(&root).is_none() {
            return Err(wrong(
                &"write s3://BUCKET/..., gs://BUCKET/..., az://CONTAINER/... or hf://datasets/OWNER/NAME/...",
            ));
        }
        if let Ok(mut parts) = root.path_segments_mut() {
            parts.pop_if_empty().push("");
        }
        Ok(Self {
            name,
            root,
            keys: None,
        })
    }

    /// Gives the bucket of a name its credentials, as `NAME=FILE`.
    ///
    /// # Errors
    /// [`AppError::Usage`] for another form, a name that is no bucket's here, and a file that has no keys for it.
    pub fn give_keys(places: &mut [Self], text: &str) -> Result<(), AppError> {
        let (name, file) = named(text, "photos=photos.env")?;
        let place = places.iter_mut().find(|place| place.name == name);
        let bucket = place.as_ref().and_then(|place| Bucket::of(&place.root));
        let (Some(place), Some(bucket)) = (place, bucket) else {
            return Err(AppError::Usage(format!(
                "'{name}' is no bucket of --allow-bucket, so it has no keys"
            )));
        };
        let wrong = |reason: &dyn fmt::Display| {
            AppError::Usage(format!(
                "the keys of '{name}' in {file} cannot be used: {reason}"
            ))
        };
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
        place.keys = Some(BucketKeys::parse(bucket, &text).map_err(|reason| wrong(&reason))?);
        Ok(())
    }

    /// What it is on this machine's disk, if it is there.
    fn path(&self) -> Option<PathBuf> {
        let local = self.root.scheme() == "file";
        local.then(|| self.root.to_file_path().ok())?
    }
}

fn named<'a>(text: &'a str, example: &str) -> Result<(String, &'a str), AppError> {
    let Some((name, place)) = text.split_once('=') else {
        return Err(AppError::Usage(format!(
            "'{}' needs a name for its tables: write {example}",
            picsift_images::shown(text)
        )));
    };
    check_name(name).map_err(AppError::Usage)?;
    let lower = name.to_ascii_lowercase();
    if [PUBLIC, "information_schema", CATALOG].contains(&lower.as_str()) {
        return Err(AppError::Usage(format!(
            "'{name}' is a name of the server's own; give the place another"
        )));
    }
    Ok((name.to_string(), place))
}

/// The tables of one place.
pub(super) struct PlaceSchema {
    place: Place,
    reader: Arc<SessionState>,
    /// Each table's name with the path below the place that it is short for.
    listed: Mutex<Option<(Instant, BTreeMap<String, String>)>>,
}

impl fmt::Debug for PlaceSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PlaceSchema").field(&self.place).finish()
    }
}

impl PlaceSchema {
    /// Those of `place`, which `reader` opens.
    pub(super) fn new(place: Place, reader: Arc<SessionState>) -> Self {
        Self {
            place,
            reader,
            listed: Mutex::default(),
        }
    }

    /// The name of the schema.
    pub(super) fn name(&self) -> &str {
        &self.place.name
    }

    /// The tables that can be named shortly.
    ///
    /// # Errors
    /// When the place cannot be listed.
    pub(super) async fn list(&self) -> Result<BTreeMap<String, String>> {
        let known = self
            .listed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((when, names)) = known
            && when.elapsed() < FRESH
        {
            return Ok(names);
        }
        let names = self.look().await.map_err(|error| self.told(&error))?;
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        *listed = Some((Instant::now(), names.clone()));
        Ok(names)
    }

    async fn look(&self) -> Result<BTreeMap<String, String>> {
        let root = ListingTableUrl::try_new(self.place.root.clone(), None)?;
        let store = self.reader.runtime_env().object_store(&root)?;
        let found = store.list_with_delimiter(Some(root.prefix())).await?;
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let is_hidden = |name: &str| name.starts_with(['.', '_']);
        for folder in &found.common_prefixes {
            let Some(name) = folder.filename().filter(|name| !is_hidden(name)) else {
                continue;
            };
            // The parts of a table that is split by a column are not tables.
            if name.contains('=') || names.len() >= MOST_NAMES {
                continue;
            }
            if self.is_table(&format!("{name}/")).await {
                names.insert(name.to_string(), format!("{name}/"));
            }
        }
        for file in &found.objects {
            let Some(name) = file.location.filename().filter(|name| !is_hidden(name)) else {
                continue;
            };
            if Kind::of(name).is_none() || names.len() >= MOST_NAMES {
                continue;
            }
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            let short = match names.contains_key(stem) {
                true => name,
                false => stem,
            };
            names.insert(short.to_string(), name.to_string());
        }
        Ok(names)
    }

    async fn is_table(&self, below: &str) -> bool {
        match self.location(below).await {
            Ok(Some(location)) => tables::is_table(&self.reader, &location).await,
            _ => false,
        }
    }

    /// Where a path below the place leads; `None` where nothing is there.
    async fn location(&self, below: &str) -> Result<Option<ListingTableUrl>> {
        let parts = Path::new(below).components();
        let plain = parts
            .clone()
            .all(|part| matches!(part, Component::Normal(_)));
        let odd = |c: char| c.is_control() || matches!(c, '\\' | '*' | '?' | '[' | '{' | '%' | '#');
        if !plain || below.contains("//") || below.contains(odd) {
            return plan_err!(
                "'{}' names no table in '{}': a path below it has no .., no pattern and no escapes",
                picsift_images::escaped(below),
                self.place.name
            );
        }
        let Some(root) = self.place.path() else {
            let root = &self.place.root;
            let mut url = match below {
                "" => root.clone(),
                below => picsift_images::resolve(below, Some(root))
                    .map_err(|error| plan_datafusion_err!("{error}"))?,
            };
            if !url.as_str().starts_with(root.as_str()) {
                return Ok(None);
            }
            // A bucket has no folders to look at: what does not end like a table is one.
            if Kind::of(below).is_none()
                && let Ok(mut parts) = url.path_segments_mut()
            {
                parts.pop_if_empty().push("");
            }
            return ListingTableUrl::try_new(url, None).map(Some);
        };
        let below = below.to_string();
        let found = disk::blocking(move || Ok(contained(&root, &below))).await;
        match found.map_err(|error| plan_datafusion_err!("{error}"))? {
            Ok(Some(path)) => match path.to_str() {
                Some(path) => tables::locate(path).map(Some),
                None => Ok(None),
            },
            Ok(None) => Ok(None),
            Err(reason) => plan_err!("{reason}"),
        }
    }

    /// The table at a path below the place, if there is one.
    async fn open(&self, below: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(location) = self.location(below).await? else {
            return Ok(None);
        };
        tracing::info!(
            target: "picsift::audit",
            place = %self.place.name,
            table = %picsift_images::escaped(below),
            "table opened"
        );
        let table = tables::open(&self.reader, &[location]).await?;
        let locations = table.locations().to_vec();
        Ok(Some(Arc::new(LocatedTable::beside(table, &locations))))
    }

    /// An error as a client may read it: places by their names, not by where they are.
    fn told(&self, error: &DataFusionError) -> DataFusionError {
        match error.find_root() {
            DataFusionError::Plan(_) | DataFusionError::ObjectStore(_) => {}
            _ => {
                tracing::error!(target: "picsift::serve", place = %self.place.name, %error, "a table cannot be read");
                return plan_datafusion_err!(
                    "a table in '{}' cannot be read; the server's log has the reason",
                    self.place.name
                );
            }
        }
        let text = innermost(error);
        let mut roots = vec![self.place.root.as_str().trim_end_matches('/').to_string()];
        if let Some(path) = self.place.path() {
            roots.push(path.display().to_string().trim_end_matches('/').to_string());
        }
        let text = roots
            .iter()
            .fold(text, |text, root| text.replace(root, &self.place.name));
        plan_datafusion_err!("{text}")
    }

    /// The whole place as a table, if it is one.
    pub(super) async fn whole(&self) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.is_table("").await {
            true => self.open("").await.map_err(|error| self.told(&error)),
            false => Ok(None),
        }
    }
}

/// The path of what lies below `root` at `below`, if something does.
///
/// # Errors
/// In one sentence, where a link leads out of the root, on the way or in it. Blocks.
fn contained(root: &Path, below: &str) -> std::result::Result<Option<PathBuf>, String> {
    let out = || {
        format!(
            "'{}' has a link that leads out of its place",
            picsift_images::escaped(below)
        )
    };
    let Ok(real) = root.join(below).canonicalize() else {
        return Ok(None);
    };
    if !real.starts_with(root) {
        return Err(out());
    }
    for entry in WalkDir::new(&real)
        .into_iter()
        .filter_map(|entry| entry.ok())
    {
        if entry.path_is_symlink() {
            let real = entry.path().canonicalize();
            // One that leads nowhere is read by nobody.
            if real.is_ok_and(|real| !real.starts_with(root)) {
                return Err(out());
            }
        }
    }
    Ok(Some(real))
}

/// Waits in a place that cannot; the tasks of this thread move to another one first.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

#[async_trait]
impl SchemaProvider for PlaceSchema {
    fn table_names(&self) -> Vec<String> {
        wait(self.list()).map_or_else(|_| Vec::new(), |names| names.into_keys().collect())
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let names = self.list().await?;
        let below = names.get(name).map_or(name, String::as_str);
        if below.is_empty() {
            return Ok(None);
        }
        self.open(below).await.map_err(|error| self.told(&error))
    }

    async fn table_type(&self, _name: &str) -> Result<Option<TableType>> {
        // Known without opening it.
        Ok(Some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        wait(self.list()).is_ok_and(|names| names.contains_key(name))
    }
}

/// The schema of bare names: the places that are tables themselves.
#[derive(Debug)]
pub(super) struct WholeSchema(pub(super) Vec<Arc<PlaceSchema>>);

#[async_trait]
impl SchemaProvider for WholeSchema {
    fn table_names(&self) -> Vec<String> {
        let is_table = |one: &&Arc<PlaceSchema>| wait(one.is_table(""));
        let tables = self.0.iter().filter(is_table);
        tables.map(|one| one.place.name.clone()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.0.iter().find(|one| one.place.name == name) {
            Some(place) => place.whole().await,
            None => Ok(None),
        }
    }

    async fn table_type(&self, _name: &str) -> Result<Option<TableType>> {
        // Known without opening it.
        Ok(Some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        let place = self.0.iter().find(|one| one.place.name == name);
        place.is_some_and(|place| wait(place.is_table("")))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_out_of_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["place/sub", "place/linked", "outside"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("outside/secret.csv"), "a\n1\n").unwrap();
        let place = root.join("place");
        std::fs::write(place.join("sub/t.csv"), "a\n1\n").unwrap();
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(root.join(to), place.join(at)).unwrap();
        };
        link("outside", "way");
        link("outside/secret.csv", "linked/t.csv");
        link("place/sub", "inner");
        assert_eq!(contained(&place, "sub"), Ok(Some(place.join("sub"))));
        assert_eq!(contained(&place, "inner"), Ok(Some(place.join("sub"))));
        assert_eq!(contained(&place, "none"), Ok(None));
        for out in ["way", "way/secret.csv", "linked", "linked/t.csv", ""] {
            assert!(contained(&place, out).is_err(), "{out}");
        }
    }
}
