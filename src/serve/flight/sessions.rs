//! What a client comes back for: its session by a cookie, its plans by tickets, its prepared statements by handles.

use std::sync::Arc;

use arrow_flight::sql::{ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as SqlStatement;
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use super::super::door::Client;
use super::super::query::Ready;
use super::super::refusal::Refusal;
use super::answers::described;
use super::{Flight, Statement};
use crate::sql::Parameter;

/// The name of the cookie by which a client comes back to its session.
const COOKIE: &str = "picsift-session";

/// Who asks; the door has put it there.
pub(super) fn client<T>(request: &Request<T>) -> Result<Arc<Client>, Status> {
    let client = request.extensions().get::<Arc<Client>>();
    client
        .map(Arc::clone)
        .ok_or_else(|| Refusal::Unknown("nobody shows who asks").into())
}

/// The session that a client shows.
pub(super) fn shown(metadata: &MetadataMap) -> Option<String> {
    let cookies = metadata.get_all("cookie").iter();
    let mut cookies = cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='));
    let own = cookies.find(|(name, _)| *name == COOKIE);
    own.map(|(_, handle)| handle.to_string())
}

/// A client's text, which Flight sends as bytes.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(bytes)
        .map_err(|_| Refusal::Missing("there is no such handle".into()).into())
}

pub(super) fn gone(what: &str) -> Status {
    Refusal::Missing(format!(
        "there is no such {what}: it was fetched or closed, or waited too long; ask again"
    ))
    .into()
}

impl Flight {
    /// The description of rows that wait to be fetched.
    pub(super) fn info(
        &self,
        client: &Client,
        mut ready: Ready,
        shown: Option<&str>,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        let failed = |error| Status::from(Refusal::of(&error, "handle"));
        let cookie = self.keep(client, ready.set.take(), shown)?;
        let schema = Arc::clone(&ready.schema);
        let handle = self.0.plans.put(&client.owner, ready).map_err(failed)?;
        let ticket = TicketStatementQuery {
            statement_handle: handle.into(),
        };
        let ticket = Ticket::new(ticket.as_any().encode_to_vec());
        let info = described(&schema, ticket, descriptor)?;
        let mut response = Response::new(info);
        if let Some(cookie) = cookie {
            response.metadata_mut().insert("set-cookie", cookie);
        }
        Ok(response)
    }

    /// Keeps a session in which something was set, and gives the cookie by which a client comes back that does not know it yet.
    pub(super) fn keep(
        &self,
        client: &Client,
        set: Option<SessionContext>,
        shown: Option<&str>,
    ) -> Result<Option<MetadataValue<tonic::metadata::Ascii>>, Status> {
        let Some(session) = set else {
            return Ok(None);
        };
        let sessions = &self.0.sessions;
        let known = shown.and_then(|handle| sessions.with(&client.owner, handle, |_| ()));
        if known.is_some() {
            return Ok(None);
        }
        let handle = sessions.put(&client.owner, session);
        let handle = handle.map_err(|error| Status::from(Refusal::of(&error, "session")))?;
        MetadataValue::try_from(format!("{COOKIE}={handle}; Path=/; HttpOnly"))
            .map(Some)
            .map_err(|_| Refusal::Failed("session".into()).into())
    }

    /// A statement that is run for what it does, not for rows: a setting.
    pub(super) async fn update(
        &self,
        client: &Client,
        shown: Option<String>,
        statement: SqlStatement,
        session: Option<SessionContext>,
        values: &[Parameter],
    ) -> Result<i64, Status> {
        if shown.is_none() {
            return Err(Refusal::Unsupported(
                "a setting needs a session: turn the driver's cookies on, or run SET as a query"
                    .to_string(),
            )
            .into());
        }
        let session = match session {
            Some(session) => session,
            None => self.0.session(client, shown.as_deref()).await?,
        };
        let ready = self.0.prepare(client, session, statement, values).await?;
        match ready.is_silent {
            true => {
                self.keep(client, ready.set, shown.as_deref())?;
                Ok(0)
            }
            false => {
                Err(Refusal::Wrong("a query is to be run as one: it gives rows".into()).into())
            }
        }
    }

    /// A prepared statement of a client's with the values that it bound.
    pub(super) fn statement(
        &self,
        client: &Client,
        handle: &str,
    ) -> Result<(SqlStatement, SessionContext, Vec<Parameter>), Status> {
        let found = self.0.statements.with(&client.owner, handle, |kept| {
            let Statement {
                statement,
                session,
                values,
            } = kept;
            (statement.clone(), session.clone(), values.clone())
        });
        found.ok_or_else(|| gone("prepared statement"))
    }
}
