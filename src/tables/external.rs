//! `CREATE EXTERNAL TABLE` over files of picsift's formats: the same files, columns and types as `FROM 'path'` gives.
//!
//! What DataFusion's own tables can beyond that (a declared order, constraints, defaults, other formats) they keep.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::datasource::listing_table_factory::ListingTableFactory;
use datafusion::execution::SessionState;
use datafusion::logical_expr::CreateExternalTable;
use picsift_udf::LocatedTable;

use super::listing::{Found, Listing, Names};
use super::{FileTable, Kind, Notes, columns_of, infer, locate, note, read_as, typed_keys};

/// Makes the tables of `CREATE EXTERNAL TABLE`.
#[derive(Debug)]
pub struct ExternalTables {
    others: ListingTableFactory,
    notes: Notes,
}

impl ExternalTables {
    /// A factory that leaves in `notes` what is to be said of the tables that it makes.
    pub fn new(notes: Notes) -> Self {
        Self {
            others: ListingTableFactory::new(),
            notes,
        }
    }
}

#[async_trait]
impl TableProviderFactory for ExternalTables {
    async fn create(
        &self,
        state: &dyn Session,
        command: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let plain = command.order_exprs.is_empty()
            && command.constraints.iter().next().is_none()
            && command.column_defaults.is_empty()
            && !command.unbounded;
        let (Some(kind), true, Some(session)) = (
            kind_of(&command.file_type),
            plain,
            state.as_any().downcast_ref::<SessionState>(),
        ) else {
            return self.others.create(state, command).await;
        };
        let Some(factory) = session.get_file_format_factory(&command.file_type) else {
            return self.others.create(state, command).await;
        };
        let format = factory.create(state, &command.options)?;
        let names = names_of(kind, format.as_ref());
        let locations = command.locations.iter().map(|location| place(location));
        let locations: Vec<ListingTableUrl> = locations.collect::<Result<_>>()?;
        let Some(first) = locations.first() else {
            return plan_err!("CREATE EXTERNAL TABLE needs a location");
        };
        if let Some(other) = locations
            .iter()
            .find(|l| l.object_store() != first.object_store())
        {
            return plan_err!(
                "'{}' and '{}' are in different stores; one table is in one",
                super::shown(first),
                super::shown(other)
            );
        }
        let mut files: Vec<Found> = Vec::new();
        for location in &locations {
            let listing = Listing::of(state, location, Some(&names)).await?;
            let (ours, left_out) = listing.split(&names);
            files.extend(ours);
            if let Some(note) = note(location, kind, &left_out) {
                self.notes.add(&note);
            }
        }
        let format = infer::fitting(
            state,
            first,
            format,
            files.iter().find(|file| file.meta.size > 0),
        )
        .await?;
        let (schema, keys) = if command.schema.fields().is_empty() {
            let schema = columns_of(state, first, kind, &format, &files).await?;
            let keys = match command.table_partition_cols.as_slice() {
                [] => typed_keys(first, &schema, &files)?,
                declared => texts(declared),
            };
            (read_as(state, kind, schema), keys)
        } else {
            declared(command)?
        };
        let mut table = FileTable::new(locations.clone(), names, kind, format, &schema, keys);
        table.definition.clone_from(&command.definition);
        Ok(Arc::new(LocatedTable::beside(Arc::new(table), &locations)))
    }
}

fn kind_of(file_type: &str) -> Option<Kind> {
    match file_type.to_ascii_uppercase().as_str() {
        "PARQUET" => Some(Kind::Parquet),
        "CSV" => Some(Kind::Csv),
        "JSON" => Some(Kind::Json),
        _ => None,
    }
}

/// Compressed files end in the compression too.
fn names_of(kind: Kind, format: &dyn FileFormat) -> Names {
    let compression = format.compression_type();
    let ending = compression
        .filter(|compression| compression.is_compressed())
        .and_then(|compression| format.get_ext_with_compression(&compression).ok());
    match ending {
        Some(ending) => Names::Ending(format!(".{}", ending.trim_start_matches('.'))),
        None => Names::Of(kind),
    }
}

/// A location that may not be there yet: rows are inserted later.
fn place(text: &str) -> Result<ListingTableUrl> {
    locate(text).or_else(|error| match text.ends_with('/') {
        true => ListingTableUrl::parse(text),
        false => Err(error),
    })
}

fn texts(keys: &[String]) -> Vec<(String, DataType)> {
    keys.iter()
        .map(|key| (key.clone(), DataType::Utf8))
        .collect()
}

/// The columns that the statement declares, and those of them that are folders.
fn declared(command: &CreateExternalTable) -> Result<(SchemaRef, Vec<(String, DataType)>)> {
    let schema = Arc::clone(command.schema.inner());
    let keys = command.table_partition_cols.iter().map(|key| {
        let field = schema.field_with_name(key)?;
        Ok((key.clone(), field.data_type().clone()))
    });
    let keys = keys.collect::<Result<_>>()?;
    Ok((schema, keys))
}
