//! Types as the format strings of the interface, both ways.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode,
};

use super::{BorderError, CSchema};

const ORDERED: i64 = 1;
const NULLABLE: i64 = 2;
const KEYS_SORTED: i64 = 4;

/// Types whose format says all of them.
const PLAIN: [(&str, DataType); 36] = [
    ("n", DataType::Null),
    ("b", DataType::Boolean),
    ("c", DataType::Int8),
    ("C", DataType::UInt8),
    ("s", DataType::Int16),
    ("S", DataType::UInt16),
    ("i", DataType::Int32),
    ("I", DataType::UInt32),
    ("l", DataType::Int64),
    ("L", DataType::UInt64),
    ("e", DataType::Float16),
    ("f", DataType::Float32),
    ("g", DataType::Float64),
    ("z", DataType::Binary),
    ("Z", DataType::LargeBinary),
    ("vz", DataType::BinaryView),
    ("u", DataType::Utf8),
    ("U", DataType::LargeUtf8),
    ("vu", DataType::Utf8View),
    ("tdD", DataType::Date32),
    ("tdm", DataType::Date64),
    ("tts", DataType::Time32(TimeUnit::Second)),
    ("ttm", DataType::Time32(TimeUnit::Millisecond)),
    ("ttu", DataType::Time64(TimeUnit::Microsecond)),
    ("ttn", DataType::Time64(TimeUnit::Nanosecond)),
    ("tDs", DataType::Duration(TimeUnit::Second)),
    ("tDm", DataType::Duration(TimeUnit::Millisecond)),
    ("tDu", DataType::Duration(TimeUnit::Microsecond)),
    ("tDn", DataType::Duration(TimeUnit::Nanosecond)),
    ("tiM", DataType::Interval(IntervalUnit::YearMonth)),
    ("tiD", DataType::Interval(IntervalUnit::DayTime)),
    ("tin", DataType::Interval(IntervalUnit::MonthDayNano)),
    ("tss:", DataType::Timestamp(TimeUnit::Second, None)),
    ("tsm:", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ("tsu:", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("tsn:", DataType::Timestamp(TimeUnit::Nanosecond, None)),
];

/// What an exported schema owns.
struct Exported {
    format: CString,
    name: CString,
    metadata: Vec<u8>,
    children: Vec<*mut CSchema>,
    dictionary: *mut CSchema,
}

unsafe extern "C" fn release(schema: *mut CSchema) {
    // SAFETY: it was made by `exported`, and whoever calls this gives it up.
    unsafe {
        let exported = Box::from_raw((*schema).private_data.cast::<Exported>());
        for child in exported.children {
            drop(Box::from_raw(child));
        }
        if !exported.dictionary.is_null() {
            drop(Box::from_raw(exported.dictionary));
        }
        (*schema).release = None;
    }
}

/// The columns of a table, as the type of a struct.
pub(super) fn export(schema: &Schema) -> Result<CSchema, BorderError> {
    let data_type = DataType::Struct(schema.fields().clone());
    exported("", &data_type, 0, schema.metadata())
}

fn exported(
    name: &str,
    data_type: &DataType,
    flags: i64,
    metadata: &HashMap<String, String>,
) -> Result<CSchema, BorderError> {
    let text = |text: &str| {
        let text = CString::new(text);
        text.map_err(|_| BorderError::new(format!("the name '{name}' holds a NUL character")))
    };
    let nested: Vec<&FieldRef> = match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item],
        DataType::Struct(fields) => fields.iter().collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends, values],
        _ => Vec::new(),
    };
    let boxed = |schema| Box::into_raw(Box::new(schema));
    let format = text(&format(data_type)?)?;
    let name = text(name)?;
    let mut owned = Box::new(Exported {
        format,
        name,
        metadata: packed(metadata),
        children: Vec::with_capacity(nested.len()),
        dictionary: ptr::null_mut(),
    });
    // Filled in before anything can fail, so that what is made so far is released.
    let mut schema = CSchema::released();
    schema.format = owned.format.as_ptr();
    schema.name = owned.name.as_ptr();
    if !owned.metadata.is_empty() {
        schema.metadata = owned.metadata.as_ptr().cast::<c_char>();
    }
    schema.flags = flags;
    if let DataType::Map(_, true) = data_type {
        schema.flags |= KEYS_SORTED;
    }
    let made: Result<(), BorderError> = nested.iter().try_for_each(|field| {
        owned.children.push(boxed(of_field(field)?));
        Ok(())
    });
    let made = made.and_then(|()| {
        if let DataType::Dictionary(_, values) = data_type {
            owned.dictionary = boxed(exported("", values, NULLABLE, &HashMap::new())?);
        }
        Ok(())
    });
    schema.n_children = owned.children.len() as i64;
    schema.children = owned.children.as_mut_ptr();
    schema.dictionary = owned.dictionary;
    schema.private_data = Box::into_raw(owned).cast::<c_void>();
    schema.release = Some(release);
    made.map(|()| schema)
}

fn of_field(field: &Field) -> Result<CSchema, BorderError> {
    let mut flags = if field.is_nullable() { NULLABLE } else { 0 };
    if field.dict_is_ordered() == Some(true) {
        flags |= ORDERED;
    }
    exported(field.name(), field.data_type(), flags, field.metadata())
}

/// Keys and values with their lengths before them, as the interface has them; empty for none.
fn packed(metadata: &HashMap<String, String>) -> Vec<u8> {
    let mut packed = Vec::new();
    if metadata.is_empty() {
        return packed;
    }
    let number = |packed: &mut Vec<u8>, length: usize| {
        packed.extend((length as i32).to_ne_bytes());
    };
    number(&mut packed, metadata.len());
    for part in metadata.iter().flat_map(|(key, value)| [key, value]) {
        number(&mut packed, part.len());
        packed.extend(part.as_bytes());
    }
    packed
}

fn format(data_type: &DataType) -> Result<String, BorderError> {
    if let Some((format, _)) = PLAIN.iter().find(|(_, plain)| plain == data_type) {
        return Ok((*format).to_string());
    }
    Ok(match data_type {
        DataType::FixedSizeBinary(bytes) => format!("w:{bytes}"),
        DataType::FixedSizeList(_, items) => format!("+w:{items}"),
        DataType::Decimal32(digits, scale) => format!("d:{digits},{scale},32"),
        DataType::Decimal64(digits, scale) => format!("d:{digits},{scale},64"),
        DataType::Decimal128(digits, scale) => format!("d:{digits},{scale}"),
        DataType::Decimal256(digits, scale) => format!("d:{digits},{scale},256"),
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => 's',
                TimeUnit::Millisecond => 'm',
                TimeUnit::Microsecond => 'u',
                TimeUnit::Nanosecond => 'n',
            };
            format!("ts{unit}:{}", zone.as_deref().unwrap_or_default())
        }
        DataType::List(_) => "+l".to_string(),
        DataType::LargeList(_) => "+L".to_string(),
        DataType::ListView(_) => "+vl".to_string(),
        DataType::LargeListView(_) => "+vL".to_string(),
        DataType::Struct(_) => "+s".to_string(),
        DataType::Map(..) => "+m".to_string(),
        DataType::RunEndEncoded(..) => "+r".to_string(),
        DataType::Dictionary(keys, _) => format(keys)?,
        DataType::Union(fields, mode) => {
            let ids: Vec<_> = fields.iter().map(|(id, _)| id.to_string()).collect();
            let mode = match mode {
                UnionMode::Dense => "d",
                UnionMode::Sparse => "s",
            };
            format!("+u{mode}:{}", ids.join(","))
        }
        other => {
            return Err(BorderError::new(format!(
                "{other} has no form in Arrow's C interface"
            )));
        }
    })
}

/// The columns of a table that somebody else made.
///
/// # Errors
/// For a type that is not known, and for what is no table.
///
/// # Safety
/// `schema` must be as the interface has it.
pub(super) unsafe fn import(schema: &CSchema) -> Result<SchemaRef, BorderError> {
    // SAFETY: the caller's promise.
    let (data_type, metadata) = unsafe { (type_of(schema)?, metadata(schema)?) };
    match data_type {
        DataType::Struct(fields) => Ok(Arc::new(Schema::new_with_metadata(fields, metadata))),
        other => Err(BorderError::new(format!(
            "a table is wanted, which is a struct of columns; this is {other}"
        ))),
    }
}

/// A text of a schema.
///
/// # Safety
/// As [`import`].
unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, BorderError> {
    if text.is_null() {
        return Ok("");
    }
    // SAFETY: the interface ends its texts with NUL.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map_err(|_| BorderError::new(format!("the {what} of a column is not UTF-8")))
}

/// A child of a schema as a field.
///
/// # Safety
/// As [`import`].
unsafe fn child(schema: &CSchema, place: usize) -> Result<FieldRef, BorderError> {
    if place as i64 >= schema.n_children || schema.children.is_null() {
        return Err(BorderError::new(
            "a nested type lacks the type of its values",
        ));
    }
    // SAFETY: there are `n_children` of them.
    unsafe {
        let child = &**schema.children.add(place);
        let field = Field::new(
            text(child.name, "name")?,
            type_of(child)?,
            child.flags & NULLABLE != 0,
        )
        .with_dict_is_ordered(child.flags & ORDERED != 0)
        .with_metadata(metadata(child)?);
        Ok(Arc::new(field))
    }
}

/// # Safety
/// As [`import`].
unsafe fn type_of(schema: &CSchema) -> Result<DataType, BorderError> {
    // SAFETY: the caller's promise.
    unsafe {
        let format = text(schema.format, "type")?;
        let own = own_type(schema, format)?;
        match schema.dictionary.as_ref() {
            None => Ok(own),
            Some(values) => Ok(DataType::Dictionary(
                Box::new(own),
                Box::new(type_of(values)?),
            )),
        }
    }
}

/// # Safety
/// As [`import`].
unsafe fn own_type(schema: &CSchema, format: &str) -> Result<DataType, BorderError> {
    if let Some((_, plain)) = PLAIN.iter().find(|(known, _)| *known == format) {
        return Ok(plain.clone());
    }
    let unknown = || BorderError::new(format!("a column of the type '{format}' is not known here"));
    // SAFETY: the caller's promise.
    let nested = |place| unsafe { child(schema, place) };
    let fields = || (0..schema.n_children.max(0) as usize).map(nested);
    Ok(match format {
        "+l" => DataType::List(nested(0)?),
        "+L" => DataType::LargeList(nested(0)?),
        "+vl" => DataType::ListView(nested(0)?),
        "+vL" => DataType::LargeListView(nested(0)?),
        "+s" => DataType::Struct(fields().collect::<Result<_, _>>()?),
        "+m" => DataType::Map(nested(0)?, schema.flags & KEYS_SORTED != 0),
        "+r" => DataType::RunEndEncoded(nested(0)?, nested(1)?),
        _ => {
            let (kind, rest) = format.split_once(':').ok_or_else(unknown)?;
            let numbers = || -> Option<Vec<i32>> {
                rest.split(',').map(|number| number.parse().ok()).collect()
            };
            match (kind, numbers().as_deref()) {
                ("w", Some([bytes])) if *bytes >= 0 => DataType::FixedSizeBinary(*bytes),
                ("+w", Some([items])) if *items >= 0 => DataType::FixedSizeList(nested(0)?, *items),
                ("d", Some([digits, scale, bits @ ..])) if bits.len() < 2 => {
                    let digits = u8::try_from(*digits).map_err(|_| unknown())?;
                    let scale = i8::try_from(*scale).map_err(|_| unknown())?;
                    match bits {
                        [32] => DataType::Decimal32(digits, scale),
                        [64] => DataType::Decimal64(digits, scale),
                        [] | [128] => DataType::Decimal128(digits, scale),
                        [256] => DataType::Decimal256(digits, scale),
                        _ => return Err(unknown()),
                    }
                }
                ("+ud" | "+us", Some(ids)) => {
                    let ids: Option<Vec<i8>> = ids.iter().map(|id| (*id).try_into().ok()).collect();
                    let fields = fields().collect::<Result<Vec<_>, _>>()?;
                    let fields = UnionFields::try_new(ids.ok_or_else(unknown)?, fields);
                    let mode = match kind {
                        "+ud" => UnionMode::Dense,
                        _ => UnionMode::Sparse,
                    };
                    DataType::Union(fields.map_err(|_| unknown())?, mode)
                }
                ("tss" | "tsm" | "tsu" | "tsn", _) => {
                    let unit = match kind {
                        "tss" => TimeUnit::Second,
                        "tsm" => TimeUnit::Millisecond,
                        "tsu" => TimeUnit::Microsecond,
                        _ => TimeUnit::Nanosecond,
                    };
                    DataType::Timestamp(unit, Some(Arc::from(rest)))
                }
                _ => return Err(unknown()),
            }
        }
    })
}

/// # Safety
/// As [`import`].
unsafe fn metadata(schema: &CSchema) -> Result<HashMap<String, String>, BorderError> {
    let mut metadata = HashMap::new();
    if schema.metadata.is_null() {
        return Ok(metadata);
    }
    let wrong =
        || BorderError::new("the metadata of a column is not as Arrow's C interface has it");
    let mut at = schema.metadata.cast::<u8>();
    let number = |at: &mut *const u8| -> Result<usize, BorderError> {
        // SAFETY: the interface has a number here.
        let number = unsafe { at.cast::<i32>().read_unaligned() };
        // SAFETY: it is followed by what it counts, or by the end.
        *at = unsafe { at.add(size_of::<i32>()) };
        usize::try_from(number).map_err(|_| wrong())
    };
    for _ in 0..number(&mut at)? {
        let mut part = || -> Result<String, BorderError> {
            let length = number(&mut at)?;
            // SAFETY: so many bytes follow.
            let bytes = unsafe { std::slice::from_raw_parts(at, length) };
            // SAFETY: as before.
            at = unsafe { at.add(length) };
            String::from_utf8(bytes.to_vec()).map_err(|_| wrong())
        };
        let (key, value) = (part()?, part()?);
        metadata.insert(key, value);
    }
    Ok(metadata)
}
