//! What a directory says about a picture, and the picture put together of its strips or tiles.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::chunk::{self, Compression, Shape, unsupported};
use super::directory::{Directory, tag};
use super::luma::Luma;
use super::pixels::{Colours, Predictor, Samples};
use super::tags::{chunks, samples};
use super::{corrupt, truncated};
use crate::colour::{self, Space};
use crate::deadline::Deadline;
use crate::error::ImageError;
use crate::exif;
use crate::geometry::Raster;
use crate::limits::Limits;
use crate::pixels::RgbPixels;

/// What a strip or tile counts for at least, in bytes: there may be millions of them with a pixel each, and a decoder is made for each.
const LEAST_CHUNK: usize = 1 << 10;

/// A picture whose tags have been read, and whose pixels have not.
pub(crate) struct Picture<'a> {
    bytes: &'a [u8],
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
    samples: Samples,
    /// The samples are luma and chroma; how they are stored outside of a JPEG.
    is_luma: bool,
    luma: Option<Luma>,
    profile: Option<&'a [u8]>,
    compression: Compression,
    tables: Option<&'a [u8]>,
    /// The bits of each byte run the other way.
    reversed: bool,
    /// Each sample of the pixels has chunks of its own.
    planar: bool,
    /// Size of a strip or tile in pixels.
    chunk: (u32, u32),
    offsets: Vec<u64>,
    /// Without counts a chunk goes as far as the data does.
    counts: Option<Vec<u64>>,
}

impl<'a> Picture<'a> {
    pub(crate) fn read(bytes: &'a [u8], limits: &Limits) -> Result<Picture<'a>, ImageError> {
        let directory = Directory::read(bytes)?;
        let side = |tag, name| {
            let side = directory.required(tag, name)?;
            u32::try_from(side).map_err(|_| corrupt(&format!("its {name} is none")))
        };
        let width = side(tag::WIDTH, "width")?;
        let height = side(tag::HEIGHT, "height")?;
        limits.check_pixels(width, height)?;
        if width == 0 || height == 0 {
            return Err(corrupt("its header gives no size"));
        }
        let compression = Compression::of(
            directory.value(tag::COMPRESSION)?.unwrap_or(1),
            directory.value(tag::FAX3_OPTIONS)?.unwrap_or(0),
        )?;
        let uncompressed = |tag| Ok(directory.value(tag)?.unwrap_or(0) & 2 == 2);
        if uncompressed(tag::FAX3_OPTIONS)? || uncompressed(tag::FAX4_OPTIONS)? {
            return Err(unsupported("a fax with uncompressed parts"));
        }
        let is_jpeg = compression == Compression::Jpeg;
        let (samples, is_luma) = samples(&directory, compression)?;
        let sample_bytes = (samples.count as u64 * u64::from(samples.bits)).div_ceil(8);
        limits.check_samples(width, height, u8::try_from(sample_bytes).unwrap_or(u8::MAX))?;
        let luma = match is_luma {
            true if is_jpeg => None,
            true => Some(Luma::read(&directory)?),
            false => None,
        };
        let planar = match directory.value(tag::PLANAR)? {
            None | Some(1) => false,
            Some(2) => samples.count > 1,
            Some(_) => return Err(corrupt("its planar configuration is none")),
        };
        if planar && is_luma {
            return Err(unsupported("luma and chroma in planes of their own"));
        }
        let reversed = match directory.value(tag::FILL_ORDER)? {
            None | Some(1) => false,
            // A JPEG has its own order.
            Some(2) => !is_jpeg,
            Some(_) => return Err(corrupt("the order of its bits is none")),
        };
        let (chunk, offsets, counts) = chunks(&directory, width, height)?;
        let of_xmp = || directory.raw(tag::XMP).and_then(exif::orientation_of_xmp);
        // An orientation that is none turns nothing.
        let orientation = directory.value(tag::ORIENTATION).ok().flatten();
        let orientation = orientation.and_then(exif::of_value).or_else(of_xmp);
        let picture = Picture {
            bytes,
            width,
            height,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
            samples,
            is_luma,
            luma,
            profile: directory.raw(tag::PROFILE),
            compression,
            tables: directory.raw(tag::JPEG_TABLES),
            reversed,
            planar,
            chunk,
            offsets,
            counts,
        };
        picture.check_chunks()?;
        Ok(picture)
    }

    /// Grey 1, colours 3, inks 4, and one more for alpha.
    pub(crate) fn channels(&self) -> u8 {
        let colours = match self.samples.colours {
            Colours::Palette(_) => 3,
            ref other => other.samples() as u8,
        };
        colours + u8::from(self.samples.alpha.is_some())
    }

    fn across(&self) -> u32 {
        self.width.div_ceil(self.chunk.0)
    }

    fn planes(&self) -> usize {
        if self.planar { self.samples.count } else { 1 }
    }

    /// Samples of a pixel in one chunk.
    fn stride(&self) -> usize {
        if self.planar { 1 } else { self.samples.count }
    }

    fn check_chunks(&self) -> Result<(), ImageError> {
        let chunks = u64::from(self.across()) * u64::from(self.height.div_ceil(self.chunk.1));
        let needed = chunks.saturating_mul(self.planes() as u64);
        let listed = self.counts.as_ref().map_or(usize::MAX, Vec::len);
        if (self.offsets.len().min(listed) as u64) < needed {
            return Err(corrupt("it does not list all of its strips or tiles"));
        }
        if self.luma.is_some() && self.samples.predictor != Predictor::None {
            return Err(unsupported("a predictor over luma and chroma"));
        }
        // A tile is as large as it says, even where the picture is smaller.
        let row_bits =
            u64::from(self.chunk.0) * self.stride() as u64 * u64::from(self.samples.bits);
        let rows = self.chunk.1.min(self.height);
        let size = (row_bits / 8).saturating_mul(rows.into());
        let pixels = u64::from(self.width) * u64::from(self.height);
        if size > pixels.saturating_mul(16).saturating_add(16 << 20) {
            return Err(corrupt(
                "decoding it takes far more memory than a picture of its size should",
            ));
        }
        let is_jpeg = self.compression == Compression::Jpeg;
        if (is_jpeg || self.is_luma) && self.samples.bits != 8 {
            let bits = self.samples.bits;
            return Err(unsupported(&format!(
                "JPEG or luma of {bits} bits a sample"
            )));
        }
        if matches!(self.compression, Compression::Fax(_))
            && (self.samples.bits, self.samples.count) != (1, 1)
        {
            return Err(corrupt("a fax has one bit a pixel, and this one has more"));
        }
        Ok(())
    }

    /// Bytes at the peak: the picture's 3 a pixel, and a strip or tile as it is stored, of all planes; twice where its bits are turned,
    /// it is luma and chroma, thrice where it is a JPEG, which may come in several scans; and what Zstandard looks back at.
    pub(crate) fn memory(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let bits =
            u64::from(self.chunk.0) * self.samples.count as u64 * u64::from(self.samples.bits);
        let rows = u64::from(self.chunk.1.min(self.height));
        let copies = match (self.compression, self.is_luma || self.reversed) {
            (Compression::Jpeg, _) => 3,
            (_, true) => 2,
            (_, false) => 1,
        };
        let chunk = bits.div_ceil(8).saturating_mul(rows);
        let window = match self.compression {
            Compression::Zstandard => chunk::most_window(chunk),
            _ => 0,
        };
        (3 * pixels + window).saturating_add(chunk.saturating_mul(copies))
    }

    pub(crate) fn decode(&self, deadline: &Deadline) -> Result<Raster, ImageError> {
        let space = match self.samples.colours {
            Colours::Grey { .. } => Space::Grey,
            Colours::Inks => Space::Cmyk,
            _ => Space::Rgb,
        };
        let conversion = self
            .profile
            .and_then(|profile| colour::conversion(profile, space));
        let (width, height) = (self.width as usize, self.height as usize);
        let mut data = vec![0; width * height * 3];
        let mut samples = Vec::new();
        let across = self.across();
        let down = self.height.div_ceil(self.chunk.1);
        for (row, column) in (0..down).flat_map(|row| (0..across).map(move |at| (row, at))) {
            let (left, top) = (column * self.chunk.0, row * self.chunk.1);
            let rows = self.chunk.1.min(self.height - top);
            let columns = self.chunk.0.min(self.width - left) as usize;
            let index = row as usize * across as usize + column as usize;
            let mut planes =
                self.planes_of(index, across as usize * down as usize, rows, deadline)?;
            samples.resize(self.chunk.0 as usize * self.samples.count, 0);
            for y in 0..rows as usize {
                deadline.spend(samples.len())?;
                let at = ((top as usize + y) * width + left as usize) * 3;
                let out = &mut data[at..at + 3 * columns];
                if self.samples.is_plain_rgb() && !self.planar {
                    let size = planes[0].len() / rows as usize;
                    let stored = &mut planes[0][y * size..][..size];
                    self.samples.undo_predictor(stored, self.stride())?;
                    out.copy_from_slice(&stored[..3 * columns]);
                    continue;
                }
                let step = self.planes();
                for (plane, stored) in planes.iter_mut().enumerate() {
                    let size = stored.len() / rows as usize;
                    let stored = &mut stored[y * size..][..size];
                    self.samples.undo_predictor(stored, self.stride())?;
                    self.samples.unpack(stored, step, &mut samples[plane..]);
                }
                let pixels = &samples[..columns * self.samples.count];
                self.samples.to_rgb(pixels, conversion.as_ref(), out);
            }
        }
        let pixels = RgbPixels {
            width: self.width,
            height: self.height,
            data,
        };
        let mut raster = Raster::full_scale(pixels, self.orientation);
        raster.conversion = conversion;
        Ok(raster)
    }

    /// The stored rows of a chunk, of each plane, as rows of whole bytes.
    fn planes_of(
        &self,
        index: usize,
        per_plane: usize,
        rows: u32,
        deadline: &Deadline,
    ) -> Result<Vec<Vec<u8>>, ImageError> {
        let bits = self.chunk.0 as usize * self.stride() * self.samples.bits as usize;
        let shape = Shape {
            width: self.chunk.0,
            rows,
            height: self.chunk.1.max(rows),
            row: bits.div_ceil(8),
            samples: self.stride(),
            luma_and_chroma: self.is_luma,
        };
        let stored = self.luma.as_ref().map_or(shape, |luma| luma.stored(shape));
        let plane = |plane: usize| {
            let data = self.data(index + plane * per_plane, stored)?;
            deadline.spend(LEAST_CHUNK + if self.reversed { data.len() } else { 0 })?;
            let samples =
                chunk::decompress(&data, self.compression, self.tables, stored, deadline)?;
            Ok(match &self.luma {
                Some(luma) => luma.to_rgb(&samples, shape),
                None => samples,
            })
        };
        (0..self.planes()).map(plane).collect()
    }

    /// The bytes of a chunk, in the order of bits that all else expects.
    fn data(&self, index: usize, stored: Shape) -> Result<Cow<'a, [u8]>, ImageError> {
        let ends_early = || truncated(self.bytes);
        let offset = self.offsets.get(index).copied().ok_or_else(ends_early)?;
        let offset = usize::try_from(offset).map_err(|_| ends_early())?;
        let rest = self.bytes.get(offset..).ok_or_else(ends_early)?;
        let count = match (self.compression, &self.counts) {
            // The picture says how many there are; some writers' counts are wrong.
            (Compression::None, _) => stored.row as u64 * u64::from(stored.rows),
            (_, Some(counts)) => counts.get(index).copied().ok_or_else(ends_early)?,
            (_, None) => rest.len() as u64,
        };
        let count = usize::try_from(count).map_err(|_| ends_early())?;
        let data = rest.get(..count).ok_or_else(ends_early)?;
        Ok(match self.reversed {
            true => data.iter().map(|byte| byte.reverse_bits()).collect(),
            false => Cow::Borrowed(data),
        })
    }
}
