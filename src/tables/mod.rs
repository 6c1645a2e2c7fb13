//! Tables from paths and URLs: files, folders (hive-partitioned too) and globs of Parquet, CSV or JSON.
//!
//! Owns how a text becomes a table, and what a person is told when it does not. `names` knows which files are data, `listing`
//! finds them, `pictures` and `imagefolder` make a table of a folder of pictures, `infer` reads their columns, `text` reads what is no text, `merge` and `widen` make one schema of them, and `provider` is the table.
//! No rows are read.

pub(crate) mod bounded;
mod expressions;
mod external;

mod imagefolder;
mod infer;
mod listed;
mod listing;
mod locate;
mod merge;
mod named;
mod names;
mod numbers;
mod pictures;
mod provider;
mod statistics;
mod stream_types;
mod streams;
mod text;
mod views;
mod widen;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, UrlTableFactory};
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::execution::SessionState;
use datafusion::execution::context::SessionContext;
use futures::StreamExt;
use futures::future::{self, BoxFuture};
use object_store::ObjectStore;
use picsift_udf::{LocatedTable, table_base};
use url::Url;

pub use bounded::{BoundedParquet, check_bytes, check_file, check_pages};
pub use expressions::{name_of, plain};
pub use external::ExternalTables;
pub use listed::{MANIFEST, PUBLISHING, listed_files};
pub use locate::{locate, shown, without_secrets};
pub use named::{NamedFiles, without_names};
pub use names::Kind;
pub use pictures::{FILE as PICTURE, IMAGE, MADE, Since};
pub use provider::FileTable;
pub use text::{
    Converted, MarkedStores, Texts, bytes_reader, bytes_schema, file_reader, from_bytes,
    from_marked,
};
pub use views::{PlainCopies, plain_rows, without as plain_columns};

use listing::{Found, Listing, Names, common_keys, shown_file};
use merge::Merge;
use names::LeftOut;
use pictures::Pictures;
use provider::value_of;
use widen::Values;

/// Files of a folder that [`is_table`] looks at.
const LOOKED_AT: usize = 10_000;

/// The folder's value for rows whose partition column is NULL, as Hive names it.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Opens the tables at `locations`, all in one store and of one format, as one table: the columns of the first, in its order.
///
/// # Errors
/// A planning error in a sentence: nothing there, no table in the folder, or a file that is not what its name says or does not
/// fit the others.
pub async fn open(state: &SessionState, locations: &[ListingTableUrl]) -> Result<Arc<FileTable>> {
    let Some(first) = locations.first() else {
        return plan_err!("no table is named");
    };
    let listing = Listing::of(state, first, None).await?;
    if listing.is_pictures() {
        return pictures_of(state, locations, listing).await;
    }
    let kind = kind_of(first, &listing)?;
    let names = Names::Of(kind);
    let (files, left_out) = listing.split(&names);
    let mut note = note(first, kind, &left_out);
    let mut places = vec![(first, files)];
    for location in &locations[1..] {
        let listing = Listing::of(state, location, None).await?;
        let theirs = kind_of(location, &listing)?;
        if theirs != kind || location.object_store() != first.object_store() {
            return plan_err!(
                "'{}' and '{}' are no one table: both must be of one format and in one store",
                shown(first),
                shown(location)
            );
        }
        let (files, left_out) = listing.split(&names);
        note = note.or_else(|| self::note(location, kind, &left_out));
        places.push((location, files));
    }
    let count = places.iter().map(|(_, files)| files.len()).sum();
    let format = infer::format_of(kind, count);
    let some = places
        .iter()
        .flat_map(|(_, files)| files)
        .find(|file| file.meta.size > 0);
    let format = infer::fitting(state, first, format, some).await?;
    let schema = schema_of(state, kind, &format, &places).await?;
    let files: Vec<Found> = places.into_iter().flat_map(|(_, files)| files).collect();
    let keys = typed_keys(first, &schema, &files)?;
    let schema = read_as(state, kind, schema);
    let mut table = FileTable::new(locations.to_vec(), names, kind, format, &schema, keys);
    table.note = note;
    Ok(Arc::new(table))
}

/// Whether the folder at `location` looks like a table, or like pictures that are one: whether there is a file of one among the first
/// files in it.
pub async fn is_table(state: &SessionState, location: &ListingTableUrl) -> bool {
    let Ok(store) = state.runtime_env().object_store(location) else {
        return false;
    };
    let files = store.list(Some(location.prefix())).take(LOOKED_AT);
    let tables = files.filter(|file| {
        let Ok(file) = file else {
            return future::ready(false);
        };
        let below: Option<Vec<&str>> = location.strip_prefix(&file.location).map(Iterator::collect);
        future::ready(below.is_some_and(|below| {
            let is_file =
                |name: &&str| Kind::of(name).is_some() || pictures::end_of(name).is_some();
            below.last().is_some_and(is_file) && names::is_data(below.iter().copied(), None)
        }))
    });
    let mut tables = std::pin::pin!(tables);
    tables.next().await.is_some()
}

/// The pictures at `locations`, of which `first` is at the first, as one table.
async fn pictures_of(
    state: &SessionState,
    locations: &[ListingTableUrl],
    first: Listing,
) -> Result<Arc<FileTable>> {
    let first = first.pictures();
    let note = first.note(&locations[0]);
    let mut merge = Merge::new(Values::Typed);
    let mut add = |location: &ListingTableUrl, pictures: &Pictures| -> Result<()> {
        let schema = pictures.schema(location)?;
        let added = merge.add(&schema, || shown(location));
        added.map_err(|error| plan_datafusion_err!("{error}"))
    };
    add(&locations[0], &first)?;
    for location in &locations[1..] {
        let listing = Listing::of(state, location, None).await?;
        if !listing.is_pictures() {
            return plan_err!(
                "'{}' and '{}' are no one table: one is pictures, the other a table",
                shown(&locations[0]),
                shown(location)
            );
        }
        add(location, &listing.pictures())?;
    }
    let schema = read_as(state, Kind::Parquet, merge.finish());
    let mut table = FileTable::of_pictures(locations.to_vec(), &schema);
    table.note = note;
    Ok(Arc::new(table))
}

/// The format of the table at a location.
fn kind_of(location: &ListingTableUrl, listing: &Listing) -> Result<Kind> {
    match listing.kind() {
        Some(kind) => Ok(kind),
        // DataFusion leaves such folders out of what it compares with a pattern.
        None if listing.seen == 0 && location.get_glob().is_some() => plan_err!(
            "nothing matches '{}'; a glob does not see folders such as name=value, so name the folder above them",
            shown(location)
        ),
        None if listing.seen == 0 => plan_err!("there is nothing at '{}'", shown(location)),
        None if listing.is_file && names::is_packed(location.prefix().filename()) => plan_err!(
            "'{}' is packed, and picsift reads what is in it only once it is unpacked: name the folder or file that comes out of it",
            shown(location)
        ),
        None if listing.is_file => plan_err!(
            "'{}' is not a table: picsift reads .parquet, .csv, .tsv, .json and .arrow files, pictures, and folders of them",
            shown(location)
        ),
        None => {
            let hidden = match listing.hidden() {
                0 => String::new(),
                hidden => format!(
                    " ({hidden} files whose names or folders begin with _ or . are not read)"
                ),
            };
            if let Some(others) = listing.undecoded() {
                return plan_err!(
                    "all pictures in the folder '{}' are in formats that picsift does not decode: {others}; save them as JPEG or \
                     PNG",
                    shown(location)
                );
            }
            plan_err!(
                "the folder '{}' holds no .parquet, .csv, .tsv, .json or .arrow file, and no picture{hidden}",
                shown(location)
            )
        }
    }
}

fn note(location: &ListingTableUrl, kind: Kind, left_out: &LeftOut) -> Option<String> {
    let place = shown(location);
    let others = left_out
        .said()
        .map(|files| format!("is read as {}; {files} in it are left out", kind.name()));
    let unlisted = match left_out.unlisted() {
        0 => None,
        1 => Some(format!(
            "has a file that its {MANIFEST} does not list; it is left out"
        )),
        many => Some(format!(
            "has {many} files that its {MANIFEST} does not list; they are left out"
        )),
    };
    let pictures = left_out.pictures().map(|(count, end)| {
        let pictures = if count == 1 { "picture" } else { "pictures" };
        format!(
            "is read as {}, to which the {count} {pictures} beside it may belong; '{}/*{end}' names the pictures alone",
            kind.name(),
            place.trim_end_matches('/')
        )
    });
    let notes: Vec<String> = [unlisted, others, pictures].into_iter().flatten().collect();
    (!notes.is_empty()).then(|| format!("note: '{place}' {}", notes.join(", and ")))
}

/// One schema for all places. Files side by side are as files of a folder, in which one may lack a column; tables that were named
/// each by itself must have the same columns.
async fn schema_of(
    state: &SessionState,
    kind: Kind,
    format: &Arc<dyn FileFormat>,
    places: &[(&ListingTableUrl, Vec<Found>)],
) -> Result<SchemaRef> {
    let Some((first, _)) = places.first() else {
        return plan_err!("no table is named");
    };
    let beside = |location: &ListingTableUrl| {
        !location.is_collection() && table_base(location) == table_base(first)
    };
    if places.len() == 1 || places.iter().all(|(location, _)| beside(location)) {
        let files: Vec<Found> = places
            .iter()
            .flat_map(|(_, files)| files)
            .cloned()
            .collect();
        return columns_of(state, first, kind, format, &files).await;
    }
    let mut schemas = Vec::new();
    for (location, files) in places {
        let schema = columns_of(state, location, kind, format, files).await?;
        schemas.push((shown(location), schema));
    }
    unite(&schemas)
}

/// The columns as a scan gives them.
fn read_as(state: &dyn Session, kind: Kind, schema: SchemaRef) -> SchemaRef {
    match kind == Kind::Parquet && views::wanted(state) {
        true => views::with_views(&schema),
        false => schema,
    }
}

async fn columns_of(
    state: &dyn Session,
    location: &ListingTableUrl,
    kind: Kind,
    format: &Arc<dyn FileFormat>,
    files: &[Found],
) -> Result<SchemaRef> {
    if files.is_empty() {
        return plan_err!(
            "there is no {} file at '{}'; add one, or declare the table's columns",
            kind.name(),
            shown(location)
        );
    }
    if files.iter().all(|file| file.meta.size == 0) && (files.len() != 1 || kind != Kind::Parquet) {
        return plan_err!("every file of '{}' is empty", shown(location));
    }
    infer::schema_of(state, location, kind, format, files).await
}

/// One schema for tables that have the same columns in whatever order: that of the first, with types that hold the values of all.
///
/// # Errors
/// A sentence with two tables that have different columns, or a column of types that have nothing in common.
pub fn unite(tables: &[(String, SchemaRef)]) -> Result<SchemaRef> {
    let names = |schema: &Schema| -> BTreeSet<String> {
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    };
    let mut merge = Merge::new(Values::Typed);
    for (table, schema) in tables {
        merge
            .add(schema, || table.clone())
            .map_err(|error| plan_datafusion_err!("{error}"))?;
        let (first, ours) = &tables[0];
        let (ours, theirs) = (names(ours), names(schema));
        if let Some(other) = ours.symmetric_difference(&theirs).next() {
            let (has, lacks) = match ours.contains(other) {
                true => (first, table),
                false => (table, first),
            };
            return plan_err!(
                "'{first}' and '{table}' have different columns ('{other}' is in '{has}' and not in '{lacks}'); label them \
                 one after the other"
            );
        }
    }
    Ok(merge.finish())
}

/// The keys of the folders with their types: that of the column of the same name which the files have too, if all folders say values
/// of it, else text.
fn typed_keys(
    location: &ListingTableUrl,
    schema: &Schema,
    files: &[Found],
) -> Result<Vec<(String, DataType)>> {
    let keys = common_keys(location, files)?;
    let typed = keys.into_iter().enumerate().map(|(place, key)| {
        let data_type = match schema.column_with_name(&key) {
            Some((_, field)) if fits_folders(field.data_type(), place, files) => {
                field.data_type().clone()
            }
            _ => DataType::Utf8,
        };
        (key, data_type)
    });
    Ok(typed.collect())
}

fn fits_folders(data_type: &DataType, place: usize, files: &[Found]) -> bool {
    let is_plain = data_type.is_primitive() || *data_type == DataType::Boolean;
    let mut values = files.iter().map(|file| &file.keys[place].1);
    is_plain && values.all(|value| value_of(value, data_type).is_some())
}

/// The schema as the first Parquet or Arrow file at `location` stores it, with the metadata that DataFusion leaves out because files
/// of one table may differ in it; `None` for other formats.
///
/// # Errors
/// As [`open`].
pub async fn stored_schema(
    state: &SessionState,
    location: &ListingTableUrl,
) -> Result<Option<SchemaRef>> {
    let listing = Listing::of(state, location, None).await?;
    if listing.is_pictures() {
        return Ok(None);
    }
    let kind = kind_of(location, &listing)?;
    if ![Kind::Parquet, Kind::Arrow].contains(&kind) {
        return Ok(None);
    }
    let store = state.runtime_env().object_store(location)?;
    let (files, _) = listing.split(&Names::Of(kind));
    let Some(first) = files.into_iter().next() else {
        return Ok(None);
    };
    let format: Arc<dyn FileFormat> = match kind {
        Kind::Parquet => {
            bounded::footer::check(state, store.as_ref(), &first.meta).await?;
            let format = ParquetFormat::default().with_force_view_types(false);
            Arc::new(format.with_skip_metadata(false))
        }
        _ => {
            streams::check(store.as_ref(), &first.meta).await?;
            infer::format_of(kind, 1)
        }
    };
    let place = shown_file(location, &first.meta.location);
    let schema = format.infer_schema(state, &store, &[first.meta]).await;
    schema.map(Some).map_err(|error| {
        let error = crate::error::innermost(&error);
        plan_datafusion_err!("cannot read '{place}' as {}: {error}", kind.name())
    })
}

/// `schema` with the metadata of `stored`: the schema's, and that of fields of the same name.
pub fn with_metadata_of(schema: &SchemaRef, stored: Option<&Schema>) -> SchemaRef {
    let Some(stored) = stored else {
        return Arc::clone(schema);
    };
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| match stored.column_with_name(field.name()) {
            Some((_, theirs)) => Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_metadata(theirs.metadata().clone()),
            ),
            None => Arc::clone(field),
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, stored.metadata().clone()))
}

/// Lets `FROM 'path or URL'` name a table that nobody registered.
pub struct PathTables {
    state: OnceLock<Box<dyn Fn() -> Option<SessionState> + Send + Sync>>,
    notes: Notes,
}

/// How a session finds the folder that relative references of a table belong to, where it is not the table's own.
pub struct Bases(pub Box<FindBase>);

/// The folder of the table at a location, which lies in this store.
pub type FindBase =
    dyn Fn(Arc<dyn ObjectStore>, ListingTableUrl) -> BoxFuture<'static, Option<Url>> + Send + Sync;

/// What a person should know of the tables that a session opened, each once.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<(BTreeSet<String>, Vec<String>)>>);

impl Notes {
    fn add(&self, note: &str) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, waiting) = &mut *notes;
        if said.insert(note.to_string()) {
            waiting.push(note.to_string());
        }
    }

    /// Those that nobody took yet.
    pub fn take(&self) -> Vec<String> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut notes.1)
    }
}

impl PathTables {
    /// A factory that leaves in `notes` what is to be said of the tables that it opens.
    pub fn new(notes: Notes) -> Self {
        Self {
            state: OnceLock::new(),
            notes,
        }
    }

    /// Tells the factory its session, which could not exist before it.
    pub fn attach(&self, context: &SessionContext) {
        let state = context.state_weak_ref();
        let current = move || state.upgrade().map(|state| state.read().clone());
        // A second call would mean a second session; the first keeps the factory.
        let _ = self.state.set(Box::new(current));
    }
}

impl fmt::Debug for PathTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathTables").finish_non_exhaustive()
    }
}

#[async_trait]
impl UrlTableFactory for PathTables {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let like_a_path = name.contains('/') || Kind::of(name).is_some() || locate::has_glob(name);
        if !like_a_path && !Path::new(name).exists() {
            return Ok(None);
        }
        let Some(state) = self.state.get().and_then(|current| current()) else {
            return plan_err!("the session that '{name}' was named in is closed");
        };
        let location = locate(name)?;
        let table = open(&state, std::slice::from_ref(&location)).await?;
        if let Some(note) = table.note() {
            self.notes.add(note);
        }
        if let Some(bases) = state.config().get_extension::<Bases>() {
            let store = state.runtime_env().object_store(&location)?;
            let base = (bases.0)(store, location).await;
            return Ok(Some(Arc::new(LocatedTable::new(table, base.as_ref()))));
        }
        Ok(Some(Arc::new(LocatedTable::beside(table, &[location]))))
    }
}
