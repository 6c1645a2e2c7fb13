//! Rows that are all there, as a table for others and as values of Python.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict, PyList, PyModule, PyTuple};

use crate::cdata::stream::{Ready, capsule};
use crate::errors::{Kind, raise};

/// Rows of one schema; `pyarrow.table(...)`, `polars.from_arrow(...)` and others take it as it is.
#[pyclass(frozen, module = "picsift._picsift")]
pub(crate) struct Batches {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

#[pymethods]
impl Batches {
    /// The rows in the form in which libraries of Python exchange them.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // Whoever wants other types casts; the interface leaves it to us.
        drop(requested_schema);
        let rows = Ready {
            schema: Arc::clone(&self.schema),
            batches: self.batches.clone().into_iter(),
        };
        capsule(py, rows)
    }

    /// How many rows there are.
    fn __len__(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The names of the columns.
    fn columns(&self) -> Vec<String> {
        let fields = self.schema.fields().iter();
        fields.map(|field| field.name().clone()).collect()
    }

    /// The rows as tuples.
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let all = PyList::empty(py);
        let values = Values::new(py)?;
        for batch in &self.batches {
            let columns = batch.columns().iter().map(|column| values.column(column));
            let mut columns = columns
                .map(|column| Ok(column?.into_iter()))
                .collect::<PyResult<Vec<_>>>()?;
            for _ in 0..batch.num_rows() {
                let row = columns.iter_mut().filter_map(Iterator::next);
                all.append(PyTuple::new(py, row.collect::<Vec<_>>())?)?;
            }
        }
        Ok(all)
    }

    /// The rows as a table of text.
    fn text(&self) -> PyResult<String> {
        let text = pretty_format_batches(&self.batches);
        text.map(|text| text.to_string())
            .map_err(|error| raise(Kind::Error, error.to_string()))
    }
}

/// Makes values of Python: numbers, texts, bytes, dates and times as `datetime`, decimals as `Decimal`, lists and dicts; what has no
/// type there is its text.
struct Values<'py> {
    py: Python<'py>,
    datetime: Bound<'py, PyModule>,
    decimal: Bound<'py, PyAny>,
}

type Column<'py> = Vec<Bound<'py, PyAny>>;

/// Each value of a column by this function of its place; NULL is `None`.
macro_rules! each {
    ($self:ident, $column:expr, $value:expr) => {{
        let column = $column;
        let value = $value;
        (0..column.len())
            .map(|row| match column.is_null(row) {
                true => Ok($self.py.None().into_bound($self.py)),
                false => value(row)?.into_bound_py_any($self.py),
            })
            .collect::<PyResult<Column<'py>>>()
    }};
}

macro_rules! numbers {
    ($self:ident, $column:expr, $kind:ty) => {{
        let numbers = $column.as_primitive::<$kind>();
        each!($self, numbers, |row| PyResult::Ok(numbers.value(row)))
    }};
}

impl<'py> Values<'py> {
    fn new(py: Python<'py>) -> PyResult<Self> {
        Ok(Self {
            py,
            datetime: PyModule::import(py, "datetime")?,
            decimal: PyModule::import(py, "decimal")?.getattr("Decimal")?,
        })
    }

    fn column(&self, column: &ArrayRef) -> PyResult<Column<'py>> {
        match column.data_type() {
            DataType::Null => Ok(vec![self.py.None().into_bound(self.py); column.len()]),
            DataType::Boolean => {
                let flags = column.as_boolean();
                each!(self, flags, |row| PyResult::Ok(flags.value(row)))
            }
            DataType::Int8 => numbers!(self, column, Int8Type),
            DataType::Int16 => numbers!(self, column, Int16Type),
            DataType::Int32 => numbers!(self, column, Int32Type),
            DataType::Int64 => numbers!(self, column, Int64Type),
            DataType::UInt8 => numbers!(self, column, UInt8Type),
            DataType::UInt16 => numbers!(self, column, UInt16Type),
            DataType::UInt32 => numbers!(self, column, UInt32Type),
            DataType::UInt64 => numbers!(self, column, UInt64Type),
            DataType::Float16 => {
                let halves = column.as_primitive::<Float16Type>();
                each!(self, halves, |row| PyResult::Ok(f32::from(
                    halves.value(row)
                )))
            }
            DataType::Float32 => numbers!(self, column, Float32Type),
            DataType::Float64 => numbers!(self, column, Float64Type),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let texts = self.cast(column, &DataType::LargeUtf8)?;
                let texts = texts.as_string::<i64>();
                each!(self, texts, |row| PyResult::Ok(texts.value(row)))
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                let bytes = self.cast(column, &DataType::LargeBinary)?;
                let bytes = bytes.as_binary::<i64>();
                each!(self, bytes, |row| PyResult::Ok(PyBytes::new(
                    self.py,
                    bytes.value(row)
                )))
            }
            DataType::Decimal32(digits, scale) => {
                let numbers = column.as_primitive::<Decimal32Type>();
                each!(self, numbers, |row| self.decimal(
                    Decimal32Type::format_decimal(numbers.value(row), *digits, *scale)
                ))
            }
            DataType::Decimal64(digits, scale) => {
                let numbers = column.as_primitive::<Decimal64Type>();
                each!(self, numbers, |row| self.decimal(
                    Decimal64Type::format_decimal(numbers.value(row), *digits, *scale)
                ))
            }
            DataType::Decimal128(digits, scale) => {
                let numbers = column.as_primitive::<Decimal128Type>();
                each!(self, numbers, |row| self.decimal(
                    Decimal128Type::format_decimal(numbers.value(row), *digits, *scale)
                ))
            }
            DataType::Decimal256(digits, scale) => {
                let numbers = column.as_primitive::<Decimal256Type>();
                each!(self, numbers, |row| self.decimal(
                    Decimal256Type::format_decimal(numbers.value(row), *digits, *scale)
                ))
            }
            DataType::Date32 | DataType::Date64 => self.dates(column),
            DataType::Timestamp(_, zone) => self.timestamps(column, zone.as_deref()),
            DataType::Dictionary(_, values) => self.column(&self.cast(column, values)?),
            DataType::List(item) | DataType::ListView(item) => {
                let lists = self.cast(column, &DataType::List(Arc::clone(item)))?;
                let lists = lists.as_list::<i32>();
                each!(self, lists, |row| self.list(&lists.value(row)))
            }
            DataType::LargeList(item) | DataType::LargeListView(item) => {
                let lists = self.cast(column, &DataType::LargeList(Arc::clone(item)))?;
                let lists = lists.as_list::<i64>();
                each!(self, lists, |row| self.list(&lists.value(row)))
            }
            DataType::FixedSizeList(..) => {
                let lists = column.as_fixed_size_list();
                each!(self, lists, |row| self.list(&lists.value(row)))
            }
            DataType::Struct(_) => self.structs(column.as_struct()),
            DataType::Map(..) => {
                let maps = column.as_map();
                each!(self, maps, |row| {
                    let entries = maps.value(row);
                    let keys = self.column(entries.column(0))?;
                    let values = self.column(entries.column(1))?;
                    let map = PyDict::new(self.py);
                    for (key, value) in keys.into_iter().zip(values) {
                        map.set_item(key, value)?;
                    }
                    PyResult::Ok(map)
                })
            }
            _ => {
                let options = FormatOptions::default();
                let texts = ArrayFormatter::try_new(column, &options).map_err(unreadable)?;
                each!(self, column, |row| PyResult::Ok(
                    texts.value(row).to_string()
                ))
            }
        }
    }

    fn cast(&self, column: &ArrayRef, to: &DataType) -> PyResult<ArrayRef> {
        arrow::compute::cast(column, to).map_err(unreadable)
    }

    fn decimal(&self, text: String) -> PyResult<Bound<'py, PyAny>> {
        self.decimal.call1((text,))
    }

    fn list(&self, items: &ArrayRef) -> PyResult<Bound<'py, PyList>> {
        PyList::new(self.py, self.column(items)?)
    }

    fn structs(&self, structs: &StructArray) -> PyResult<Column<'py>> {
        let columns = structs.columns().iter().map(|part| self.column(part));
        let columns = columns.collect::<PyResult<Vec<_>>>()?;
        each!(self, structs, |row: usize| {
            let value = PyDict::new(self.py);
            for (field, column) in structs.fields().iter().zip(&columns) {
                value.set_item(field.name(), &column[row])?;
            }
            PyResult::Ok(value)
        })
    }

    fn dates(&self, column: &ArrayRef) -> PyResult<Column<'py>> {
        let days = self.cast(&self.cast(column, &DataType::Date32)?, &DataType::Int32)?;
        let days = days.as_primitive::<Int32Type>();
        let date = self.datetime.getattr("date")?;
        // 1970-01-01 as Python counts days.
        each!(self, days, |row| date.call_method1(
            "fromordinal",
            (i64::from(days.value(row)) + 719_163,)
        ))
    }

    fn timestamps(&self, column: &ArrayRef, zone: Option<&str>) -> PyResult<Column<'py>> {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let micros = self.cast(&self.cast(column, &micros)?, &DataType::Int64)?;
        let micros = micros.as_primitive::<Int64Type>();
        let utc = self.datetime.getattr("timezone")?.getattr("utc")?;
        let zone = match zone {
            None => None,
            Some("UTC" | "Z" | "+00:00") => Some(utc.clone()),
            Some(zone) => Some(
                match PyModule::import(self.py, "zoneinfo")?.call_method1("ZoneInfo", (zone,)) {
                    Ok(zone) => zone,
                    // An offset, or a zone that this machine does not know: the moment stays the same.
                    Err(_) => utc.clone(),
                },
            ),
        };
        let datetime = self.datetime.getattr("datetime")?;
        let epoch = datetime.call1((1970, 1, 1))?;
        let epoch = match &zone {
            None => epoch,
            Some(_) => datetime.call1((1970, 1, 1, 0, 0, 0, 0, &utc))?,
        };
        let delta = self.datetime.getattr("timedelta")?;
        each!(self, micros, |row| {
            let moment =
                epoch.call_method1("__add__", (delta.call1((0, 0, micros.value(row)))?,))?;
            match &zone {
                None => PyResult::Ok(moment),
                Some(zone) => moment.call_method1("astimezone", (zone,)),
            }
        })
    }
}

fn unreadable(error: arrow::error::ArrowError) -> PyErr {
    raise(Kind::Error, error.to_string())
}
