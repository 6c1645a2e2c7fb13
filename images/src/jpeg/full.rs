//! JPEG at full scale, by zune-jpeg, made to refuse incomplete pictures.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::{ZByteIoError, ZByteReaderTrait, ZCursor, ZSeekFrom};
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{END, Header};
use crate::deadline::Deadline;
use crate::pixels::RgbPixels;

/// Decodes at full scale; `None` where data ends or breaks before the picture is complete.
pub(super) fn decode(bytes: &[u8], header: &Header<'_>, deadline: &Deadline) -> Option<RgbPixels> {
    let data = decode_strictly(bytes, header, deadline).ok()?;
    if !header.has_end() && !is_complete(bytes, header, deadline, &data) {
        return None;
    }
    Some(RgbPixels {
        width: header.width,
        height: header.height,
        data,
    })
}

/// Headers leniently (stray bytes between segments are common), the picture itself strictly: when lenient, zune-jpeg
/// fills what is missing with grey.
fn decode_strictly(
    bytes: &[u8],
    header: &Header<'_>,
    deadline: &Deadline,
) -> Result<Vec<u8>, DecodeErrors> {
    let cursor = ZCursor::new(bytes);
    match header.work() > MOST_UNTIMED {
        true => run(Timed { cursor, deadline }, header),
        false => run(cursor, header),
    }
}

/// Pixels times scans that take well under a second, for which the clock is not asked: it would cost a third more.
const MOST_UNTIMED: u64 = 300_000_000;

fn run(source: impl ZByteReaderTrait, header: &Header<'_>) -> Result<Vec<u8>, DecodeErrors> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(source, options);
    decoder.decode_headers()?;
    decoder.set_options(options.set_strict_mode(true));
    decoder.decode()
}

/// Without an end marker zune-jpeg may still make up the last few bytes. A picture whose data is all there does not
/// depend on what follows it.
fn is_complete(bytes: &[u8], header: &Header<'_>, deadline: &Deadline, data: &[u8]) -> bool {
    let followed_by =
        |tail: &[u8]| decode_strictly(&[bytes, tail, &END].concat(), header, deadline);
    [&[][..], &[0xAA; 8], &[0x55; 8]]
        .iter()
        .all(|tail| followed_by(tail).is_ok_and(|other| other == data))
}

/// Bytes of codes that zune-jpeg reads at once.
const CODES: usize = 4;

/// The encoded picture, which cannot be read on when the time is over. zune-jpeg reads headers, also those of scans, in pieces of other
/// lengths than codes, and a single scan takes it a second at most.
struct Timed<'a> {
    cursor: ZCursor<&'a [u8]>,
    deadline: &'a Deadline,
}

impl ZByteReaderTrait for Timed<'_> {
    #[inline(always)]
    fn read_byte_no_error(&mut self) -> u8 {
        self.cursor.read_byte_no_error()
    }

    #[inline(always)]
    fn read_exact_bytes(&mut self, buffer: &mut [u8]) -> Result<(), ZByteIoError> {
        if buffer.len() != CODES && self.deadline.check().is_err() {
            return Err(ZByteIoError::Generic("the time is over"));
        }
        self.cursor.read_exact_bytes(buffer)
    }

    #[inline(always)]
    fn read_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, ZByteIoError> {
        self.cursor.read_bytes(buffer)
    }

    #[inline(always)]
    fn peek_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, ZByteIoError> {
        self.cursor.peek_bytes(buffer)
    }

    #[inline(always)]
    fn peek_exact_bytes(&mut self, buffer: &mut [u8]) -> Result<(), ZByteIoError> {
        self.cursor.peek_exact_bytes(buffer)
    }

    #[inline(always)]
    fn z_seek(&mut self, from: ZSeekFrom) -> Result<u64, ZByteIoError> {
        self.cursor.z_seek(from)
    }

    #[inline(always)]
    fn is_eof(&mut self) -> Result<bool, ZByteIoError> {
        self.cursor.is_eof()
    }

    #[inline(always)]
    fn z_position(&mut self) -> Result<u64, ZByteIoError> {
        self.cursor.z_position()
    }

    fn read_remaining(&mut self, sink: &mut Vec<u8>) -> Result<usize, ZByteIoError> {
        self.cursor.read_remaining(sink)
    }
}
