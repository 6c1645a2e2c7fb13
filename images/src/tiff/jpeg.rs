//! A strip or tile that is a JPEG, whose tables may stand in a tag of their own.

use super::chunk::{Shape, unsupported};
use super::corrupt;
use crate::deadline::Deadline;
use crate::error::ImageError;
use crate::jpeg::{Header, samples};

/// Decodes to rows of interleaved samples; luma and chroma become red, green and blue where `shape` says that they are such.
pub(super) fn decode(
    data: &[u8],
    tables: Option<&[u8]>,
    shape: Shape,
    deadline: &Deadline,
) -> Result<Vec<u8>, ImageError> {
    // Each is whole in itself: the tables without their end, then the picture without its start.
    let joined;
    let bytes = match (tables, data) {
        (Some([head @ .., 0xFF, 0xD9]), [0xFF, 0xD8, picture @ ..]) => {
            deadline.spend(head.len() + picture.len())?;
            joined = [head, picture].concat();
            &joined[..]
        }
        (Some(_), _) => return Err(corrupt("its JPEG tables are none")),
        (None, _) => data,
    };
    let damaged = |error: ImageError| match error {
        late @ ImageError::DecodeTimedOut { .. } => late,
        ImageError::UnsupportedFeature { feature, .. } => {
            unsupported(&format!("a strip or tile that is a JPEG with {feature}"))
        }
        _ => corrupt("the JPEG of a strip or tile is damaged"),
    };
    let header = Header::read(bytes).map_err(damaged)?;
    let fits = header.width == shape.width
        && (shape.rows..=shape.height).contains(&header.height)
        && usize::from(header.components) == shape.samples;
    if !fits {
        return Err(corrupt("the JPEG of a strip or tile has another size"));
    }
    let mut data = samples(bytes, &header, shape.luma_and_chroma, deadline).map_err(damaged)?;
    data.truncate(shape.row * shape.rows as usize);
    Ok(data)
}
