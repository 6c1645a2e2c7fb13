//! The forms of answers: descriptions with a ticket, batches on their way, schemas as bytes.

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket};
use futures::{Stream, StreamExt};
use prost::bytes::Bytes;
use tonic::{Response, Status};

use super::super::refusal::Refusal;
use super::Flight;

/// A description of rows with one ticket.
pub(super) fn described(
    schema: &Schema,
    ticket: Ticket,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let info = FlightInfo::new().try_with_schema(schema);
    let info = info.map_err(|error| unwritable(&error))?;
    Ok(info
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(descriptor)
        .with_ordered(true))
}

pub(super) fn unwritable(error: &dyn std::fmt::Display) -> Status {
    tracing::error!(target: "picsift::serve", %error, "an answer cannot be written");
    Refusal::Failed("answer".into()).into()
}

pub(super) type DoGet = <Flight as FlightService>::DoGetStream;

/// Batches on their way.
pub(super) fn sent<S>(schema: SchemaRef, batches: S) -> Response<DoGet>
where
    S: Stream<Item = Result<arrow::array::RecordBatch, Refusal>> + Send + 'static,
{
    let batches = batches
        .map(|batch| batch.map_err(|refusal| FlightError::Tonic(Box::new(Status::from(refusal)))));
    let encoded = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        // As the description says.
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(batches)
        .map(|data| data.map_err(Status::from));
    Response::new(Box::pin(encoded))
}

/// A schema in Arrow's form.
pub(super) fn ipc(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let message: Result<IpcMessage, _> = SchemaAsIpc::new(schema, &options).try_into();
    message
        .map(|IpcMessage(bytes)| bytes)
        .map_err(|error| unwritable(&error))
}
