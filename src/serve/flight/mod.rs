//! Arrow Flight SQL: what ADBC and JDBC drivers speak.
//!
//! A statement is planned when its description is asked for, and runs when its ticket is fetched. A ticket is the client's alone and
//! serves once. Prepared statements keep their text; values come into it as literals when they are bound, since what is asked of images
//! is looked at while a statement is planned. Transactions, inserts and plans of other systems are refused.

mod answers;
mod metadata;
mod service;
mod sessions;
mod values;

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetCrossReference,
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys,
    CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, Ticket,
};
use axum::Router;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as SqlStatement;
use futures::{Stream, stream};
use prost::bytes::Bytes;
use tonic::metadata::MetadataValue;
use tonic::server::NamedService;
use tonic::{Request, Response, Status, Streaming};

use super::Server;
use super::door::bearer;
use super::query::parsed;
use super::refusal::Refusal;
use crate::sql::{self, Parameter};

use answers::{DoGet, ipc, sent};
use service::Service;
use sessions::{client, gone, shown, text};

/// Most bytes of a message of a client; it is refused by its head.
const MOST_MESSAGE: usize = 16 << 20;

/// How requests that come this way are called in metrics.
const WAY: &str = "flight";

/// A prepared statement.
pub(super) struct Statement {
    statement: SqlStatement,
    session: SessionContext,
    values: Vec<Parameter>,
}

/// The service; clones share the server.
#[derive(Clone)]
struct Flight(Held);

/// The server as the service holds it: as something that may be shared between threads, whatever it has. The compiler proves that of the
/// service anew for each of its methods, and of all of a server's sessions and plans that takes it minutes.
#[derive(Clone)]
struct Held(Arc<dyn Holds>);

trait Holds: Send + Sync {
    fn server(&self) -> &Server;
}

impl Holds for Server {
    fn server(&self) -> &Server {
        self
    }
}

impl Deref for Held {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.0.server()
    }
}

/// The routes of the service.
pub(super) fn routes(server: Arc<Server>) -> Router {
    let service = FlightServiceServer::new(Service(Flight(Held(server))))
        .max_decoding_message_size(MOST_MESSAGE)
        // Rows with images may be large; each is sent as it is.
        .max_encoding_message_size(usize::MAX);
    let path = format!(
        "/{}/{{*method}}",
        <FlightServiceServer<Service> as NamedService>::NAME
    );
    Router::new().route_service(&path, service)
}

type Handshake = Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Flight;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Handshake>, Status> {
        client(&request)?;
        let header = request.metadata().get("authorization");
        let token = bearer(header.and_then(|header| header.to_str().ok())).unwrap_or_default();
        let answer = HandshakeResponse {
            protocol_version: 0,
            payload: token.clone().into(),
        };
        let answer: Handshake = Box::pin(stream::iter([Ok(answer)]));
        let mut response = Response::new(answer);
        if let Ok(value) = MetadataValue::try_from(format!("Bearer {token}")) {
            response.metadata_mut().insert("authorization", value);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let (client, shown) = (client(&request)?, shown(request.metadata()));
        let statement = parsed(&query.query)?;
        let session = self.0.session(&client, shown.as_deref()).await?;
        let ready = self.0.prepare(&client, session, statement, &[]).await?;
        self.info(&client, ready, shown.as_deref(), request.into_inner())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let (client, shown) = (client(&request)?, shown(request.metadata()));
        let handle = text(&query.prepared_statement_handle)?;
        let (statement, session, values) = self.statement(&client, handle)?;
        let ready = self.0.prepare(&client, session, statement, &values).await?;
        self.info(&client, ready, shown.as_deref(), request.into_inner())
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        let client = client(&request)?;
        let handle = text(&ticket.statement_handle)?;
        let ready = self.0.plans.take(&client.owner, handle);
        let ready = ready.ok_or_else(|| gone("ticket"))?;
        let rows = self.0.run(&client, ready, WAY)?;
        Ok(sent(Arc::clone(&rows.schema), rows))
    }

    async fn do_put_statement_update(
        &self,
        command: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let (client, shown) = (client(&request)?, shown(request.metadata()));
        let statement = parsed(&command.query)?;
        self.update(&client, shown, statement, None, &[]).await
    }

    async fn do_put_prepared_statement_update(
        &self,
        command: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let (client, shown) = (client(&request)?, shown(request.metadata()));
        let handle = text(&command.prepared_statement_handle)?;
        let (statement, session, values) = self.statement(&client, handle)?;
        self.update(&client, shown, statement, Some(session), &values)
            .await
    }

    async fn do_put_prepared_statement_query(
        &self,
        command: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let client = client(&request)?;
        let handle = text(&command.prepared_statement_handle)?.to_string();
        let values = values::received(request.into_inner()).await?;
        let kept = self.0.statements.with(&client.owner, &handle, |statement| {
            statement.values = values;
        });
        match kept {
            Some(()) => Ok(DoPutPreparedStatementResult {
                prepared_statement_handle: Some(command.prepared_statement_handle),
            }),
            None => Err(gone("prepared statement")),
        }
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let (client, shown) = (client(&request)?, shown(request.metadata()));
        let statement = parsed(&query.query)?;
        self.0.rules.check(&statement)?;
        let session = self.0.session(&client, shown.as_deref()).await?;
        let wanted = sql::count(&statement);
        // Without values the columns are known at once, and so is what is wrong. A setting must not be made before it is run.
        let is_query = matches!(&statement, SqlStatement::Statement(inner)
            if matches!(**inner, datafusion::sql::sqlparser::ast::Statement::Query(_)));
        let columns = match wanted == 0 && is_query {
            true => {
                let (session, statement) = (session.clone(), statement.clone());
                Some(self.columns(&client, session, statement, &[]).await?)
            }
            false => None,
        };
        let fields = (1..=wanted).map(|n| Field::new(format!("${n}"), DataType::Utf8, true));
        let parameters = Schema::new(fields.collect::<Vec<_>>());
        let kept = Statement {
            statement,
            session,
            values: Vec::new(),
        };
        let handle = self.0.statements.put(&client.owner, kept);
        let handle = handle.map_err(|error| Status::from(Refusal::of(&error, "statement")))?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: columns.map_or_else(|| Ok(Bytes::new()), |schema| ipc(&schema))?,
            parameter_schema: ipc(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let client = client(&request)?;
        let handle = text(&query.prepared_statement_handle)?;
        // Closing what is closed is no mistake.
        let _ = self.0.statements.take(&client.owner, handle);
        Ok(())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &query.into_builder().schema(), request)
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &query.clone().into_builder().schema(), request)
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &query.clone().into_builder().schema(), request)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &query.into_builder().schema(), request)
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let infos = metadata::infos()?;
        metadata::info(
            &query,
            &query.clone().into_builder(&infos).schema(),
            request,
        )
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let types = metadata::types()?;
        metadata::info(&query, &query.into_builder(&types).schema(), request)
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &metadata::primary_keys(), request)
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &metadata::foreign_keys(), request)
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &metadata::foreign_keys(), request)
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        metadata::info(&query, &metadata::foreign_keys(), request)
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        metadata::catalogs(query)
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        let tenant = self.0.tenant(&*client(&request)?).await?;
        metadata::schemas(query, &tenant)
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        let tenant = self.0.tenant(&*client(&request)?).await?;
        metadata::tables(query, &tenant).await
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        metadata::table_types(query)
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        let infos = metadata::infos()?;
        metadata::answer(query.into_builder(&infos).build())
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        let types = metadata::types()?;
        metadata::answer(query.into_builder(&types).build())
    }

    async fn do_get_primary_keys(
        &self,
        _query: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        metadata::none(&metadata::primary_keys())
    }

    async fn do_get_exported_keys(
        &self,
        _query: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        metadata::none(&metadata::foreign_keys())
    }

    async fn do_get_imported_keys(
        &self,
        _query: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        metadata::none(&metadata::foreign_keys())
    }

    async fn do_get_cross_reference(
        &self,
        _query: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        client(&request)?;
        metadata::none(&metadata::foreign_keys())
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
