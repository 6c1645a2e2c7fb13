//! What drivers ask about the server and its tables: catalogs, schemas, tables, types, keys.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, Nullable,
    ProstMessageExt, Searchable, SqlInfo, SqlSupportedTransaction, XdbcDataType,
};
use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use datafusion::catalog::SchemaProvider;
use futures::stream;
use prost::Message;
use tonic::{Request, Response, Status};

use super::super::catalog::PlaceSchema;
use super::super::tenant::Tenant;
use super::answers::{DoGet, described, sent, unwritable};
use crate::session::{CATALOG, PUBLIC};
use crate::tables::plain_columns;

/// What tables are called; there are no views.
const TABLE: &str = "TABLE";

/// The version of Arrow's format.
const FORMAT: &str = "1.5";

/// The description of an answer to `query`, which is its own ticket.
pub(super) fn info<M: ProstMessageExt>(
    query: &M,
    schema: &Schema,
    request: Request<FlightDescriptor>,
) -> Result<Response<FlightInfo>, Status> {
    let ticket = Ticket::new(query.as_any().encode_to_vec());
    described(schema, ticket, request.into_inner()).map(Response::new)
}

/// An answer of one batch.
pub(super) fn answer(batch: Result<RecordBatch, FlightError>) -> Result<Response<DoGet>, Status> {
    let batch = batch.map_err(|error| unwritable(&error))?;
    Ok(sent(batch.schema(), stream::iter([Ok(batch)])))
}

/// An answer without rows.
pub(super) fn none(schema: &SchemaRef) -> Result<Response<DoGet>, Status> {
    answer(Ok(RecordBatch::new_empty(Arc::clone(schema))))
}

pub(super) fn catalogs(query: CommandGetCatalogs) -> Result<Response<DoGet>, Status> {
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    answer(builder.build())
}

pub(super) fn schemas(
    query: CommandGetDbSchemas,
    tenant: &Tenant,
) -> Result<Response<DoGet>, Status> {
    let mut builder = query.into_builder();
    builder.append(CATALOG, PUBLIC);
    for schema in &tenant.schemas {
        builder.append(CATALOG, schema.name());
    }
    answer(builder.build())
}

pub(super) fn table_types(query: CommandGetTableTypes) -> Result<Response<DoGet>, Status> {
    let mut builder = query.into_builder();
    builder.append(TABLE);
    answer(builder.build())
}

pub(super) async fn tables(
    query: CommandGetTables,
    tenant: &Tenant,
) -> Result<Response<DoGet>, Status> {
    let with_columns = query.include_schema;
    let mut builder = query.into_builder();
    for schema in &tenant.schemas {
        if let Ok(Some(whole)) = schema.whole().await {
            let columns = plain_columns(&whole.schema());
            let added = builder.append(CATALOG, PUBLIC, schema.name(), TABLE, &columns);
            added.map_err(|error| unwritable(&error))?;
        }
        // A place that cannot be listed has no tables to show; who names one is told why.
        let names = schema.list().await.unwrap_or_default();
        for name in names.keys() {
            let Some(columns) = columns(schema, name, with_columns).await else {
                continue;
            };
            let added = builder.append(CATALOG, schema.name(), name, TABLE, &columns);
            added.map_err(|error| unwritable(&error))?;
        }
    }
    answer(builder.build())
}

/// The columns of a table where they are wanted; `None` for one that cannot be read.
async fn columns(schema: &PlaceSchema, name: &str, wanted: bool) -> Option<SchemaRef> {
    if !wanted {
        return Some(Arc::new(Schema::empty()));
    }
    let table = schema.table(name).await.ok()??;
    Some(plain_columns(&table.schema()))
}

/// What the server is.
pub(super) fn infos() -> Result<SqlInfoData, Status> {
    let mut builder = SqlInfoDataBuilder::new();
    builder.append(SqlInfo::FlightSqlServerName, "picsift");
    builder.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    builder.append(SqlInfo::FlightSqlServerArrowVersion, FORMAT);
    builder.append(SqlInfo::FlightSqlServerReadOnly, true);
    builder.append(SqlInfo::FlightSqlServerSql, true);
    builder.append(SqlInfo::FlightSqlServerSubstrait, false);
    builder.append(
        SqlInfo::FlightSqlServerTransaction,
        SqlSupportedTransaction::None as i32,
    );
    builder.append(SqlInfo::FlightSqlServerCancel, false);
    builder.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    builder.append(SqlInfo::SqlDdlCatalog, false);
    builder.append(SqlInfo::SqlDdlSchema, false);
    builder.append(SqlInfo::SqlDdlTable, false);
    builder.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    builder.build().map_err(|error| unwritable(&error))
}

/// The types that columns have most.
pub(super) fn types() -> Result<XdbcTypeInfoData, Status> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    let text = Some("'".to_string());
    for (name, data_type, size, quote) in [
        ("BOOLEAN", XdbcDataType::XdbcBit, 1, None),
        ("INTEGER", XdbcDataType::XdbcInteger, 10, None),
        ("BIGINT", XdbcDataType::XdbcBigint, 19, None),
        ("REAL", XdbcDataType::XdbcReal, 7, None),
        ("DOUBLE", XdbcDataType::XdbcDouble, 15, None),
        ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, text.clone()),
        (
            "VARBINARY",
            XdbcDataType::XdbcVarbinary,
            i32::MAX,
            text.clone(),
        ),
        ("DATE", XdbcDataType::XdbcDate, 10, text.clone()),
        ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29, text),
    ] {
        builder.append(XdbcTypeInfo {
            type_name: name.to_string(),
            data_type,
            column_size: Some(size),
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: None,
            nullable: Nullable::NullabilityNullable,
            case_sensitive: name == "VARCHAR",
            searchable: Searchable::Full,
            unsigned_attribute: Some(false),
            fixed_prec_scale: false,
            auto_increment: Some(false),
            local_type_name: Some(name.to_string()),
            minimum_scale: None,
            maximum_scale: None,
            sql_data_type: data_type,
            datetime_subcode: None,
            num_prec_radix: None,
            interval_precision: None,
        });
    }
    builder.build().map_err(|error| unwritable(&error))
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

/// The columns of an answer about primary keys, which no table has.
pub(super) fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ]))
}

/// The same of keys that name rows of another table.
pub(super) fn foreign_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}
