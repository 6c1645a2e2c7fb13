//! JPEG at full scale, by zune-jpeg, made to refuse incomplete pictures.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{END, Header};
use crate::RgbPixels;

/// Decodes at full scale; `None` where data ends or breaks before the picture is complete.
pub(super) fn decode(bytes: &[u8], header: &Header<'_>) -> Option<RgbPixels> {
    let data = decode_strictly(bytes, header).ok()?;
    if !header.has_end(bytes) && !is_complete(bytes, header, &data) {
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
fn decode_strictly(bytes: &[u8], header: &Header<'_>) -> Result<Vec<u8>, DecodeErrors> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    decoder.set_options(options.set_strict_mode(true));
    decoder.decode()
}

/// Without an end marker zune-jpeg may still make up the last few bytes. A picture whose data is all there does not
/// depend on what follows it.
fn is_complete(bytes: &[u8], header: &Header<'_>, data: &[u8]) -> bool {
    let followed_by = |tail: &[u8]| decode_strictly(&[bytes, tail, &END].concat(), header);
    [&[][..], &[0xAA; 8], &[0x55; 8]]
        .iter()
        .all(|tail| followed_by(tail).is_ok_and(|other| other == data))
}
