//! JPEG XL, by jxl-rs, the decoder of browsers: still pictures, and of an animation the first frame.
//!
//! The decoder gives samples of 8 bits in the colours of the file's profile, or in sRGB where it converts itself. It asks
//! before each piece of the picture whether it may go on, so that no file takes longer than it may.

use image::metadata::Orientation;
use jxl::api::{
    AlphaMode, Event, ExtraChannel, JxlColorType, JxlDataFormat, JxlDecoder, JxlDecoderOptions,
    JxlOutputBuffer, JxlParallelRunner, JxlParallelRunnerFun, JxlPixelFormat, ProfileLevel,
};
use jxl::error::Error;

use crate::colour::{self, Space};
use crate::deadline::Deadline;
use crate::error::ImageError;
use crate::format::Format;
use crate::geometry::Raster;
use crate::limits::Limits;
use crate::pixels::{RgbPixels, over_white};

/// Most channels of a picture: three colours, and more than any camera adds to them.
const MOST_CHANNELS: usize = 8;

/// Bytes a sample at the peak that the decoder keeps besides the result: 2 to 8 were measured. A frame that others are laid on is kept
/// too, which few pictures have.
const ASIDE: u64 = 6;

/// A picture whose header has been read.
pub(crate) struct Picture<'a> {
    decoder: JxlDecoder,
    rest: &'a [u8],
    size: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
    colours: JxlColorType,
    /// Channels besides the colours.
    extra: usize,
}

impl<'a> Picture<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// When the picture is larger than it may be, has more channels than pictures have, or its header is damaged.
    pub(crate) fn read(
        bytes: &'a [u8],
        limits: &Limits,
        deadline: &Deadline,
    ) -> Result<Picture<'a>, ImageError> {
        let (decoder, _) = opened(bytes, None, deadline)?;
        let (width, height) = match decoder.basic_info() {
            Some(info) => (side(info.size.0), side(info.size.1)),
            None => (0, 0),
        };
        limits.check_pixels(width, height)?;
        // Frames, also those that are only laid on, are to be no larger than the picture; a narrow one counts as of 16 columns.
        let samples = u64::from(width.max(16)) * u64::from(height) * MOST_CHANNELS as u64;
        let (decoder, rest) = opened(bytes, usize::try_from(samples).ok(), deadline)?;
        let Some((info, profile)) = decoder.basic_info().zip(decoder.embedded_color_profile())
        else {
            return Err(corrupt("its header says nothing of the picture"));
        };
        let extra = info.extra_channels.len();
        if extra + 3 > MOST_CHANNELS {
            return Err(ImageError::UnsupportedFeature {
                format: Format::Jxl.title(),
                feature: format!("a picture of {} channels", extra + 3),
            });
        }
        if profile.is_cmyk() {
            return Err(ImageError::UnsupportedFeature {
                format: Format::Jxl.title(),
                feature: "CMYK".to_owned(),
            });
        }
        let has = |kind| {
            info.extra_channels
                .iter()
                .any(|extra| extra.ec_type == kind)
        };
        let colours = match (profile.channels(), has(ExtraChannel::Alpha)) {
            (1, false) => JxlColorType::Grayscale,
            (1, true) => JxlColorType::GrayscaleAlpha,
            (_, false) => JxlColorType::Rgb,
            (_, true) => JxlColorType::Rgba,
        };
        let turned = Orientation::from_exif(info.orientation as u8);
        Ok(Picture {
            rest,
            size: bytes.len() as u64,
            width,
            height,
            orientation: turned.unwrap_or(Orientation::NoTransforms),
            colours,
            extra,
            decoder,
        })
    }

    pub(crate) fn channels(&self) -> u8 {
        self.colours.samples_per_pixel() as u8
    }

    /// Bytes at the peak: the samples as they are given, what becomes of them, and what the decoder keeps of the picture.
    pub(crate) fn memory(&self) -> u64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        let given = u64::from(self.channels());
        let grown = match self.colours {
            JxlColorType::Rgb | JxlColorType::Rgba => 0,
            _ => 3,
        };
        pixels * (given + grown + ASIDE * (3 + self.extra as u64))
    }

    /// Decodes the (first) picture and composites it on white.
    pub(crate) fn decode(mut self, deadline: &Deadline) -> Result<Raster, ImageError> {
        let given = self.colours.samples_per_pixel();
        let format = JxlPixelFormat {
            color_type: self.colours,
            color_data_format: Some(JxlDataFormat::U8 { bit_depth: 8 }),
            extra_channel_format: vec![None; self.extra],
        };
        let failed = |error| failure(error, deadline);
        self.decoder.set_pixel_format(format).map_err(failed)?;
        let profile = self.decoder.output_color_profile();
        let profile = profile.and_then(|profile| profile.try_as_icc());
        let row = self.width as usize * given;
        let mut data = vec![0; row * self.height as usize];
        let mut watch = Watch(deadline);
        let space = match given {
            1 | 2 => Space::Grey,
            _ => Space::Rgb,
        };
        let conversion = profile.and_then(|profile| colour::conversion(&profile, space));
        loop {
            let out = JxlOutputBuffer::new(&mut data, self.height as usize, row);
            let event = self
                .decoder
                .process(&mut self.rest, Some(&mut [out]), Some(&mut watch));
            match event.map_err(failed)? {
                Event::FrameComplete { .. } => break,
                Event::NeedMoreInput { .. } => return Err(truncated(self.size)),
                Event::Complete => return Err(corrupt("it has no picture to show")),
                _ => {}
            }
        }
        drop(self.decoder);
        let pixels = RgbPixels {
            width: self.width,
            height: self.height,
            data: on_white(data, self.colours),
        };
        let mut raster = Raster::full_scale(pixels, self.orientation);
        raster.conversion = conversion;
        Ok(raster)
    }
}

/// A decoder that has read the header, whose frames have no more samples than are given, and what follows the header.
fn opened<'a>(
    bytes: &'a [u8],
    samples: Option<usize>,
    deadline: &Deadline,
) -> Result<(JxlDecoder, &'a [u8]), ImageError> {
    let mut options = JxlDecoderOptions::default();
    options.adjust_orientation = false;
    options.alpha_mode = AlphaMode::Unpremultiplied;
    options.max_profile_level = ProfileLevel::Main10;
    options.sample_limit = samples;
    let mut decoder = JxlDecoder::new(options);
    let mut rest = bytes;
    loop {
        let event = decoder.process(&mut rest, None, Some(&mut Watch(deadline)));
        match event.map_err(|error| failure(error, deadline))? {
            Event::BasicInfo => return Ok((decoder, rest)),
            Event::NeedMoreInput { .. } => return Err(truncated(bytes.len() as u64)),
            _ => {}
        }
    }
}

fn side(side: usize) -> u32 {
    u32::try_from(side).unwrap_or(u32::MAX)
}

/// Brings decoded samples to RGB on white.
fn on_white(data: Vec<u8>, colours: JxlColorType) -> Vec<u8> {
    match colours {
        JxlColorType::Grayscale => data.iter().flat_map(|&level| [level; 3]).collect(),
        JxlColorType::GrayscaleAlpha => {
            let pixels = data.as_chunks::<2>().0.iter();
            pixels
                .flat_map(|&[level, alpha]| [over_white(level, alpha); 3])
                .collect()
        }
        JxlColorType::Rgba => crate::raster::composited(data),
        _ => data,
    }
}

/// Lets the decoder do one piece after the other on this thread, as long as there is time.
struct Watch<'a>(&'a Deadline);

impl JxlParallelRunner for Watch<'_> {
    fn run(&mut self, count: usize, piece: &JxlParallelRunnerFun<'_>) -> Result<(), Error> {
        (0..count).try_for_each(|at| match self.0.check() {
            Ok(()) => piece(at),
            Err(_) => Err(Error::ApiUsageError("the time is over")),
        })
    }

    fn run_ordered(
        &mut self,
        count: usize,
        _threads: Option<usize>,
        piece: &JxlParallelRunnerFun<'_>,
    ) -> Result<(), Error> {
        self.run(count, piece)
    }

    fn num_threads(&self) -> usize {
        1
    }
}

fn failure(error: Error, deadline: &Deadline) -> ImageError {
    if let Err(late) = deadline.check() {
        return late;
    }
    match error {
        Error::LevelLimitExceeded { .. } => ImageError::UnsupportedFeature {
            format: Format::Jxl.title(),
            feature: "more of something than its level allows".to_owned(),
        },
        error => ImageError::Corrupt {
            format: Format::Jxl.title(),
            reason: "its header or its compressed data is damaged".to_owned(),
            source: Some(std::sync::Arc::new(error)),
        },
    }
}

fn truncated(size: u64) -> ImageError {
    ImageError::Truncated {
        format: Format::Jxl.title(),
        size,
        source: None,
    }
}

fn corrupt(reason: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::Jxl.title(),
        reason: reason.to_owned(),
        source: None,
    }
}
