//! A table of files: DataFusion's scan over a listing of our own.
//!
//! DataFusion's `ListingTable` knows one end of file names and takes a folder's value for text. What is kept of it: files are
//! listed anew for every scan, folders that a predicate rules out are not read, and statistics of Parquet's footers
//! answer counts.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{
    DFSchema, Result, ScalarValue, internal_datafusion_err, plan_datafusion_err, plan_err,
};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl, PartitionedFile,
};
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use futures::{StreamExt, TryStreamExt};

use super::NULL_PARTITION;
use super::bounded::footer;
use super::infer::{self, format_of};
use super::listing::{Found, Listing, Names, shown_file};
use super::locate::shown;
use super::names::Kind;
use super::pictures::Since;
use super::statistics::{grouped, with_known};
use super::{pictures, views};
use crate::error::innermost;

/// Files in one store, read as one table.
#[derive(Debug, Clone)]
pub struct FileTable {
    pub(super) locations: Vec<ListingTableUrl>,
    pub(super) names: Names,
    pub(super) kind: Kind,
    pub(super) format: Arc<dyn FileFormat>,
    /// What is read from the files.
    pub(super) file_schema: SchemaRef,
    /// What the names of folders say, behind it.
    pub(super) partitions: Vec<FieldRef>,
    pub(super) schema: SchemaRef,
    pub(super) definition: Option<String>,
    /// What a person should know of the files that are none of the table's.
    pub(super) note: Option<String>,
    /// Whether its files are pictures, of which the table is made when it is read.
    is_pictures: bool,
}

impl FileTable {
    /// A table of the files at `locations` that `names` means, with the columns of `file_schema` and a column for each key of
    /// `keys`; a column that is both is the key's.
    pub(super) fn new(
        locations: Vec<ListingTableUrl>,
        names: Names,
        kind: Kind,
        format: Arc<dyn FileFormat>,
        file_schema: &Schema,
        keys: Vec<(String, DataType)>,
    ) -> Self {
        let own = file_schema
            .fields()
            .iter()
            .filter(|field| !keys.iter().any(|(key, _)| key == field.name()));
        let own: Vec<FieldRef> = own.cloned().collect();
        let partitions: Vec<FieldRef> = keys
            .into_iter()
            .map(|(key, data_type)| Arc::new(Field::new(key, data_type, true)))
            .collect();
        let all: Vec<FieldRef> = own.iter().chain(&partitions).cloned().collect();
        Self {
            locations,
            names,
            kind,
            format,
            file_schema: Arc::new(Schema::new(own)),
            partitions,
            schema: Arc::new(Schema::new(all)),
            definition: None,
            note: None,
            is_pictures: false,
        }
    }

    /// A table of the pictures at `locations`.
    pub(super) fn of_pictures(locations: Vec<ListingTableUrl>, schema: &Schema) -> Self {
        let kind = Kind::Parquet;
        let format = format_of(kind, 1);
        Self {
            is_pictures: true,
            ..Self::new(locations, Names::Of(kind), kind, format, schema, Vec::new())
        }
    }

    /// Whether it is made of pictures: then it has a file for each location, in memory.
    pub fn is_pictures(&self) -> bool {
        self.is_pictures
    }

    /// Where its files lie.
    pub fn locations(&self) -> &[ListingTableUrl] {
        &self.locations
    }

    /// What its files' format is called.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How its files are read.
    pub fn format(&self) -> &Arc<dyn FileFormat> {
        &self.format
    }

    /// The columns that are read from its files.
    pub fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    /// The columns that the names of folders say, which stand behind them.
    pub fn partitions(&self) -> &[FieldRef] {
        &self.partitions
    }

    /// One sentence about files of the folder that are none of the table's, where there are some.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The store that all its files are in.
    ///
    /// # Errors
    /// An internal one, for a table without a place.
    pub fn store_url(&self) -> Result<ObjectStoreUrl> {
        if self.is_pictures {
            return pictures::store_url();
        }
        let first = self.locations.first();
        first
            .map(ListingTableUrl::object_store)
            .ok_or_else(|| internal_datafusion_err!("a table without a place"))
    }

    /// The same table with the types that `schema` has for columns of the same names.
    pub fn with_types_of(&self, schema: &Schema) -> Self {
        let typed = |field: &FieldRef| match schema.column_with_name(field.name()) {
            Some((_, theirs)) => Arc::new(
                field
                    .as_ref()
                    .clone()
                    .with_data_type(theirs.data_type().clone()),
            ),
            None => Arc::clone(field),
        };
        let own: Vec<FieldRef> = self.file_schema.fields().iter().map(typed).collect();
        let all = own.iter().chain(&self.partitions).cloned();
        let schema = Arc::new(Schema::new(all.collect::<Vec<_>>()));
        let file_schema = Arc::new(Schema::new(own));
        Self {
            file_schema,
            schema,
            ..self.clone()
        }
    }

    /// Its files at one of its locations as they are at this moment, in the order of their paths, with the values of their folders.
    ///
    /// # Errors
    /// When the location cannot be listed, or a folder's name says no value of its column's type.
    pub async fn files_at(
        &self,
        state: &dyn Session,
        location: &ListingTableUrl,
    ) -> Result<Vec<PartitionedFile>> {
        let listing = Listing::of(state, location, Some(&self.names)).await?;
        if self.is_pictures {
            return match listing.is_pictures() {
                true => Ok(vec![listing.pictures().file(state, location).await?]),
                false => plan_err!("'{}' is no folder of pictures any more", shown(location)),
            };
        }
        let (files, _) = listing.split(&self.names);
        files
            .into_iter()
            .filter(|file| file.meta.size > 0)
            .map(|file| {
                let values = self.values_of(location, &file)?;
                let mut part = PartitionedFile::from(file.meta);
                part.partition_values = values;
                Ok(part)
            })
            .collect()
    }

    /// The pictures at a location of a table of pictures beside those that are `known` by their paths.
    ///
    /// # Errors
    /// When the location cannot be listed, or is no folder of pictures.
    pub async fn pictures_since(
        &self,
        state: &dyn Session,
        location: &ListingTableUrl,
        known: &HashSet<String>,
    ) -> Result<Since> {
        let listing = Listing::of(state, location, Some(&self.names)).await?;
        match self.is_pictures && listing.is_pictures() {
            true => listing.pictures().since(state, location, known).await,
            false => plan_err!("'{}' is no folder of pictures", shown(location)),
        }
    }

    fn values_of(&self, location: &ListingTableUrl, file: &Found) -> Result<Vec<ScalarValue>> {
        let value = |field: &FieldRef| {
            let found = file.keys.iter().find(|(key, _)| key == field.name());
            let Some((key, text)) = found else {
                return plan_err!(
                    "'{}' lies in no folder {}=...",
                    shown_file(location, &file.meta.location),
                    field.name()
                );
            };
            value_of(text, field.data_type()).ok_or_else(|| {
                plan_datafusion_err!(
                    "the folder {key}={text} of '{}' says no value of type {}",
                    shown_file(location, &file.meta.location),
                    field.data_type()
                )
            })
        };
        self.partitions.iter().map(value).collect()
    }

    async fn files(&self, state: &dyn Session) -> Result<Vec<PartitionedFile>> {
        let mut seen = HashSet::new();
        let mut all = Vec::new();
        for location in &self.locations {
            // Locations may overlap: a folder, and a file inside it.
            let files = self.files_at(state, location).await?.into_iter();
            // Folders in which pictures are called alike are alike as tables, and each is read.
            all.extend(
                files.filter(|file| {
                    self.is_pictures || seen.insert(file.object_meta.location.clone())
                }),
            );
        }
        Ok(all)
    }

    /// Those of `files` whose folders fit the filters.
    fn pruned(
        &self,
        state: &dyn Session,
        files: Vec<PartitionedFile>,
        filters: &[Expr],
    ) -> Result<Vec<PartitionedFile>> {
        let Some(filter) = conjunction(filters.iter().cloned()).filter(|_| !files.is_empty())
        else {
            return Ok(files);
        };
        let columns = (0..self.partitions.len()).map(|column| {
            let values = files
                .iter()
                .map(|file| file.partition_values[column].clone());
            ScalarValue::iter_to_array(values)
        });
        let schema = Arc::new(Schema::new(self.partitions.clone()));
        let folders = RecordBatch::try_new(Arc::clone(&schema), columns.collect::<Result<_>>()?)?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
        let fits = filter.evaluate(&folders)?.into_array(files.len())?;
        let fits = fits.as_boolean();
        let kept = files.into_iter().zip(fits.iter());
        Ok(kept
            .filter(|(_, fits)| *fits == Some(true))
            .map(|(file, _)| file)
            .collect())
    }

    /// `files` with what their footers say, as many as hold `limit` rows; whether there are more.
    async fn with_statistics(
        &self,
        state: &dyn Session,
        files: Vec<PartitionedFile>,
        limit: Option<usize>,
    ) -> Result<(Vec<PartitionedFile>, bool)> {
        let store = state.runtime_env().object_store(self.store_url()?)?;
        let total = files.len();
        let read = files.into_iter().map(|file| {
            let store = &store;
            async move {
                let meta = &file.object_meta;
                if self.kind == Kind::Parquet {
                    footer::check(state, store.as_ref(), meta).await?;
                }
                let known = self
                    .format
                    .infer_stats(state, store, Arc::clone(&self.file_schema), meta)
                    .await
                    .map_err(|error| {
                        let place = self
                            .locations
                            .first()
                            .map(|l| shown_file(l, &meta.location));
                        plan_datafusion_err!(
                            "cannot read '{}' as {}: {}",
                            place.unwrap_or_default(),
                            self.kind.name(),
                            innermost(&error)
                        )
                    })?;
                Ok::<_, datafusion::error::DataFusionError>(with_known(file, known))
            }
        });
        let at_once = state
            .config_options()
            .execution
            .meta_fetch_concurrency
            .get();
        let mut read = futures::stream::iter(read).buffered(at_once).boxed();
        let (mut known, mut rows) = (Vec::with_capacity(total), Some(0_usize));
        while let Some(file) = read.try_next().await? {
            let of_file = file.statistics.as_ref().map(|known| known.num_rows);
            rows = match (rows, of_file) {
                (Some(rows), Some(Precision::Exact(more))) => Some(rows + more),
                _ => None,
            };
            known.push(file);
            if limit.is_some_and(|limit| rows.is_some_and(|rows| rows >= limit)) {
                break;
            }
        }
        let more = known.len() < total;
        Ok((known, more))
    }

    /// The same as DataFusion's table, which knows how to write.
    fn written(&self) -> Result<ListingTable> {
        let keys = self.partitions.iter();
        let keys = keys.map(|field| (field.name().clone(), field.data_type().clone()));
        let options =
            ListingOptions::new(Arc::clone(&self.format)).with_table_partition_cols(keys.collect());
        let config = ListingTableConfig::new_with_multi_paths(self.locations.clone())
            .with_listing_options(options)
            .with_schema(views::without(&self.file_schema));
        ListingTable::try_new(config)
    }
}

/// The value that a folder's name says, `None` where it is none of that type.
pub(super) fn value_of(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    match text {
        NULL_PARTITION => ScalarValue::try_new_null(data_type).ok(),
        text => ScalarValue::try_from_string(text.to_string(), data_type)
            .ok()
            .filter(|value| !value.is_null()),
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.definition.as_deref()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let of_folders: Vec<&str> = self.partitions.iter().map(|f| f.name().as_str()).collect();
        let (of_folders, others): (Vec<Expr>, Vec<Expr>) = filters
            .iter()
            .cloned()
            .partition(|filter| is_about(&of_folders, filter));
        let files = self.pruned(state, self.files(state).await?, &of_folders)?;
        let limited = limit.filter(|_| others.is_empty());
        let collects = state.config().collect_statistics();
        let (files, more) = match collects {
            true => self.with_statistics(state, files, limited).await?,
            false => (files, false),
        };
        if files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let streams = state.config().target_partitions();
        let (groups, statistics) = grouped(files, &self.schema, streams, more)?;
        let table = TableSchema::builder(Arc::clone(&self.file_schema))
            .with_table_partition_cols(self.partitions.clone())
            .build();
        let source = self.format.file_source(table);
        // A JSON array has no line at which a reader could begin; who says how it is read has it read whole.
        let whole = infer::is_array(self.format.as_ref());
        let partitions = whole.then(|| Partitioning::UnknownPartitioning(groups.len()));
        let config = FileScanConfigBuilder::new(self.store_url()?, source)
            .with_output_partitioning(partitions)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        self.format.create_physical_plan(state, config).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let of_folders: Vec<&str> = self.partitions.iter().map(|f| f.name().as_str()).collect();
        let support = filters
            .iter()
            .map(|filter| match is_about(&of_folders, filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            });
        Ok(support.collect())
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        insert_op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.is_pictures {
            let place = self.locations.first().map(shown).unwrap_or_default();
            return plan_err!(
                "'{place}' is a folder of pictures, into which no rows are written; write them into another folder"
            );
        }
        let input = views::plain_plan(input)?;
        self.written()?.insert_into(state, input, insert_op).await
    }
}

/// Whether folders alone decide a filter.
fn is_about(folders: &[&str], filter: &Expr) -> bool {
    !folders.is_empty() && expr_applicable_for_cols(folders, filter)
}
