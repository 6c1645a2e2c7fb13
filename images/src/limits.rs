//! What one image may cost.

use std::time::Duration;

use crate::error::ImageError;

/// Bytes of the widest common pixel: four channels of 16 bits.
const WIDEST_PIXEL: u64 = 8;

/// Bounds on images, checked before the memory or the time is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest encoded image in bytes; 64 MiB by default.
    pub max_bytes: u64,
    /// Largest image in pixels, by its header; 100 million by default. That is more than any camera but a few
    /// medium-format ones gives and near Pillow's own warning (89 million), and its RGB pixels take 300 MB. While it is decoded
    /// an image takes at most 16 bytes for each pixel of the limit: twice the 8 that a pixel with alpha in 16 bits has. Of
    /// images with deeper pixels (floating point) accordingly fewer are allowed. So one hostile image cannot exhaust a small
    /// machine.
    pub max_pixels: u64,
    /// Bytes that all images together may take while they are decoded by one [pool](crate::DecodePool); 1 GiB by default, which is
    /// enough for 100 million pixels with alpha in 16 bits. What an image takes is known from its header, and it waits until as much
    /// is free; one that takes more alone is refused. What the system's allocator keeps to use again comes on top, some 64 MB a thread.
    pub max_memory: u64,
    /// Longest fetch and, separately, longest decoding of one image; 30 s by default.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_bytes: 64 << 20,
            max_pixels: 100_000_000,
            max_memory: 1 << 30,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<(), ImageError> {
        let size = bytes.len() as u64;
        if size == 0 {
            return Err(ImageError::Empty);
        }
        if size > self.max_bytes {
            return Err(ImageError::TooManyBytes {
                size,
                limit: self.max_bytes,
            });
        }
        Ok(())
    }

    pub(crate) fn check_pixels(&self, width: u32, height: u32) -> Result<(), ImageError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(ImageError::TooManyPixels {
                width,
                height,
                limit: self.max_pixels,
            });
        }
        Ok(())
    }

    /// As [`Limits::check_pixels`], for pixels of more than [`WIDEST_PIXEL`] bytes.
    pub(crate) fn check_samples(
        &self,
        width: u32,
        height: u32,
        bytes_per_pixel: u8,
    ) -> Result<(), ImageError> {
        let pixels = u64::from(width) * u64::from(height);
        let limit = self.max_pixels.saturating_mul(WIDEST_PIXEL)
            / u64::from(bytes_per_pixel).max(WIDEST_PIXEL);
        if pixels > limit {
            return Err(ImageError::TooManyPixels {
                width,
                height,
                limit,
            });
        }
        Ok(())
    }
}
