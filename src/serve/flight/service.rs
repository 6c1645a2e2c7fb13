//! Flight's own methods, which Flight SQL's are told by, and the one that it leaves out: the columns of a command before it runs.

use arrow::datatypes::SchemaRef;
use std::pin::Pin;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as SqlStatement;
use futures::Stream;
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::super::door::Client;
use super::super::query::parsed;
use super::super::refusal::Refusal;
use super::Flight;
use super::answers::ipc;
use super::sessions::{client, shown, text};
use crate::sql::Parameter;

/// What a method sends, as it comes.
type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// [`Flight`] with the columns of commands.
#[derive(Clone)]
pub(super) struct Service(pub(super) Flight);

#[tonic::async_trait]
impl FlightService for Service {
    // By their forms and not by `Flight`'s names of them: to find those out anew in each method takes the compiler minutes.
    type HandshakeStream = Sent<HandshakeResponse>;
    type ListFlightsStream = Sent<FlightInfo>;
    type DoGetStream = Sent<FlightData>;
    type DoPutStream = Sent<PutResult>;
    type DoActionStream = Sent<arrow_flight::Result>;
    type ListActionsStream = Sent<ActionType>;
    type DoExchangeStream = Sent<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.0.handshake(request).await
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.0.list_flights(request).await
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        self.0.get_flight_info(request).await
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        self.0.poll_flight_info(request).await
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let message = Any::decode(&*request.get_ref().cmd).map_err(|error| wrong(&error))?;
        let command = Command::try_from(message).map_err(|error| wrong(&error))?;
        let columns = match command {
            Command::CommandStatementQuery(query) => {
                let (client, shown) = (client(&request)?, shown(request.metadata()));
                let statement = parsed(&query.query)?;
                let session = self.0.0.session(&client, shown.as_deref()).await?;
                let columns = self.0.columns(&client, session, statement, &[]).await?;
                ipc(&columns)?
            }
            Command::CommandPreparedStatementQuery(query) => {
                let client = client(&request)?;
                let handle = text(&query.prepared_statement_handle)?;
                let (statement, session, values) = self.0.statement(&client, handle)?;
                let columns = self.0.columns(&client, session, statement, &values).await?;
                ipc(&columns)?
            }
            // What lists tables and the like says its columns with its ticket, and keeps nothing.
            _ => self.0.get_flight_info(request).await?.into_inner().schema,
        };
        Ok(Response::new(SchemaResult { schema: columns }))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        self.0.do_get(request).await
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        self.0.do_put(request).await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.0.do_exchange(request).await
    }

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        self.0.do_action(request).await
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        self.0.list_actions(request).await
    }
}

fn wrong(error: &dyn std::fmt::Display) -> Status {
    Refusal::Wrong(format!("the command cannot be read: {error}")).into()
}

impl Flight {
    /// The columns of a statement's rows. It is planned in a copy of the session, in which a setting is of no consequence.
    pub(super) async fn columns(
        &self,
        client: &Client,
        session: SessionContext,
        statement: SqlStatement,
        values: &[Parameter],
    ) -> Result<SchemaRef, Status> {
        let session = SessionContext::new_with_state(session.state());
        let planned = self.0.prepare(client, session, statement, values);
        Ok(planned.await?.schema)
    }
}
