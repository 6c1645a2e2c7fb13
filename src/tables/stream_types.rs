//! Types of the columns of an Arrow stream, looked at before a reader takes them: what is no type of Arrow's ends its thread.
//!
//! It knows the description of a stream only, none of its values.

use arrow::ipc::{
    DateUnit, Endianness, Field, Int, IntervalUnit, Precision, Schema, TimeUnit, Type,
};

/// Refuses a description of columns that a reader of Arrow would not take.
///
/// # Errors
/// A sentence without the file's name.
pub(super) fn check(schema: &Schema<'_>) -> Result<(), String> {
    if schema.endianness() != Endianness::Little {
        return Err(
            "its numbers begin with their highest byte, which is not read; save it as Parquet"
                .to_string(),
        );
    }
    let fields = schema.fields().ok_or("it names no columns")?;
    fields.iter().try_for_each(|field| check_field(&field))
}

fn check_field(field: &Field<'_>) -> Result<(), String> {
    let index = field.dictionary().map(|dictionary| dictionary.indexType());
    let has_index = index.is_none_or(|index| index.as_ref().is_some_and(is_number));
    if !has_index || !is_read(field) {
        return Err(format!(
            "its column '{}' has a type that is not read",
            field.name().unwrap_or_default()
        ));
    }
    let mut parts = field.children().into_iter().flatten();
    parts.try_for_each(|part| check_field(&part))
}

fn is_number(number: &Int<'_>) -> bool {
    matches!(number.bitWidth(), 8 | 16 | 32 | 64)
}

/// Whether a type is one of Arrow's and has what belongs to it.
fn is_read(field: &Field<'_>) -> bool {
    let parts = field.children().map_or(0, |parts| parts.len());
    let is_unit = |unit| {
        [
            TimeUnit::SECOND,
            TimeUnit::MILLISECOND,
            TimeUnit::MICROSECOND,
            TimeUnit::NANOSECOND,
        ]
        .contains(&unit)
    };
    match field.type_type() {
        Type::Null
        | Type::Bool
        | Type::Binary
        | Type::LargeBinary
        | Type::BinaryView
        | Type::Utf8
        | Type::LargeUtf8
        | Type::Utf8View
        | Type::Struct_ => true,
        Type::Int => field.type_as_int().as_ref().is_some_and(is_number),
        Type::FloatingPoint => field.type_as_floating_point().is_some_and(|number| {
            [Precision::HALF, Precision::SINGLE, Precision::DOUBLE].contains(&number.precision())
        }),
        Type::Decimal => field.type_as_decimal().is_some_and(|number| {
            let most = match number.bitWidth() {
                32 => 9,
                64 => 18,
                128 => 38,
                256 => 76,
                _ => 0,
            };
            (1..=most).contains(&number.precision()) && (-most..=most).contains(&number.scale())
        }),
        Type::FixedSizeBinary => field
            .type_as_fixed_size_binary()
            .is_some_and(|bytes| bytes.byteWidth() >= 0),
        Type::Date => field
            .type_as_date()
            .is_some_and(|date| [DateUnit::DAY, DateUnit::MILLISECOND].contains(&date.unit())),
        Type::Time => field.type_as_time().is_some_and(|time| {
            let (width, unit) = (time.bitWidth(), time.unit());
            let is_short = [TimeUnit::SECOND, TimeUnit::MILLISECOND].contains(&unit);
            is_unit(unit) && width == if is_short { 32 } else { 64 }
        }),
        Type::Timestamp => field
            .type_as_timestamp()
            .is_some_and(|time| is_unit(time.unit())),
        Type::Duration => field
            .type_as_duration()
            .is_some_and(|time| is_unit(time.unit())),
        Type::Interval => field.type_as_interval().is_some_and(|interval| {
            [
                IntervalUnit::YEAR_MONTH,
                IntervalUnit::DAY_TIME,
                IntervalUnit::MONTH_DAY_NANO,
            ]
            .contains(&interval.unit())
        }),
        Type::List | Type::LargeList | Type::ListView | Type::LargeListView => parts == 1,
        Type::FixedSizeList => {
            parts == 1
                && field
                    .type_as_fixed_size_list()
                    .is_some_and(|list| list.listSize() >= 0)
        }
        Type::Map => {
            let entries = field.children().and_then(|parts| parts.iter().next());
            let is_pair = entries.is_some_and(|entries| {
                entries.type_type() == Type::Struct_
                    && entries.children().is_some_and(|pair| pair.len() == 2)
            });
            parts == 1 && is_pair && field.type_as_map().is_some()
        }
        _ => false,
    }
}
