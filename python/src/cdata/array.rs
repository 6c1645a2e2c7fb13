//! Columns across the border: their buffers are shared, not copied.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use arrow::array::{Array, ArrayData, BufferSpec, RecordBatch, StructArray, layout};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::{BorderError, CArray};

/// What an exported array owns.
struct Exported {
    _buffers: Vec<Option<Buffer>>,
    pointers: Vec<*const c_void>,
    children: Vec<*mut CArray>,
    dictionary: *mut CArray,
}

unsafe extern "C" fn release(array: *mut CArray) {
    // SAFETY: it was made by `exported`, and whoever calls this gives it up.
    unsafe {
        let exported = Box::from_raw((*array).private_data.cast::<Exported>());
        for child in exported.children {
            drop(Box::from_raw(child));
        }
        if !exported.dictionary.is_null() {
            drop(Box::from_raw(exported.dictionary));
        }
        (*array).release = None;
    }
}

/// The rows as an array of structs.
pub(super) fn export(batch: &RecordBatch) -> CArray {
    exported(&StructArray::from(batch.clone()).into_data())
}

fn exported(data: &ArrayData) -> CArray {
    let layout = layout(data.data_type());
    let mut buffers: Vec<Option<Buffer>> = Vec::new();
    if layout.can_contain_null_mask {
        buffers.push(validity(data.offset(), data.nulls()));
    }
    buffers.extend(data.buffers().iter().cloned().map(Some));
    if layout.variadic {
        let lengths = data.buffers().iter().skip(1);
        let lengths: Vec<i64> = lengths.map(|buffer| buffer.len() as i64).collect();
        buffers.push(Some(Buffer::from_vec(lengths)));
    }
    let pointers = buffers.iter().map(|buffer| match buffer {
        Some(buffer) => buffer.as_ptr().cast::<c_void>(),
        None => ptr::null(),
    });
    let boxed = |data: &ArrayData| Box::into_raw(Box::new(exported(data)));
    let (children, dictionary) = match data.data_type() {
        DataType::Dictionary(..) => (Vec::new(), boxed(&data.child_data()[0])),
        _ => (
            data.child_data().iter().map(boxed).collect(),
            ptr::null_mut(),
        ),
    };
    let mut owned = Box::new(Exported {
        pointers: pointers.collect(),
        _buffers: buffers,
        children,
        dictionary,
    });
    let null_count = match data.data_type() {
        DataType::Null => data.len(),
        _ => data.null_count(),
    };
    CArray {
        length: data.len() as i64,
        null_count: null_count as i64,
        offset: data.offset() as i64,
        n_buffers: owned.pointers.len() as i64,
        n_children: owned.children.len() as i64,
        buffers: owned.pointers.as_mut_ptr(),
        children: owned.children.as_mut_ptr(),
        dictionary,
        release: Some(release),
        private_data: Box::into_raw(owned).cast::<c_void>(),
    }
}

/// The bits of `nulls` from the array's offset on: the interface has one offset for all buffers.
fn validity(offset: usize, nulls: Option<&NullBuffer>) -> Option<Buffer> {
    let nulls = nulls?;
    if nulls.offset() == offset {
        return Some(nulls.buffer().clone());
    }
    let before = std::iter::repeat_n(true, offset);
    Some(
        before
            .chain(nulls.iter())
            .collect::<NullBuffer>()
            .buffer()
            .clone(),
    )
}

/// The rows of an array of structs that somebody else made, whose columns are those of `schema`.
///
/// # Errors
/// When it is not made as the interface has it.
///
/// # Safety
/// What its pointers lead to must be as its numbers say.
pub(super) unsafe fn import(array: CArray, schema: &SchemaRef) -> Result<RecordBatch, BorderError> {
    let data_type = DataType::Struct(schema.fields().clone());
    let owner = Arc::new(array);
    // SAFETY: the caller's promise.
    let data = unsafe { imported(&owner, &owner, &data_type)? };
    let rows = StructArray::from(data);
    if rows.null_count() > 0 {
        return Err(BorderError::new(
            "whole rows of the table are NULL, which no table has",
        ));
    }
    let (length, columns) = (rows.len(), rows.columns().to_vec());
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(length));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| BorderError::new(error.to_string()))
}

/// # Safety
/// As [`import`].
unsafe fn imported(
    owner: &Arc<CArray>,
    array: &CArray,
    data_type: &DataType,
) -> Result<ArrayData, BorderError> {
    let wrong = |what: &str| {
        BorderError::new(format!(
            "an array of {data_type} is not as Arrow's C interface has it: {what}"
        ))
    };
    let size = |number: i64| usize::try_from(number).map_err(|_| wrong("a size is negative"));
    let (length, offset) = (size(array.length)?, size(array.offset)?);
    let layout = layout(data_type);
    let masked = usize::from(layout.can_contain_null_mask);
    let count = size(array.n_buffers)?;
    let lengths = usize::from(layout.variadic);
    let fixed = masked + layout.buffers.len() + lengths;
    // Some write a validity buffer where the type has none; nobody reads it.
    if count < fixed {
        return Err(wrong(&format!("it has {count} buffers, not {fixed}")));
    }
    if count > 0 && array.buffers.is_null() {
        return Err(wrong("its buffers are missing"));
    }
    // SAFETY: there are `count` pointers.
    let pointer = |place: usize| unsafe { *array.buffers.add(place) }.cast::<u8>();
    let shared = |place: usize, bytes: usize| match NonNull::new(pointer(place).cast_mut()) {
        // Where nothing is in it, it may lead anywhere.
        _ if bytes == 0 => Ok(Buffer::from_vec(Vec::<u64>::new())),
        None => Err(wrong("a buffer is missing")),
        // SAFETY: the producer has so many bytes there, for as long as the owner lives.
        Some(start) => {
            Ok(unsafe { Buffer::from_custom_allocation(start, bytes, Arc::clone(owner) as _) })
        }
    };
    let slots = offset + length;
    let nulls = match masked == 1 && !pointer(0).is_null() && *data_type != DataType::Null {
        true if array.null_count != 0 => Some(shared(0, slots.div_ceil(8))?),
        _ => None,
    };
    let mut buffers = Vec::with_capacity(count);
    for (place, spec) in layout.buffers.iter().enumerate() {
        let bytes = match spec {
            BufferSpec::BitMap => slots.div_ceil(8),
            // Offsets: one more than slots, and none need be there without slots.
            BufferSpec::FixedWidth { byte_width, .. } if place == 0 && has_offsets(data_type) => {
                match slots {
                    0 => 0,
                    slots => (slots + 1) * byte_width,
                }
            }
            BufferSpec::FixedWidth { byte_width, .. } => slots * byte_width,
            BufferSpec::VariableWidth if layout.variadic => continue,
            BufferSpec::VariableWidth => {
                let offsets: &Buffer = &buffers[place - 1];
                let last = match data_type {
                    _ if offsets.is_empty() => 0,
                    DataType::LargeUtf8 | DataType::LargeBinary => {
                        let end = offsets.len() - size_of::<i64>();
                        // SAFETY: it is the last offset of those; it need not be aligned here.
                        unsafe { offsets.as_ptr().add(end).cast::<i64>().read_unaligned() }
                    }
                    _ => {
                        let end = offsets.len() - size_of::<i32>();
                        // SAFETY: as above.
                        i64::from(unsafe {
                            offsets.as_ptr().add(end).cast::<i32>().read_unaligned()
                        })
                    }
                };
                size(last)?
            }
            BufferSpec::AlwaysNull => continue,
        };
        let mut buffer = shared(masked + place, bytes)?;
        if bytes == 0 && place == 0 && has_offsets(data_type) {
            // One offset is always there in Rust.
            buffer = Buffer::from_vec(vec![0_i64]);
        }
        buffers.push(buffer);
    }
    if layout.variadic {
        let views = masked + layout.buffers.len();
        for place in views..count - 1 {
            let lengths = pointer(count - 1).cast::<i64>();
            if lengths.is_null() {
                return Err(wrong("the lengths of its buffers are missing"));
            }
            // SAFETY: it has the length of each buffer behind the views.
            let bytes = unsafe { lengths.add(place - views).read_unaligned() };
            buffers.push(shared(place, size(bytes)?)?);
        }
    }
    // SAFETY: the caller's promise.
    let children = unsafe { children(owner, array, data_type)? };
    // SAFETY: as the interface has it, which is what the caller promises; sizes are checked below.
    let mut data = unsafe {
        ArrayData::new_unchecked(
            data_type.clone(),
            length,
            None,
            nulls,
            offset,
            buffers,
            children,
        )
    };
    // Arrow's Rust side asks more of them than the interface; nothing happens to those that are aligned.
    data.align_buffers();
    data.validate().map_err(|error| wrong(&error.to_string()))?;
    Ok(data)
}

/// Whether an array's first buffer has one number more than the array has slots.
fn has_offsets(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::List(_)
            | DataType::LargeList(_)
            | DataType::Map(..)
    )
}

/// # Safety
/// As [`import`].
unsafe fn children(
    owner: &Arc<CArray>,
    array: &CArray,
    data_type: &DataType,
) -> Result<Vec<ArrayData>, BorderError> {
    let fields: Vec<&FieldRef> = match data_type {
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
    let missing = || {
        BorderError::new(format!(
            "an array of {data_type} lacks an array of its values"
        ))
    };
    if let DataType::Dictionary(_, values) = data_type {
        // SAFETY: the caller's promise.
        let dictionary = unsafe { array.dictionary.as_ref() }.ok_or_else(missing)?;
        // SAFETY: as above.
        return Ok(vec![unsafe { imported(owner, dictionary, values)? }]);
    }
    if array.n_children != fields.len() as i64 || (array.children.is_null() && !fields.is_empty()) {
        return Err(missing());
    }
    let fields = fields.into_iter().enumerate();
    let children = fields.map(|(place, field)| {
        // SAFETY: there are as many children as fields.
        let child = unsafe { (*array.children.add(place)).as_ref() }.ok_or_else(missing)?;
        // SAFETY: the caller's promise.
        unsafe { imported(owner, child, field.data_type()) }
    });
    children.collect()
}
