//! One strip or tile: compressed bytes to samples as they are stored, of a known size.

use std::io::Read;

use weezl::BitOrder;

use super::fax::{self, Coding};
use super::{FORMAT, corrupt, jpeg};
use crate::deadline::Deadline;
use crate::error::ImageError;

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
    deadline: &Deadline,
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
        Compression::Fax(coding) => {
            fax::decode(data, coding, shape.width, shape.row, &mut out, deadline)?
        }
        Compression::Lzw => lzw(data, &mut out, deadline)?,
        Compression::Deflate => read(flate2::read::ZlibDecoder::new(data), &mut out, deadline)?,
        Compression::Zstandard => zstandard(data, &mut out, deadline)?,
        Compression::PackBits => pack_bits(data, &mut out, deadline)?,
        Compression::Jpeg => return jpeg::decode(data, tables, shape, deadline),
    };
    match whole {
        true => Ok(out),
        false => Err(corrupt("the compressed data of a strip or tile is damaged")),
    }
}

/// Bytes that are made between two looks at the clock.
const PIECE: usize = 1 << 20;

fn read(mut reader: impl Read, out: &mut [u8], deadline: &Deadline) -> Result<bool, ImageError> {
    for piece in out.chunks_mut(PIECE) {
        deadline.spend(piece.len())?;
        if reader.read_exact(piece).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn zstandard(data: &[u8], out: &mut [u8], deadline: &Deadline) -> Result<bool, ImageError> {
    let window = most_window(out.len() as u64).ilog2();
    let Ok(mut reader) = zstd::Decoder::with_buffer(data) else {
        return Ok(false);
    };
    Ok(reader.window_log_max(window).is_ok() && read(reader, out, deadline)?)
}

/// How far Zstandard may look back in a chunk of this size: a window that is much larger costs memory that the picture does not need.
pub(super) fn most_window(chunk: u64) -> u64 {
    1 << (chunk.max(1).ilog2() + 1).clamp(24, 27)
}

fn lzw(data: &[u8], out: &mut [u8], deadline: &Deadline) -> Result<bool, ImageError> {
    // Before version 5 of the format the bits of codes ran the other way.
    let mut decoder = match data {
        [0, second, ..] if second & 1 == 1 => weezl::decode::Decoder::new(BitOrder::Lsb, 8),
        _ => weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let (mut from, mut to) = (0, 0);
    while to < out.len() {
        deadline.spend(PIECE)?;
        let (data, end) = (&data[from..], out.len().min(to + PIECE));
        // Many codes may clear the table and make nothing.
        let step = decoder.decode_bytes(&data[..data.len().min(PIECE)], &mut out[to..end]);
        from += step.consumed_in;
        to += step.consumed_out;
        match step.status {
            Ok(weezl::LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            _ => break,
        }
    }
    Ok(to == out.len())
}

fn pack_bits(mut data: &[u8], out: &mut [u8], deadline: &Deadline) -> Result<bool, ImageError> {
    let mut left = out;
    while !left.is_empty() {
        let Some((&head, rest)) = data.split_first() else {
            return Ok(false);
        };
        deadline.spend(1)?;
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
                return Ok(false);
            };
            run.copy_from_slice(literal);
            data = data.get(length..).unwrap_or(&[]);
        } else {
            let Some((&byte, rest)) = data.split_first() else {
                return Ok(false);
            };
            run.fill(byte);
            data = rest;
        }
    }
    Ok(true)
}
