//! Every tag that changes pixels: honoured, or refused by name.

use super::chunk::{Compression, unsupported};
use super::corrupt;
use super::directory::{Directory, tag};
use super::pixels::{Alpha, Colours, Predictor, Samples};
use crate::error::ImageError;

/// How samples are stored, and whether they are luma and chroma.
pub(super) fn samples(
    directory: &Directory<'_>,
    compression: Compression,
) -> Result<(Samples, bool), ImageError> {
    let count = match directory.value(tag::SAMPLES)?.unwrap_or(1) {
        count @ 1..=64 => count as usize,
        0 => return Err(corrupt("its pixels have no samples")),
        count => return Err(unsupported(&format!("a pixel of {count} samples"))),
    };
    let (bits, float) = depth(directory, count)?;
    let photometric = directory.required(tag::PHOTOMETRIC, "photometric interpretation")?;
    let colours = colours(directory, photometric, bits)?;
    if count < colours.samples() {
        return Err(corrupt(&format!(
            "its pixels have {count} samples, which are too few for its colours"
        )));
    }
    if float && colours != Colours::Rgb {
        return Err(unsupported(
            "floating point in a picture that is not of red green and blue",
        ));
    }
    let packs = matches!(
        compression,
        Compression::Lzw | Compression::Deflate | Compression::Zstandard
    );
    let predictor = match directory.value(tag::PREDICTOR)?.unwrap_or(1) {
        // Other compressions have none, and readers pass over it there.
        _ if !packs => Predictor::None,
        1 => Predictor::None,
        2 => Predictor::Horizontal,
        3 => Predictor::Float,
        number => return Err(unsupported(&format!("predictor number {number}"))),
    };
    let samples = Samples {
        alpha: alpha(directory, &colours, count)?,
        colours,
        count,
        bits,
        float,
        big_endian: directory.big_endian,
        predictor,
    };
    Ok((samples, photometric == 6))
}

/// Bits a sample, and whether they are floating-point numbers.
fn depth(directory: &Directory<'_>, count: usize) -> Result<(u32, bool), ImageError> {
    let depths = directory.numbers(tag::BITS)?.unwrap_or_else(|| vec![1]);
    // One value may stand for all samples.
    let Some(&bits) = depths.first() else {
        return Err(corrupt("its samples have no bits"));
    };
    if depths.len() != 1 && depths.len() < count {
        return Err(corrupt("it does not say how many bits each sample has"));
    }
    if depths.iter().any(|&other| other != bits) {
        return Err(unsupported("samples of different depths"));
    }
    let formats = directory.numbers(tag::SAMPLE_FORMAT)?.unwrap_or_default();
    let format = formats.first().copied().unwrap_or(1);
    if formats.iter().any(|&other| other != format) {
        return Err(unsupported("samples of different formats"));
    }
    match (format, bits) {
        // Unsigned, and of no format that is said.
        (1 | 4, 1 | 2 | 4 | 8 | 16) => Ok((bits as u32, false)),
        (1 | 4, 0) => Err(corrupt("its samples have no bits")),
        (1 | 4, bits) => Err(unsupported(&format!("a depth of {bits} bits a sample"))),
        (2, _) => Err(unsupported("a picture of signed samples")),
        (3, 32) => Ok((32, true)),
        (3, bits) => Err(unsupported(&format!(
            "floating point of {bits} bits a sample"
        ))),
        (5 | 6, _) => Err(unsupported("a picture of complex numbers")),
        (number, _) => Err(unsupported(&format!("sample format number {number}"))),
    }
}

fn colours(directory: &Directory<'_>, photometric: u64, bits: u32) -> Result<Colours, ImageError> {
    if directory.value(tag::INDEXED)?.unwrap_or(0) != 0 && photometric != 3 {
        return Err(unsupported(
            "indexes into colours that are not red, green and blue",
        ));
    }
    let name = match photometric {
        0 => {
            return Ok(Colours::Grey {
                white_is_zero: true,
            });
        }
        1 => {
            return Ok(Colours::Grey {
                white_is_zero: false,
            });
        }
        2 | 6 => return Ok(Colours::Rgb),
        3 => return palette(directory, bits),
        5 => {
            return match directory.value(tag::INK_SET)?.unwrap_or(1) {
                1 => Ok(Colours::Inks),
                _ => Err(unsupported("a set of inks other than CMYK")),
            };
        }
        4 => "a transparency mask",
        8 => "CIE L*a*b* colour",
        9 => "ICC L*a*b* colour",
        10 => "ITU L*a*b* colour",
        32803 | 34892 => "the raw data of a camera's sensor",
        32844 | 32845 => "SGI LogLuv colour",
        51177 => "a depth map",
        number => return Err(unsupported(&format!("photometric interpretation {number}"))),
    };
    Err(unsupported(name))
}

/// All reds, then all greens, then all blues, of 16 bits each.
fn palette(directory: &Directory<'_>, bits: u32) -> Result<Colours, ImageError> {
    if bits > 8 {
        return Err(unsupported(&format!(
            "a palette for indexes of {bits} bits"
        )));
    }
    let colours = 1_usize << bits;
    let levels = directory.numbers(tag::COLOUR_MAP)?.unwrap_or_default();
    if levels.len() < 3 * colours {
        return Err(corrupt("its palette is missing or too short"));
    }
    // Some writers give 8 bits.
    let shift = if levels.iter().any(|&level| level > 255) {
        8
    } else {
        0
    };
    let level = |at: usize| (levels[at] >> shift) as u8;
    Ok(Colours::Palette(
        (0..colours)
            .map(|index| {
                [
                    level(index),
                    level(colours + index),
                    level(2 * colours + index),
                ]
            })
            .collect(),
    ))
}

/// The sample that is alpha. What is said of none is, as all readers have it, where there is just one more than the colours.
fn alpha(
    directory: &Directory<'_>,
    colours: &Colours,
    count: usize,
) -> Result<Option<Alpha>, ImageError> {
    let first = colours.samples();
    if count == first {
        return Ok(None);
    }
    let at = |index: usize, premultiplied| {
        let at = first + index;
        (at < count).then_some(Alpha { at, premultiplied })
    };
    if let Some(kinds) = directory.numbers(tag::EXTRA_SAMPLES)? {
        let index = kinds.iter().position(|kind| matches!(kind, 1 | 2));
        return Ok(index.and_then(|index| at(index, kinds[index] == 1)));
    }
    Ok(match directory.value(tag::MATTEING)? {
        Some(0) => None,
        Some(_) => at(0, true),
        None if count == first + 1 => at(0, false),
        None => None,
    })
}

/// The size of a strip or tile, where they are, and how many bytes each has.
pub(super) type Chunks = ((u32, u32), Vec<u64>, Option<Vec<u64>>);

/// Strips or tiles of a picture.
pub(super) fn chunks(
    directory: &Directory<'_>,
    width: u32,
    height: u32,
) -> Result<Chunks, ImageError> {
    if let Some(offsets) = directory.numbers(tag::TILE_OFFSETS)? {
        let side = |tag, name| match directory.required(tag, name)? {
            side @ 1..=0x7FFF_FFFF => Ok(side as u32),
            _ => Err(corrupt(&format!("its {name} is none"))),
        };
        let tile = (
            side(tag::TILE_WIDTH, "tiles' width")?,
            side(tag::TILE_HEIGHT, "tiles' height")?,
        );
        return Ok((tile, offsets, directory.numbers(tag::TILE_COUNTS)?));
    }
    let Some(offsets) = directory.numbers(tag::STRIP_OFFSETS)? else {
        return Err(corrupt("it does not say where its pixels are"));
    };
    let rows = match directory.value(tag::ROWS_PER_STRIP)? {
        None => height,
        Some(0) => return Err(corrupt("its strips have no rows")),
        Some(rows) => u32::try_from(rows).unwrap_or(height).min(height),
    };
    Ok((
        (width, rows),
        offsets,
        directory.numbers(tag::STRIP_COUNTS)?,
    ))
}
