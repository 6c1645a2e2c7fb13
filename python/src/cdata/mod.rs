//! Arrow's C data interface: tables across the border without a copy.
//!
//! Owns the memory layout of the interface and who releases what. `arrow` has the same behind a feature with which every crate over
//! it, DataFusion among them, would be compiled once more beside the program's; only what the interface's text says is here, on
//! `arrow`'s own description of each type's buffers. Nothing of Python is known but the capsules ([`stream`]).

mod array;
mod schema;
pub(crate) mod stream;

use std::ffi::{c_char, c_void};
use std::ptr;

/// Why something does not cross the border.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BorderError(pub(crate) String);

impl BorderError {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// `struct ArrowSchema`.
#[repr(C)]
pub(crate) struct CSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut CSchema,
    dictionary: *mut CSchema,
    release: Option<unsafe extern "C" fn(*mut CSchema)>,
    private_data: *mut c_void,
}

/// `struct ArrowArray`.
#[repr(C)]
pub(crate) struct CArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut CArray,
    dictionary: *mut CArray,
    release: Option<unsafe extern "C" fn(*mut CArray)>,
    private_data: *mut c_void,
}

/// `struct ArrowArrayStream`.
#[repr(C)]
pub(crate) struct CStream {
    get_schema: Option<unsafe extern "C" fn(*mut CStream, *mut CSchema) -> i32>,
    get_next: Option<unsafe extern "C" fn(*mut CStream, *mut CArray) -> i32>,
    get_last_error: Option<unsafe extern "C" fn(*mut CStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut CStream)>,
    private_data: *mut c_void,
}

/// The three structures are moved by copying them and marking the original as released, and may be dropped in any thread.
macro_rules! movable {
    ($name:ident { $($field:ident: $empty:expr),* $(,)? }) => {
        impl $name {
            /// One that holds nothing.
            pub(crate) fn released() -> Self {
                Self { $($field: $empty),*, release: None, private_data: ptr::null_mut() }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: it is not released yet, and its producer said how it is.
                    unsafe { release(self) }
                }
            }
        }

        // SAFETY: the interface lets its structures be used from any thread, one at a time.
        unsafe impl Send for $name {}
    };
}

movable!(CSchema {
    format: ptr::null(),
    name: ptr::null(),
    metadata: ptr::null(),
    flags: 0,
    n_children: 0,
    children: ptr::null_mut(),
    dictionary: ptr::null_mut(),
});
movable!(CArray {
    length: 0,
    null_count: 0,
    offset: 0,
    n_buffers: 0,
    n_children: 0,
    buffers: ptr::null_mut(),
    children: ptr::null_mut(),
    dictionary: ptr::null_mut(),
});
movable!(CStream {
    get_schema: None,
    get_next: None,
    get_last_error: None,
});

// SAFETY: an imported array is only read once it is shared.
unsafe impl Sync for CArray {}
