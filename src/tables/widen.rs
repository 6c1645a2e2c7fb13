//! The type that holds the values of two types without losing any.
//!
//! Files of one table are written by different programs, or by one program on different days: what is INT32 in one is INT64
//! in the next, a text a dictionary, a column without values has no type at all. Pure rules over types; what is no wider form
//! of the same kind of value (a number and a text, a time with and without a zone) has no common type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};

use super::numbers::numbers;

/// How the values of a file become a column's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// They have the file's type and are cast.
    Typed,
    /// They are JSON, in which a number is a number.
    Json,
    /// They are text that is read as the column's type, so that the type is a guess from the values of each file.
    Text,
}

/// The type that holds the values of both, `a`'s way of writing it where there are several; `None` where there is none.
pub(super) fn widened(a: &DataType, b: &DataType, values: Values) -> Option<DataType> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (DataType::Null, other) | (other, DataType::Null) => return Some(other.clone()),
        (DataType::Dictionary(_, a), DataType::Dictionary(_, b)) => return widened(a, b, values),
        (DataType::Dictionary(_, a), b) => return widened(a, b, values),
        (a, DataType::Dictionary(_, b)) => return widened(a, b, values),
        (DataType::Struct(a), DataType::Struct(b)) => {
            return fields(a, b, values).map(DataType::Struct);
        }
        (DataType::Map(a, sorted), DataType::Map(b, also)) if sorted == also => {
            return map(a, b, values).map(|entries| DataType::Map(entries, *sorted));
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (element(a), element(b)) {
        return list(a, b, values);
    }
    texts(a, b)
        .or_else(|| bytes(a, b))
        .or_else(|| numbers(a, b))
        .or_else(|| times(a, b))
        .or_else(|| match values {
            Values::Typed => None,
            Values::Json => any_number(a, b),
            Values::Text => any_number(a, b).or_else(|| guessed(a, b)),
        })
}

/// The fields of both structs: those of `a` in its order, then what only `b` has. Names are what makes two fields one.
fn fields(a: &Fields, b: &Fields, values: Values) -> Option<Fields> {
    // A struct that shares no field with another is another thing.
    if !a.iter().any(|ours| b.find(ours.name()).is_some()) {
        return None;
    }
    let mut all: Vec<FieldRef> = Vec::with_capacity(a.len());
    for ours in a {
        all.push(match b.find(ours.name()) {
            Some((_, theirs)) => field(ours, theirs, values)?,
            None => Arc::new(ours.as_ref().clone().with_nullable(true)),
        });
    }
    for theirs in b {
        if a.find(theirs.name()).is_none() {
            all.push(Arc::new(theirs.as_ref().clone().with_nullable(true)));
        }
    }
    Some(all.into())
}

/// Keys and values of both, named as in `a`: what programs call the parts of a map differs and means nothing.
fn map(a: &FieldRef, b: &FieldRef, values: Values) -> Option<FieldRef> {
    let (DataType::Struct(ours), DataType::Struct(theirs)) = (a.data_type(), b.data_type()) else {
        return None;
    };
    let parts = ours.iter().zip(theirs);
    if ours.len() != theirs.len() || parts.clone().any(|(a, b)| has_other_structs(a, b)) {
        return None;
    }
    let parts: Fields = parts
        .map(|(a, b)| field(a, b, values))
        .collect::<Option<_>>()?;
    Some(Arc::new(
        a.as_ref().clone().with_data_type(DataType::Struct(parts)),
    ))
}

/// Whether a struct somewhere in the one has other fields in the other. Arrow's own cast, which is all there is for maps and from one
/// kind of list to another, cannot make one of the other.
fn has_other_structs(a: &FieldRef, b: &FieldRef) -> bool {
    let names = |field: &FieldRef| {
        let mut all = Vec::new();
        struct_names(field.data_type(), 0, &mut all);
        all
    };
    names(a) != names(b)
}

/// The names of all structs' fields inside a type, each with its depth.
fn struct_names(data_type: &DataType, depth: usize, into: &mut Vec<(usize, String)>) {
    match data_type {
        DataType::Struct(fields) => {
            for field in fields {
                into.push((depth, field.name().clone()));
                struct_names(field.data_type(), depth + 1, into);
            }
        }
        other => {
            if let Some((element, ..)) = element(other) {
                struct_names(element.data_type(), depth + 1, into);
            }
        }
    }
}

/// `a` with a type for both.
pub(super) fn field(a: &FieldRef, b: &FieldRef, values: Values) -> Option<FieldRef> {
    if a == b {
        return Some(Arc::clone(a));
    }
    let data_type = widened(a.data_type(), b.data_type(), values)?;
    let nullable = a.is_nullable()
        || b.is_nullable()
        || [a, b].iter().any(|field| field.data_type().is_null());
    Some(Arc::new(
        Field::new(a.name(), data_type, nullable).with_metadata(a.metadata().clone()),
    ))
}

/// What a list is made of, with whether its offsets are 64 bits wide and its length where that is fixed.
fn element(data_type: &DataType) -> Option<(&FieldRef, bool, Option<i32>)> {
    match data_type {
        DataType::List(element) | DataType::ListView(element) => Some((element, false, None)),
        DataType::LargeList(element) | DataType::LargeListView(element) => {
            Some((element, true, None))
        }
        DataType::FixedSizeList(element, length) => Some((element, false, Some(*length))),
        _ => None,
    }
}

fn list(
    (a, a_large, a_length): (&FieldRef, bool, Option<i32>),
    (b, b_large, b_length): (&FieldRef, bool, Option<i32>),
    values: Values,
) -> Option<DataType> {
    let element = field(a, b, values)?;
    if (a_large, a_length) != (b_large, b_length) && has_other_structs(a, b) {
        return None;
    }
    if let (Some(length), true) = (a_length, a_length == b_length) {
        return Some(DataType::FixedSizeList(element, length));
    }
    Some(match a_large || b_large {
        true => DataType::LargeList(element),
        false => DataType::List(element),
    })
}

fn texts(a: &DataType, b: &DataType) -> Option<DataType> {
    let text = picsift_udf::is_string;
    (text(a) && text(b)).then(|| match [a, b].contains(&&DataType::LargeUtf8) {
        true => DataType::LargeUtf8,
        false => DataType::Utf8,
    })
}

fn bytes(a: &DataType, b: &DataType) -> Option<DataType> {
    let bytes =
        |t: &DataType| picsift_udf::is_binary(t) || matches!(t, DataType::FixedSizeBinary(_));
    (bytes(a) && bytes(b)).then(|| match [a, b].contains(&&DataType::LargeBinary) {
        true => DataType::LargeBinary,
        false => DataType::Binary,
    })
}

fn times(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::{Date32, Date64, Duration, Time32, Time64, Timestamp};
    Some(match (a, b) {
        (Timestamp(a_unit, a_zone), Timestamp(b_unit, b_zone)) => {
            let zone = match (a_zone, b_zone) {
                (None, None) => None,
                (Some(a), Some(b)) if a == b || (is_utc(a) && is_utc(b)) => Some(Arc::clone(a)),
                _ => return None,
            };
            Timestamp(finer(*a_unit, *b_unit), zone)
        }
        (Duration(a), Duration(b)) => Duration(finer(*a, *b)),
        (Date32 | Date64, Date32 | Date64) => Date64,
        (Time32(a) | Time64(a), Time32(b) | Time64(b)) => match finer(*a, *b) {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Time32(unit),
            unit => Time64(unit),
        },
        _ => return None,
    })
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Etc/UTC" | "Z" | "+00:00" | "+0000" | "+00")
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    std::cmp::max_by_key(a, b, rank)
}

/// The type as which whole numbers and others are read alike.
fn any_number(a: &DataType, b: &DataType) -> Option<DataType> {
    let is_number = |t: &DataType| t.is_integer() || t.is_floating();
    (is_number(a) && is_number(b)).then_some(DataType::Float64)
}

/// The type as which text of both kinds is read.
fn guessed(a: &DataType, b: &DataType) -> Option<DataType> {
    if a.is_nested() || b.is_nested() {
        return None;
    }
    Some(match (a, b) {
        (DataType::Date32 | DataType::Date64, time @ DataType::Timestamp(_, None))
        | (time @ DataType::Timestamp(_, None), DataType::Date32 | DataType::Date64) => {
            time.clone()
        }
        _ => DataType::Utf8,
    })
}

#[cfg(test)]
mod tests {
    use DataType::*;

    use super::*;

    fn typed(a: DataType, b: DataType) -> Option<DataType> {
        let there = widened(&a, &b, Values::Typed);
        assert_eq!(there, widened(&b, &a, Values::Typed), "{a} and {b}");
        there
    }

    fn dictionary(key: DataType, value: DataType) -> DataType {
        Dictionary(Box::new(key), Box::new(value))
    }

    fn structure(fields: &[(&str, DataType)]) -> DataType {
        let field = |(name, t): &(&str, DataType)| Field::new(*name, t.clone(), false);
        Struct(fields.iter().map(field).collect())
    }

    #[test]
    fn every_layout_of_text_is_text_and_of_bytes_bytes() {
        assert_eq!(typed(Utf8, Utf8View), Some(Utf8));
        assert_eq!(typed(LargeUtf8, Utf8View), Some(LargeUtf8));
        assert_eq!(typed(Utf8, dictionary(Int8, Utf8)), Some(Utf8));
        let both = typed(dictionary(Int8, Utf8), dictionary(Int32, LargeUtf8));
        assert_eq!(both, Some(LargeUtf8));
        assert_eq!(typed(BinaryView, LargeBinary), Some(LargeBinary));
        assert_eq!(typed(FixedSizeBinary(4), FixedSizeBinary(8)), Some(Binary));
        assert_eq!(typed(Utf8, Binary), None);
        assert_eq!(
            typed(Null, dictionary(Int8, Utf8)),
            Some(dictionary(Int8, Utf8))
        );
    }

    #[test]
    fn times_keep_the_finer_unit_and_never_gain_or_lose_a_zone() {
        use TimeUnit::*;
        let zoned = |unit, zone: &str| Timestamp(unit, Some(zone.into()));
        assert_eq!(
            typed(Timestamp(Second, None), Timestamp(Microsecond, None)),
            Some(Timestamp(Microsecond, None))
        );
        assert_eq!(typed(Timestamp(Second, None), zoned(Second, "UTC")), None);
        assert_eq!(
            typed(zoned(Second, "UTC"), zoned(Second, "Europe/Rome")),
            None
        );
        assert_eq!(
            widened(
                &zoned(Second, "UTC"),
                &zoned(Nanosecond, "+00:00"),
                Values::Typed
            ),
            Some(zoned(Nanosecond, "UTC"))
        );
        assert_eq!(typed(Date32, Date64), Some(Date64));
        assert_eq!(typed(Date32, Timestamp(Second, None)), None);
        assert_eq!(
            typed(Time32(Second), Time64(Nanosecond)),
            Some(Time64(Nanosecond))
        );
    }

    #[test]
    fn fields_of_structs_are_one_by_their_names() {
        let a = structure(&[("bytes", Binary), ("path", Null)]);
        let b = structure(&[("size", Int32), ("path", Utf8), ("bytes", LargeBinary)]);
        let Some(Struct(both)) = widened(&a, &b, Values::Typed) else {
            panic!("no common type");
        };
        let fields: Vec<_> = both
            .iter()
            .map(|f| (f.name().as_str(), f.data_type().clone(), f.is_nullable()))
            .collect();
        assert_eq!(
            fields,
            [
                ("bytes", LargeBinary, false),
                ("path", Utf8, true),
                ("size", Int32, true)
            ]
        );
        assert_eq!(
            typed(structure(&[("a", Int8)]), structure(&[("b", Int8)])),
            None
        );
        assert_eq!(typed(a, Utf8), None);
    }

    #[test]
    fn lists_hold_the_elements_of_both() {
        let item = |t| Arc::new(Field::new("item", t, true));
        assert_eq!(
            typed(List(item(Int32)), LargeList(item(Int64))),
            Some(LargeList(item(Int64)))
        );
        assert_eq!(
            typed(
                FixedSizeList(item(Float32), 2),
                FixedSizeList(item(Float32), 3)
            ),
            Some(List(item(Float32)))
        );
        let (one, two) = (
            structure(&[("a", Int8)]),
            structure(&[("a", Int8), ("b", Int8)]),
        );
        assert!(typed(List(item(one.clone())), List(item(two.clone()))).is_some());
        // Arrow's own cast between kinds of lists knows fields by their place.
        assert_eq!(typed(List(item(one)), LargeList(item(two))), None);
    }

    #[test]
    fn maps_are_joined_whatever_their_parts_are_called() {
        let map = |names: [&str; 3], value| {
            let entries = structure(&[(names[1], Utf8), (names[2], value)]);
            Map(Arc::new(Field::new(names[0], entries, false)), false)
        };
        let ours = map(["entries", "key", "value"], Int32);
        let theirs = map(["key_value", "keys", "values"], Int64);
        let both = map(["entries", "key", "value"], Int64);
        assert_eq!(widened(&ours, &theirs, Values::Typed), Some(both));
    }

    #[test]
    fn text_is_read_as_what_both_files_look_like() {
        let text = |a, b| widened(&a, &b, Values::Text);
        assert_eq!(text(Int64, Float64), Some(Float64));
        assert_eq!(text(Int64, Utf8), Some(Utf8));
        assert_eq!(text(Boolean, Int64), Some(Utf8));
        let time = Timestamp(TimeUnit::Second, None);
        assert_eq!(text(Date32, time.clone()), Some(time));
        assert_eq!(widened(&Int64, &Float64, Values::Json), Some(Float64));
        assert_eq!(widened(&Int64, &Utf8, Values::Json), None);
    }
}
