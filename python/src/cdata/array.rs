//! Columns across the border: their buffers are shared, not copied.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, BufferSpec, DataTypeLayout, RecordBatch, RecordBatchOptions, StructArray,
    layout,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{DataType, SchemaRef};

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
    let whole = Import {
        owner: &owner,
        array: &owner,
        data_type: &data_type,
    };
    let rows = StructArray::from(whole.data()?);
    if rows.null_count() > 0 {
        return Err(BorderError::new(
            "whole rows of the table are NULL, which no table has",
        ));
    }
    let (length, columns) = (rows.len(), rows.columns().to_vec());
    let options = RecordBatchOptions::new().with_row_count(Some(length));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| BorderError::new(error.to_string()))
}

/// An array that somebody else made, of which [`import`]'s caller promises that it is as its numbers say.
struct Import<'a> {
    /// What all of its buffers are released with.
    owner: &'a Arc<CArray>,
    array: &'a CArray,
    data_type: &'a DataType,
}

impl Import<'_> {
    fn data(&self) -> Result<ArrayData, BorderError> {
        let (length, offset) = (self.size(self.array.length)?, self.size(self.array.offset)?);
        let slots = offset + length;
        let layout = layout(self.data_type);
        let masked = usize::from(layout.can_contain_null_mask);
        let count = self.size(self.array.n_buffers)?;
        let fixed = masked + layout.buffers.len() + usize::from(layout.variadic);
        // Some write a validity buffer where the type has none; nobody reads it.
        if count < fixed {
            return Err(self.wrong(&format!("it has {count} buffers, not {fixed}")));
        }
        if count > 0 && self.array.buffers.is_null() {
            return Err(self.wrong("its buffers are missing"));
        }
        let nulls = match masked == 1 && !self.pointer(0).is_null() {
            true if self.array.null_count != 0 => Some(self.shared(0, slots.div_ceil(8))?),
            _ => None,
        };
        let mut buffers = self.buffers(&layout, slots)?;
        if layout.variadic {
            buffers.extend(self.variadic(masked + layout.buffers.len(), count - 1)?);
        }
        let children = self.children()?;
        // SAFETY: as the interface has it, which is what the caller of `import` promises; sizes are checked below.
        let mut data = unsafe {
            ArrayData::new_unchecked(
                self.data_type.clone(),
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
        data.validate()
            .map_err(|error| self.wrong(&error.to_string()))?;
        Ok(data)
    }

    /// The buffers that every array of its type has, without that of NULLs.
    fn buffers(&self, layout: &DataTypeLayout, slots: usize) -> Result<Vec<Buffer>, BorderError> {
        let masked = usize::from(layout.can_contain_null_mask);
        let mut buffers = Vec::with_capacity(layout.buffers.len());
        for (place, spec) in layout.buffers.iter().enumerate() {
            let offsets = place == 0 && self.has_offsets();
            let bytes = match spec {
                // One offset is always there in Rust, and need not be elsewhere.
                _ if offsets && slots == 0 => {
                    buffers.push(Buffer::from_vec(vec![0_i64]));
                    continue;
                }
                BufferSpec::AlwaysNull => continue,
                BufferSpec::BitMap => slots.div_ceil(8),
                BufferSpec::FixedWidth { byte_width, .. } => {
                    (slots + usize::from(offsets)) * byte_width
                }
                BufferSpec::VariableWidth => match buffers.last() {
                    Some(offsets) if slots > 0 => self.size(self.last_offset(offsets))?,
                    _ => 0,
                },
            };
            buffers.push(self.shared(masked + place, bytes)?);
        }
        Ok(buffers)
    }

    /// The last of so many offsets, at least one.
    fn last_offset(&self, offsets: &Buffer) -> i64 {
        let wide = matches!(self.data_type, DataType::LargeUtf8 | DataType::LargeBinary);
        let width = if wide {
            size_of::<i64>()
        } else {
            size_of::<i32>()
        };
        // SAFETY: it is within the buffer, and read wherever it lies.
        unsafe {
            let last = offsets.as_ptr().add(offsets.len() - width);
            match wide {
                true => last.cast::<i64>().read_unaligned(),
                false => i64::from(last.cast::<i32>().read_unaligned()),
            }
        }
    }

    /// The buffers of a view from this place on, whose lengths stand in the buffer at `lengths`.
    fn variadic(&self, from: usize, lengths: usize) -> Result<Vec<Buffer>, BorderError> {
        let numbers = self.pointer(lengths).cast::<i64>();
        if numbers.is_null() && from < lengths {
            return Err(self.wrong("the lengths of its buffers are missing"));
        }
        let buffers = (from..lengths).map(|place| {
            // SAFETY: it has the length of each buffer after the views.
            let bytes = unsafe { numbers.add(place - from).read_unaligned() };
            self.shared(place, self.size(bytes)?)
        });
        buffers.collect()
    }

    /// Where a buffer begins, of those that there are.
    fn pointer(&self, place: usize) -> *const u8 {
        // SAFETY: the place is one of `n_buffers`.
        unsafe { *self.array.buffers.add(place) }.cast::<u8>()
    }

    /// A buffer of so many bytes, which is not copied.
    fn shared(&self, place: usize, bytes: usize) -> Result<Buffer, BorderError> {
        if bytes == 0 {
            // Where nothing is in it, it may lead anywhere.
            return Ok(Buffer::from_vec(Vec::<u64>::new()));
        }
        let start = NonNull::new(self.pointer(place).cast_mut());
        let start = start.ok_or_else(|| self.wrong("a buffer is missing"))?;
        let owner = Arc::clone(self.owner);
        // SAFETY: the producer has so many bytes there, for as long as the owner lives.
        Ok(unsafe { Buffer::from_custom_allocation(start, bytes, owner) })
    }

    fn size(&self, number: i64) -> Result<usize, BorderError> {
        usize::try_from(number).map_err(|_| self.wrong("a size is negative"))
    }

    fn wrong(&self, what: &str) -> BorderError {
        BorderError::new(format!(
            "an array of {} is not as Arrow's C interface has it: {what}",
            self.data_type
        ))
    }

    /// Whether its first buffer has one number more than it has slots.
    fn has_offsets(&self) -> bool {
        matches!(
            self.data_type,
            DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Binary
                | DataType::LargeBinary
                | DataType::List(_)
                | DataType::LargeList(_)
                | DataType::Map(..)
        )
    }

    fn children(&self) -> Result<Vec<ArrayData>, BorderError> {
        let types = child_types(self.data_type);
        let missing = || self.wrong("the array of its values is missing");
        let child = |array: *const CArray, data_type| {
            // SAFETY: it is there for as long as the owner lives.
            let array = unsafe { array.as_ref() }.ok_or_else(missing)?;
            let child = Import {
                owner: self.owner,
                array,
                data_type,
            };
            child.data()
        };
        if let DataType::Dictionary(_, values) = self.data_type {
            return Ok(vec![child(self.array.dictionary, values)?]);
        }
        let there = self.size(self.array.n_children)?;
        if there != types.len() || (self.array.children.is_null() && there > 0) {
            return Err(missing());
        }
        let types = types.into_iter().enumerate();
        let children = types.map(|(place, data_type)| {
            // SAFETY: there are as many children as types.
            child(unsafe { *self.array.children.add(place) }, data_type)
        });
        children.collect()
    }
}

/// The types of an array's children, in their order.
fn child_types(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}
