//! Values that a client binds to a prepared statement: one row of Arrow.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::util::display::array_value_to_string;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use futures::{TryStreamExt, stream::StreamExt};
use tonic::Status;

use super::super::refusal::Refusal;
use crate::sql::Parameter;

/// Most values of a statement.
const MOST: usize = 1000;

/// The values in what a client sends.
///
/// # Errors
/// [`Refusal::Wrong`] for more than one row, too many values, and types that no literal has.
pub(super) async fn received(data: PeekableFlightDataStream) -> Result<Vec<Parameter>, Status> {
    let wrong = |text: String| Status::from(Refusal::Wrong(text));
    let data = data.map(|data| data.map_err(|status| FlightError::Tonic(Box::new(status))));
    let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
    let mut values = Vec::new();
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows();
        if rows > 1 {
            return Err(wrong(
                "a statement takes one row of values at a time here".into(),
            ));
        }
        if batch.num_columns() > MOST {
            return Err(wrong(format!("a statement has at most {MOST} values here")));
        }
        if batch.num_rows() == 1 {
            values = row(&batch).map_err(wrong)?;
        }
    }
    Ok(values)
}

fn row(batch: &RecordBatch) -> Result<Vec<Parameter>, String> {
    let columns = batch.columns().iter().enumerate();
    columns
        .map(|(place, column)| {
            value(column).map_err(|reason| format!("the value of ${} {reason}", place + 1))
        })
        .collect()
}

fn value(column: &ArrayRef) -> Result<Parameter, String> {
    if column.is_null(0) {
        return Ok(Parameter::Null);
    }
    let read = |to: &DataType| cast(column, to).map_err(|error| format!("cannot be read: {error}"));
    let text =
        || array_value_to_string(column, 0).map_err(|error| format!("cannot be read: {error}"));
    Ok(match column.data_type() {
        DataType::Null => Parameter::Null,
        DataType::Boolean => Parameter::Boolean(column.as_boolean().value(0)),
        DataType::UInt64 => Parameter::Integer(column.as_primitive::<UInt64Type>().value(0).into()),
        kind if kind.is_integer() => {
            let number = read(&DataType::Int64)?;
            Parameter::Integer(number.as_primitive::<Int64Type>().value(0).into())
        }
        kind if kind.is_floating() => {
            let number = read(&DataType::Float64)?;
            let number = number.as_primitive::<Float64Type>().value(0);
            match number.is_finite() {
                true => Parameter::Float(number),
                false => return Err("is no finite number".to_string()),
            }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let text = read(&DataType::Utf8)?;
            Parameter::Text(text.as_string::<i32>().value(0).to_string())
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => {
            let bytes = read(&DataType::Binary)?;
            Parameter::Bytes(bytes.as_binary::<i32>().value(0).to_vec())
        }
        DataType::Timestamp(..) => Parameter::Timestamp(text()?),
        DataType::Date32 | DataType::Date64 => {
            let date = read(&DataType::Date32)?;
            let date = array_value_to_string(&date, 0);
            Parameter::Date(date.map_err(|error| format!("cannot be read: {error}"))?)
        }
        other => return Err(format!("has the type {other}, which no value has here")),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Date32Array, Float32Array, Int8Array, ListArray, StringArray};

    use super::*;

    #[test]
    fn values_keep_their_types() {
        let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        for (column, expected) in [
            (null, Parameter::Null),
            (
                Arc::new(Int8Array::from(vec![-3])) as ArrayRef,
                Parameter::Integer(-3),
            ),
            (
                Arc::new(Float32Array::from(vec![0.5])),
                Parameter::Float(0.5),
            ),
            (
                Arc::new(StringArray::from(vec!["a'b"])),
                Parameter::Text("a'b".into()),
            ),
            (
                Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])),
                Parameter::Bytes(vec![0, 255]),
            ),
            (
                Arc::new(Date32Array::from(vec![1])),
                Parameter::Date("1970-01-02".into()),
            ),
        ] {
            assert_eq!(value(&column), Ok(expected));
        }
        assert!(value(&(Arc::new(Float32Array::from(vec![f32::NAN])) as ArrayRef)).is_err());
        let list =
            ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>([Some([Some(1)])]);
        assert!(value(&(Arc::new(list) as ArrayRef)).is_err());
    }
}
