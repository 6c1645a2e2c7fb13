//! `POST /v1/sql`: a statement, and its rows as lines of JSON or as Arrow.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use axum::extract::{Extension, Request, State};
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::Server;
use super::super::door::Client;
use super::super::query::parsed;
use super::super::refusal::Refusal;
use super::{LINES, WAY, begun, in_time, json, streamed, wrong};
use crate::sql::{self, Parameter};

/// Most bytes of a request for rows.
const MOST_TEXT: usize = 4 << 20;

/// The form of rows in Arrow.
const ARROW: &str = "application/vnd.apache.arrow.stream";

/// A statement with its values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    #[serde(default)]
    parameters: Vec<Value>,
    /// Settings for this statement, with or without `picsift.` before their names.
    #[serde(default)]
    settings: Map<String, Value>,
}

/// `POST /v1/sql`.
pub(super) async fn rows(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
) -> Result<Response, Refusal> {
    let accepted = request.headers().get(header::ACCEPT);
    let accepted = accepted
        .and_then(|accepted| accepted.to_str().ok())
        .unwrap_or_default();
    let in_arrow = accepted.contains(ARROW);
    let asked: Asked = in_time(json(request, MOST_TEXT)).await?;
    let values = asked
        .parameters
        .into_iter()
        .map(value)
        .collect::<Result<Vec<_>, _>>()?;
    let session = server.session(&client, None).await?;
    for (name, setting) in asked.settings {
        set(&server, &client, &session, &name, &setting).await?;
    }
    let ready = server
        .prepare(&client, session, parsed(&asked.sql)?, &values)
        .await?;
    let rows = server.run(&client, ready, WAY)?;
    let schema = Arc::clone(&rows.schema);
    let rows = begun(rows).await?;
    if !in_arrow {
        let named = sql::distinct(&schema);
        let lines = rows.map(move |batch| batch.and_then(|batch| written(&batch, &named)));
        return Ok(streamed(LINES, lines));
    }
    let unwritable = |error: arrow::error::ArrowError| wrong(error.to_string());
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(unwritable)?;
    let head = Bytes::from(std::mem::take(writer.get_mut()));
    let state = Some((Box::pin(rows), writer));
    let body = stream::try_unfold(state, move |state| async move {
        let Some((mut rows, mut writer)) = state else {
            return Ok(None);
        };
        let more = rows.try_next().await?;
        let left = match &more {
            Some(batch) => writer.write(batch).and_then(|()| writer.flush()),
            None => writer.finish(),
        };
        left.map_err(unwritable)?;
        let bytes = Bytes::from(std::mem::take(writer.get_mut()));
        Ok(Some((bytes, more.map(|_| (rows, writer)))))
    });
    Ok(streamed(ARROW, stream::iter([Ok(head)]).chain(body)))
}

/// Sets one setting of a session as a statement would.
async fn set(
    server: &Arc<Server>,
    client: &Client,
    session: &SessionContext,
    name: &str,
    setting: &Value,
) -> Result<(), Refusal> {
    let name = name.to_ascii_lowercase();
    let name = match name.starts_with("picsift.") {
        true => name,
        false => format!("picsift.{name}"),
    };
    let text = match setting {
        Value::String(text) => text.clone(),
        Value::Null => "default".to_string(),
        other => other.to_string(),
    };
    server.rules.setting(&name, &text)?;
    let statement = parsed(&format!("SET {name} = '{}'", text.replace('\'', "''")))?;
    server
        .prepare(client, session.clone(), statement, &[])
        .await?;
    Ok(())
}

/// A value of JSON for a statement.
fn value(value: Value) -> Result<Parameter, Refusal> {
    Ok(match value {
        Value::Null => Parameter::Null,
        Value::Bool(truth) => Parameter::Boolean(truth),
        Value::String(text) => Parameter::Text(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Parameter::Integer(whole.into()),
            (None, Some(number)) if number.is_finite() => Parameter::Float(number),
            _ => return Err(wrong("a parameter is no finite number")),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(wrong(
                "a parameter is null, true, false, a number or a text",
            ));
        }
    })
}

/// Rows as lines of JSON.
fn written(batch: &RecordBatch, named: &SchemaRef) -> Result<Bytes, Refusal> {
    let unwritable =
        |error: &dyn std::fmt::Display| wrong(format!("the rows have no form in JSON: {error}"));
    let batch = sql::under(batch, named).map_err(|error| unwritable(&error))?;
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut text);
    let written = writer.write(&batch).and_then(|()| writer.finish());
    written.map_err(|error| unwritable(&error))?;
    drop(writer);
    Ok(text.into())
}
