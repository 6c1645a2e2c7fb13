//! The files below a location: which of them are the table's, and what their folders say.
//!
//! One pass over a store's listing. DataFusion's own listing knows one end of names per table and reads hidden files; here a
//! table has all ends of its format, and what is left out is counted, so that it can be said. Of contents only a labelled
//! folder's manifest is looked at ([`super::listed`]).

use std::collections::{HashMap, HashSet};

use datafusion::catalog::Session;
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::datasource::listing::ListingTableUrl;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use percent_encoding::percent_decode_str;

use super::imagefolder::{Metadata, is_metadata};
use super::listed::{MANIFEST, PUBLISHING, keep_listed};
use super::locate::{shown, without_secrets};
use super::names::{Kind, LeftOut, ends_with, is_data, partitions};
use super::pictures::{Pictures, end_of};
use super::streams::is_beside;
use crate::error::innermost;

/// Which files of a folder are the table's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Names {
    /// Those whose name says this format.
    Of(Kind),
    /// Those whose name ends so, in any case of letters.
    Ending(String),
}

impl Names {
    fn fit(&self, name: &str) -> bool {
        match self {
            Self::Of(kind) => Kind::of(name) == Some(*kind),
            Self::Ending(end) => ends_with(name, end),
        }
    }
}

/// Which folders have tables and which pictures, to see which have both.
#[derive(Default)]
struct Beside {
    tables: HashSet<String>,
    pictures: HashMap<String, (usize, &'static str)>,
}

impl Beside {
    /// Pictures in the folders that have both, and the end of a name of one.
    fn both(&self) -> Option<(usize, &'static str)> {
        let folders = self.tables.iter();
        let mut pictures = folders.filter_map(|folder| self.pictures.get(folder));
        let (first, end) = pictures.next()?;
        Some((first + pictures.map(|(more, _)| more).sum::<usize>(), end))
    }
}

fn folder_of(path: &Path) -> String {
    let path = path.as_ref();
    path.rsplit_once('/')
        .map_or("", |(folder, _)| folder)
        .to_string()
}

/// A file of a table.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The file.
    pub meta: ObjectMeta,
    /// Keys and values of its partition folders, decoded.
    pub keys: Vec<(String, String)>,
}

/// What lies at a location.
#[derive(Debug)]
pub(super) struct Listing {
    /// The location is one file, whatever its name.
    pub is_file: bool,
    /// Files in any format of tables, in the order of their paths.
    found: Vec<Found>,
    /// What is in no format of tables, or hidden.
    left_out: LeftOut,
    /// Pictures, as long as no table was found: beside one they are what it refers to, unless it only tells of them.
    pictures: Pictures,
    /// Whether a table was found that is not named as one that tells of pictures.
    has_table: bool,
    /// All files that were seen.
    pub seen: usize,
    /// Whether it is a labelled table that is changing just now.
    is_publishing: bool,
}

impl Listing {
    /// Looks at a location.
    ///
    /// # Errors
    /// The store's, naming the location.
    pub(super) async fn of(
        state: &dyn Session,
        location: &ListingTableUrl,
        names: Option<&Names>,
    ) -> Result<Self> {
        let store = state.runtime_env().object_store(location)?;
        let unreadable = |error: object_store::Error| {
            let error = innermost(&error.into());
            plan_datafusion_err!("cannot read '{}': {error}", shown(location))
        };
        if !location.is_collection() {
            match store.head(location.prefix()).await {
                Ok(meta) => return Ok(Self::of_file(meta)),
                // A bucket has no folders: what is no object may be what others begin with.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        let (mut listing, manifest) = Self::of_folder(store.as_ref(), location, names)
            .await
            .map_err(unreadable)?;
        if let Some(manifest) = manifest {
            let left_out =
                keep_listed(store.as_ref(), location, &manifest, &mut listing.found).await?;
            listing.left_out.add_unlisted(left_out);
        } else if listing.is_publishing {
            return plan_err!(
                "'{}' is not whole: picsift is putting files into it, or was stopped while it did; wait, or run the same label \
                 command again, which finishes it",
                shown(location)
            );
        }
        if names.is_none_or(|names| *names == Names::Of(Kind::Parquet)) {
            listing.take_metadata(store.as_ref(), location).await?;
        }
        Ok(listing)
    }

    /// Makes files that only tell of the pictures a part of these.
    async fn take_metadata(
        &mut self,
        store: &dyn ObjectStore,
        location: &ListingTableUrl,
    ) -> Result<()> {
        if self.has_table || self.found.is_empty() || self.pictures.all.is_empty() {
            return Ok(());
        }
        if let Some(metadata) = Metadata::of(store, location, &self.found).await? {
            self.pictures.metadata = Some(metadata);
            self.found.clear();
        }
        Ok(())
    }

    fn of_file(meta: ObjectMeta) -> Self {
        let keys = Vec::new();
        let mut pictures = Pictures::default();
        if let Some(name) = meta.location.filename() {
            pictures.add(name, &[name], Vec::new);
        }
        Self {
            is_file: true,
            found: vec![Found { meta, keys }],
            left_out: LeftOut::default(),
            pictures,
            has_table: false,
            seen: 1,
            is_publishing: false,
        }
    }

    /// What lies in a folder, and where its manifest is, if it has one and is meant as a whole.
    async fn of_folder(
        store: &dyn ObjectStore,
        location: &ListingTableUrl,
        names: Option<&Names>,
    ) -> object_store::Result<(Self, Option<Path>)> {
        let mut manifest = None;
        let mut listing = Self {
            is_file: false,
            found: Vec::new(),
            left_out: LeftOut::default(),
            pictures: Pictures::default(),
            has_table: false,
            seen: 0,
            is_publishing: false,
        };
        let mut beside = Beside::default();
        let mut objects = store.list(Some(location.prefix()));
        while let Some(meta) = objects.try_next().await? {
            if !location.contains(&meta.location, false) {
                continue;
            }
            let Some(below) = location.strip_prefix(&meta.location) else {
                continue;
            };
            let below: Vec<&str> = below.collect();
            // Some programs make an empty object for the folder itself.
            let Some(name) = below.last() else {
                continue;
            };
            listing.seen += 1;
            if below == [MANIFEST] && location.get_glob().is_none() {
                manifest = Some(meta.location.clone());
            }
            listing.is_publishing |= below == [PUBLISHING] && location.get_glob().is_none();
            let keys = || -> Vec<(String, String)> {
                partitions(below.iter().copied())
                    .map(|(key, value)| (key.to_string(), decoded(value)))
                    .collect()
            };
            if !is_data(below.iter().copied(), location.get_glob().as_ref()) {
                listing.left_out.add_hidden();
            } else if Kind::of(name).is_some() || names.is_some_and(|names| names.fit(name)) {
                if !is_metadata(name) {
                    beside.tables.insert(folder_of(&meta.location));
                    listing.has_table = true;
                    listing.pictures = Pictures::default();
                }
                listing.found.push(Found { keys: keys(), meta });
            } else {
                listing.left_out.add(name);
                if let Some(end) = end_of(name) {
                    let folder = beside.pictures.entry(folder_of(&meta.location));
                    folder.or_insert((0, end)).0 += 1;
                }
                if !listing.has_table {
                    listing.pictures.add(name, &below, keys);
                }
            }
        }
        if let Some((pictures, end)) = beside.both() {
            listing.left_out.add_pictures(pictures, end);
        }
        listing
            .found
            .sort_by(|a, b| a.meta.location.cmp(&b.meta.location));
        listing.drop_folders();
        Ok((listing, manifest))
    }

    /// Some programs make an empty object for every folder, and Spark calls folders `x.parquet`.
    fn drop_folders(&mut self) {
        let empty = self.found.iter().filter(|found| found.meta.size == 0);
        let folders: HashSet<Path> = empty
            .map(|found| found.meta.location.clone())
            .filter(|folder| {
                self.found
                    .iter()
                    .any(|found| is_inside(&found.meta.location, folder))
            })
            .collect();
        if !folders.is_empty() {
            self.found
                .retain(|found| !folders.contains(&found.meta.location));
        }
    }

    /// The format of its table: the first of those that its files have.
    pub(super) fn kind(&self) -> Option<Kind> {
        let names = self
            .found
            .iter()
            .filter_map(|found| found.meta.location.filename());
        names.filter_map(Kind::of).min()
    }

    /// Whether it is pictures, and no table that refers to them.
    pub(super) fn is_pictures(&self) -> bool {
        self.kind().is_none() && !self.pictures.all.is_empty()
    }

    /// The pictures.
    pub(super) fn pictures(self) -> Pictures {
        self.pictures
    }

    /// Pictures in formats that are not read, in words; `None` where there is none.
    pub(super) fn undecoded(&self) -> Option<String> {
        self.pictures.others()
    }

    /// Hidden files.
    pub(super) fn hidden(&self) -> usize {
        self.left_out.hidden()
    }

    /// Its files of a table, and the others.
    pub(super) fn split(self, names: &Names) -> (Vec<Found>, LeftOut) {
        let mut left_out = self.left_out;
        let is_arrow = *names == Names::Of(Kind::Arrow);
        let (ours, others): (Vec<_>, Vec<_>) = self.found.into_iter().partition(|found| {
            let name = found.meta.location.filename();
            let fits = |name| names.fit(name) && !(is_arrow && is_beside(name));
            self.is_file || name.is_some_and(fits)
        });
        for name in others
            .iter()
            .filter_map(|other| other.meta.location.filename())
            .filter(|name| !(is_arrow && is_beside(name)))
        {
            left_out.add(name);
        }
        (ours, left_out)
    }
}

fn is_inside(path: &Path, folder: &Path) -> bool {
    path.prefix_match(folder)
        .is_some_and(|mut rest| rest.next().is_some())
}

/// A folder's value; what is no encoded text stays as it is.
fn decoded(value: &str) -> String {
    match percent_decode_str(value).decode_utf8() {
        Ok(text) => text.into_owned(),
        Err(_) => value.to_string(),
    }
}

/// The file at `path`, of the store of `location`, as a person would write it.
pub(super) fn shown_file(location: &ListingTableUrl, path: &Path) -> String {
    if location.scheme() == "file"
        && let Ok(path) = LocalFileSystem::new().path_to_filesystem(path)
    {
        return path.display().to_string();
    }
    without_secrets(format!("{}{path}", location.object_store().as_str()))
}

/// The keys that the folders of all files have.
///
/// # Errors
/// A sentence with two files whose folders have different ones.
pub(super) fn common_keys(location: &ListingTableUrl, files: &[Found]) -> Result<Vec<String>> {
    let Some(first) = files.first() else {
        return Ok(Vec::new());
    };
    let keys =
        |file: &Found| -> Vec<String> { file.keys.iter().map(|(key, _)| key.clone()).collect() };
    let all = keys(first);
    if let Some(other) = files.iter().find(|file| !same_keys(&all, file)) {
        let listed = |keys: Vec<String>| match keys.is_empty() {
            true => "no folder key=value".to_string(),
            false => format!("folders {}", keys.join("=.../") + "=..."),
        };
        return plan_err!(
            "'{}' lies in {} but '{}' in {}; the files of one table need the same",
            shown_file(location, &first.meta.location),
            listed(all),
            shown_file(location, &other.meta.location),
            listed(keys(other))
        );
    }
    if let Some(twice) = (1..all.len()).find(|&place| all[..place].contains(&all[place])) {
        return plan_err!(
            "'{}' lies in two folders that say '{}'",
            shown_file(location, &first.meta.location),
            all[twice]
        );
    }
    Ok(all)
}

fn same_keys(keys: &[String], file: &Found) -> bool {
    keys.len() == file.keys.len() && keys.iter().zip(&file.keys).all(|(a, (b, _))| a == b)
}
