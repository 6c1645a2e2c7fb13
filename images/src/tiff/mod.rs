//! TIFF, the first picture of a file: every layout that common programs write, and by name what is refused.
//!
//! The crate `tiff` stops where it opens a picture with a palette, luma and chroma, grey with alpha, or tiles of single planes, and passes
//! over the order of bits and what alpha means, so that only the codecs are of libraries: weezl, flate2, zstd, the code words of
//! `fax`, and the JPEG decoder of this crate. Each tag that changes pixels is honoured or refused.

mod chunk;
mod directory;
mod fax;
mod jpeg;
mod luma;
mod picture;
mod pixels;
mod tags;

use crate::error::ImageError;

pub(crate) use picture::Picture;

const FORMAT: &str = "TIFF";

fn truncated(bytes: &[u8]) -> ImageError {
    ImageError::Truncated {
        format: FORMAT,
        size: bytes.len() as u64,
        source: None,
    }
}

fn corrupt(reason: &str) -> ImageError {
    ImageError::Corrupt {
        format: FORMAT,
        reason: reason.to_owned(),
        source: None,
    }
}
