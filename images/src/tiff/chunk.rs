//! One strip or tile: compressed bytes to samples as they are stored, of a known size.

use std::io::Read;

use weezl::BitOrder;

use super::fax::{self, Coding};
use super::{FORMAT, corrupt, jpeg};
use crate::ImageError;

/// How the samples of a chunk are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Fax(Coding),
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
    Zstandard,
}

impl Compression {
    /// Of the number in the tag, and of the options of Group 3.
    pub(super) fn of(number: u64, fax_options: u64) -> Result<Compression, ImageError> {
        let name = match number {
            1 => return Ok(Compression::None),
            2 => return Ok(Compression::Fax(Coding::Aligned)),
            3 => {
                return Ok(Compression::Fax(Coding::Group3 {
                    two_dimensions: fax_options & 1 == 1,
                }));
            }
            4 => return Ok(Compression::Fax(Coding::Group4)),
            5 => return Ok(Compression::Lzw),
            7 => return Ok(Compression::Jpeg),
            8 | 32946 => return Ok(Compression::Deflate),
            32773 => return Ok(Compression::PackBits),
            50000 => return Ok(Compression::Zstandard),
            6 => "old-style JPEG compression",
            32771 => "run-length coding in words",
            32766 => "NeXT compression",
            32809 => "ThunderScan compression",
            34676 | 34677 => "SGI LogLuv compression",
            34712 | 33003 | 33005 => "JPEG 2000 compression",
            34887 => "LERC compression",
            34892 => "lossy DNG compression",
            34925 => "LZMA compression",
            50001 => "WebP compression",
            50002 | 52546 => "JPEG XL compression",
            number => {
                return Err(unsupported(&format!("compression number {number}")));
            }
        };
        Err(unsupported(name))
    }
}

pub(super) fn unsupported(feature: &str) -> ImageError {
    ImageError::UnsupportedFeature {
        format: FORMAT,
        feature: feature.to_owned(),
    }
}

/// The samples that a chunk holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Pixels in a row, with those that only fill a tile.
    pub(super) width: u32,
    /// Rows that are wanted, of those that the chunk may have.
    pub(super) rows: u32,
    pub(super) height: u32,
    /// Bytes of a row.
    pub(super) row: usize,
    /// Samples of a pixel.
    pub(super) samples: usize,
    /// The samples of a JPEG are luma and chroma, not colours.
    pub(super) luma_and_chroma: bool,
}

/// Decompresses `data` to `shape.rows` rows.
pub(super) fn decompress(
    data: &[u8],
    compression: Compression,
    tables: Option<&[u8]>,
    shape: Shape,
) -> Result<Vec<u8>, ImageError> {
    let size = shape.row * shape.rows as usize;
    let mut out = vec![0; size];
    let whole = match compression {
        Compression::None => match data.get(..size) {
            Some(data) => {
                out.copy_from_slice(data);
                true
            }
            None => false,
        },
        Compression::Fax(coding) => fax::decode(data, coding, shape.width, shape.row, &mut out),
        Compression::Lzw => lzw(data, &mut out),
        Compression::Deflate => read(flate2::read::ZlibDecoder::new(data), &mut out),
        Compression::Zstandard => zstandard(data, &mut out),
        Compression::PackBits => pack_bits(data, &mut out),
        Compression::Jpeg => return jpeg::decode(data, tables, shape),
    };
    match whole {
        true => Ok(out),
        false => Err(corrupt("the compressed data of a strip or tile is damaged")),
    }
}

fn read(mut reader: impl Read, out: &mut [u8]) -> bool {
    reader.read_exact(out).is_ok()
}

fn zstandard(data: &[u8], out: &mut [u8]) -> bool {
    // A window that is much larger than the picture costs memory that it does not need.
    let window = (out.len().max(1).ilog2() + 1).clamp(24, 27);
    zstd::Decoder::with_buffer(data)
        .is_ok_and(|mut reader| reader.window_log_max(window).is_ok() && read(reader, out))
}

fn lzw(data: &[u8], out: &mut [u8]) -> bool {
    // Before version 5 of the format the bits of codes ran the other way.
    let mut decoder = match data {
        [0, second, ..] if second & 1 == 1 => weezl::decode::Decoder::new(BitOrder::Lsb, 8),
        _ => weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let (mut from, mut to) = (0, 0);
    while to < out.len() {
        let step = decoder.decode_bytes(&data[from..], &mut out[to..]);
        from += step.consumed_in;
        to += step.consumed_out;
        match step.status {
            Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            _ => break,
        }
    }
    to == out.len()
}

fn pack_bits(mut data: &[u8], out: &mut [u8]) -> bool {
    let mut left = out;
    while !left.is_empty() {
        let Some((&head, rest)) = data.split_first() else {
            return false;
        };
        data = rest;
        let length = match head {
            0..=127 => usize::from(head) + 1,
            128 => continue,
            129..=255 => 257 - usize::from(head),
        };
        let taken = length.min(left.len());
        let (run, more) = left.split_at_mut(taken);
        left = more;
        if head < 128 {
            let Some(literal) = data.get(..taken) else {
                return false;
            };
            run.copy_from_slice(literal);
            data = data.get(length..).unwrap_or(&[]);
        } else {
            let Some((&byte, rest)) = data.split_first() else {
                return false;
            };
            run.fill(byte);
            data = rest;
        }
    }
    true
}
