//! What a JPEG's segments say before its first scan, how many scans follow, and which decoder is right about it.
//!
//! It looks at everything that decoders differ in (process, precision, sampling, colour transform, tables, scans) and at what
//! says how to show the picture: orientation and colour profile. Bytes between segments are skipped; it decodes nothing.

use std::borrow::Cow;

use image::metadata::Orientation;

use super::{END, FORMAT, corrupt, truncated};
use crate::error::ImageError;
use crate::exif;
use crate::geometry::Geometry;

/// Most scans of a picture. Encoders write about ten. A scan over all of a large picture may have some hundred bytes and
/// takes a decoder milliseconds, so that without a bound a small file keeps a thread for hours.
const MOST_SCANS: usize = 100;

/// A colour channel of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Component {
    id: u8,
    /// How many samples there are across and down where another component has one.
    sampling: (u8, u8),
}

/// The frame header.
struct Frame {
    /// The second byte of its marker, which names the process.
    process: u8,
    /// Bits a sample.
    precision: u8,
    width: u32,
    height: u32,
    components: Vec<Component>,
}

/// What the segments before the first scan say.
pub(crate) struct Header<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) components: u8,
    pub(crate) orientation: Orientation,
    /// The colour profile, if all its parts are there.
    pub(super) profile: Option<Cow<'a, [u8]>>,
    frame: Frame,
    /// The first scan brings all components.
    begins_with_all_components: bool,
    scans: Scans,
    /// A JFIF segment is present: three components are luma and chroma, whatever Adobe's segment says.
    jfif: bool,
    /// The transform that an Adobe segment names.
    adobe: Option<u8>,
    /// Huffman tables come before the first scan.
    tables: bool,
}

impl<'a> Header<'a> {
    /// The smallest scale in eighths that is enough for `geometry`, where reducing pays (see the module above); `None` for full
    /// scale.
    ///
    /// Blocks become smaller, all alike, so that a component of few samples loses what another one keeps. That is
    /// seen where luma has fewer samples than chroma, or chroma a quarter of luma's.
    pub(super) fn scale(&self, geometry: Geometry) -> Option<u8> {
        let all = &self.frame.components;
        let alike = all.iter().all(|c| c.sampling == all[0].sampling);
        [1, 2].into_iter().find(|&eighths| {
            let reduced = |side: u32| side * u32::from(eighths) / 8;
            (alike || self.has_usual_sampling())
                && geometry.is_enough(reduced(self.width), reduced(self.height))
        })
    }

    /// Whether there is one component, or chroma of luma's samples or half as many.
    fn has_usual_sampling(&self) -> bool {
        match self.frame.components[..] {
            [grey] => grey.sampling == (1, 1),
            [luma, blue, red] => {
                matches!(luma.sampling, (1 | 2, 1 | 2))
                    && (blue.sampling, red.sampling) == ((1, 1), (1, 1))
            }
            _ => false,
        }
    }

    /// Whether the end marker follows the first scan.
    pub(super) fn has_end(&self) -> bool {
        self.scans.end
    }

    /// Pixels that all scans together go over.
    pub(super) fn work(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * self.scans.starts.len() as u64
    }

    /// Whether the picture comes in several scans, for which a decoder keeps all coefficients until it has seen the last.
    pub(super) fn has_several_scans(&self) -> bool {
        self.is_progressive() || !self.begins_with_all_components
    }

    /// Whether the picture is one that nearly every writer writes, about which all decoders agree: Huffman codes of 8-bit
    /// samples, grey or luma and chroma that are sampled once or half as often, baseline in a single scan, with the restart markers that
    /// are announced.
    pub(super) fn is_ordinary(&self) -> bool {
        let frame = &self.frame;
        let colours = match (frame.components.len(), self.jfif, self.adobe) {
            (1, ..) => true,
            (_, true, None | Some(1)) | (_, false, Some(1)) => true,
            // Without a marker the names decide, and these stand for luma and chroma.
            (_, false, None) => frame.components.iter().map(|c| c.id).eq(1..=3),
            _ => false,
        };
        let process = match frame.process {
            0xC0 | 0xC1 => self.begins_with_all_components,
            0xC2 => true,
            _ => false,
        };
        let usual = frame.precision == 8 && self.has_usual_sampling();
        process && usual && colours && self.tables && self.scans.restarts_fit
    }

    /// Refuses by name what no decoder here knows.
    pub(super) fn check_features(&self) -> Result<(), ImageError> {
        let feature = match (self.frame.process, self.frame.precision, self.components) {
            (0xC3, ..) => "lossless coding".to_owned(),
            (0xC5..=0xC7, ..) => "hierarchical coding".to_owned(),
            (0xCB, ..) => "lossless arithmetic coding".to_owned(),
            (0xCD..=0xCF, ..) => "hierarchical arithmetic coding".to_owned(),
            (_, bits @ (2..=7 | 9..=16), _) => format!("a depth of {bits} bits a sample"),
            (_, bits, _) if bits != 8 => {
                return Err(corrupt(&format!(
                    "it says that its samples have {bits} bits"
                )));
            }
            (.., count @ (2 | 5..)) => format!("a picture of {count} colour components"),
            _ => return Ok(()),
        };
        Err(ImageError::UnsupportedFeature {
            format: FORMAT,
            feature,
        })
    }

    /// Whether the picture is arithmetic-coded, which lets it end with any number of bytes left out.
    pub(super) fn is_arithmetic(&self) -> bool {
        matches!(self.frame.process, 0xC9 | 0xCA)
    }

    fn is_progressive(&self) -> bool {
        matches!(self.frame.process, 0xC2 | 0xCA)
    }

    /// Refuses what costs memory or time out of proportion to its data.
    pub(super) fn check_data(&self, bytes: &[u8]) -> Result<(), ImageError> {
        // The component that is not subsampled has 64 pixels a block, and a Huffman-coded block takes one bit at least.
        let blocks = u64::from(self.width) * u64::from(self.height) / 64;
        if !self.is_arithmetic() && (bytes.len() as u64) < blocks / 8 {
            return Err(truncated(bytes));
        }
        if self.scans.starts.len() > MOST_SCANS {
            return Err(corrupt(&format!("it has more than {MOST_SCANS} scans")));
        }
        Ok(())
    }

    /// Whether the data may end where it does: with a marker, or behind the only scan of all components.
    ///
    /// A decoder that meets the end of the data takes the scans that it has not seen for zeros.
    pub(super) fn may_end(&self) -> bool {
        let single = matches!(self.frame.process, 0xC0 | 0xC1) && self.begins_with_all_components;
        single || self.has_end()
    }

    /// Whether some scan brings each component.
    pub(super) fn has_all_components(&self, bytes: &[u8]) -> bool {
        let mut missing: Vec<u8> = self.frame.components.iter().map(|c| c.id).collect();
        for scan in self.scans.starts.iter().filter_map(|&at| bytes.get(at..)) {
            let count = usize::from(scan.get(2).copied().unwrap_or(0)).min(4);
            let selectors = scan.get(3..3 + 2 * count).unwrap_or(&[]);
            let named = |id: &u8| selectors.iter().step_by(2).any(|name| name == id);
            missing.retain(|id| !named(id));
        }
        missing.is_empty()
    }

    /// Walks the segments up to the first scan; bytes between segments are skipped.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Header<'a>, ImageError> {
        let mut found = Found::default();
        let mut at = 2;
        loop {
            let (marker, behind) =
                next_marker(bytes, at, &mut 0).ok_or_else(|| truncated(bytes))?;
            match marker {
                0xD9 => return Err(corrupt("it ends before its first scan")),
                0xDA if bytes.len() < behind + 2 => return Err(truncated(bytes)),
                0xDA => return found.into_header(bytes, behind),
                _ => {}
            }
            let segment = segment(bytes, behind).ok_or_else(|| truncated(bytes))?;
            at = behind + 2 + segment.len();
            found.add(marker, segment)?;
        }
    }
}

/// The marker at `at` or behind it, and where it ends. Bytes that are no marker are passed over, and so is what has no segment: a
/// stuffed zero within a scan, and a restart, which is counted.
fn next_marker(bytes: &[u8], mut at: usize, restarts: &mut u64) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xFF)? + 1;
        match *bytes.get(at)? {
            // A fill byte is the start of the next marker.
            0xFF => {}
            marker @ (0x00 | 0x01 | 0xD0..=0xD8) => {
                *restarts += u64::from(matches!(marker, 0xD0..=0xD7));
                at += 1;
            }
            marker => return Some((marker, at + 1)),
        }
    }
}

/// What a segment holds behind its length, which is at `at`.
fn segment(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = bytes.get(at..)?.first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length)).max(2);
    bytes.get(at + 2..at + length)
}

/// The scans of a picture.
struct Scans {
    /// Where each begins, behind its marker; no more than one too many.
    starts: Vec<usize>,
    /// The end marker follows the first scan.
    end: bool,
    /// Each has as many restart markers as its interval asks for. One that is missing shifts what follows it, which only libjpeg notices.
    restarts_fit: bool,
}

impl Scans {
    /// Looks for the scans, the first of which begins at `first`. Segments are passed over whole, so that nothing within them counts;
    /// there are no more scans than [`MOST_SCANS`] and one.
    fn find(bytes: &[u8], first: usize, frame: &Frame, mut interval: u64) -> Scans {
        let mut found = Scans {
            starts: vec![first],
            end: false,
            restarts_fit: true,
        };
        // Behind the header of a scan come codes, in which no marker but a restart can be.
        let (mut at, mut is_scan) = (first, true);
        while found.starts.len() <= MOST_SCANS
            && let Some(inside) = segment(bytes, at)
        {
            let mut restarts = 0;
            let next = next_marker(bytes, at + 2 + inside.len(), &mut restarts);
            if is_scan {
                let units = frame.units(inside);
                let fewest = units.saturating_sub(1).checked_div(interval).unwrap_or(0);
                let most = units.checked_div(interval).unwrap_or(0);
                found.restarts_fit &= (fewest..=most).contains(&restarts);
            }
            let Some((marker, behind)) = next else {
                break;
            };
            match marker {
                0xD9 => {
                    found.end = true;
                    return found;
                }
                0xDA => found.starts.push(behind),
                0xDD => interval = restart_interval(segment(bytes, behind).unwrap_or(&[])),
                _ => {}
            }
            (at, is_scan) = (behind, marker == 0xDA);
        }
        found.end = bytes.ends_with(&END);
        found
    }
}

/// The interval that a segment of the kind sets; zero for none.
fn restart_interval(segment: &[u8]) -> u64 {
    segment
        .first_chunk::<2>()
        .map_or(0, |interval| u16::from_be_bytes(*interval).into())
}

/// What the segments so far said.
#[derive(Default)]
struct Found<'a> {
    frame: Option<Frame>,
    exif: Option<Orientation>,
    xmp: Option<Orientation>,
    profile: Vec<(u8, u8, &'a [u8])>,
    jfif: bool,
    adobe: Option<u8>,
    tables: bool,
    interval: u64,
}

impl<'a> Found<'a> {
    fn add(&mut self, marker: u8, segment: &'a [u8]) -> Result<(), ImageError> {
        match marker {
            0xC4 => self.tables = true,
            0xDD => self.interval = restart_interval(segment),
            // Start of frame, of whatever process; C8 and CC are an extension and arithmetic tables.
            0xC0..=0xCF if !matches!(marker, 0xC8 | 0xCC) && self.frame.is_none() => {
                self.frame = Some(Frame::read(marker, segment)?);
            }
            0xE0 if segment.starts_with(b"JFIF\0") => self.jfif = true,
            0xE1 if self.exif.is_none() && segment.starts_with(b"Exif\0") => {
                self.exif = exif::orientation(segment);
            }
            0xE1 if self.xmp.is_none() => {
                self.xmp = segment
                    .strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")
                    .and_then(exif::orientation_of_xmp);
            }
            0xE2 => {
                if let Some(&[number, count, ref part @ ..]) =
                    segment.strip_prefix(b"ICC_PROFILE\0")
                {
                    self.profile.push((number, count, part));
                }
            }
            0xEE => {
                if let Some(&[.., transform]) = segment
                    .strip_prefix(b"Adobe")
                    .and_then(|rest| rest.get(..7))
                {
                    self.adobe = Some(transform);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn into_header(self, bytes: &[u8], scan: usize) -> Result<Header<'a>, ImageError> {
        let profile = self.profile();
        let frame = self
            .frame
            .ok_or_else(|| corrupt("a scan comes before the frame header"))?;
        let begins_with = bytes.get(scan + 2).map(|count| usize::from(*count));
        let begins_with_all_components = begins_with == Some(frame.components.len());
        let scans = Scans::find(bytes, scan, &frame, self.interval);
        Ok(Header {
            width: frame.width,
            height: frame.height,
            components: frame.components.len() as u8,
            orientation: self.exif.or(self.xmp).unwrap_or(Orientation::NoTransforms),
            profile,
            frame,
            begins_with_all_components,
            scans,
            jfif: self.jfif,
            adobe: self.adobe,
            tables: self.tables,
        })
    }

    /// The parts of the profile in their order; each says its number, counted from one, and how many there are.
    fn profile(&self) -> Option<Cow<'a, [u8]>> {
        match self.profile[..] {
            [] => None,
            [(_, 1, part)] => Some(Cow::Borrowed(part)),
            _ => {
                let mut parts = self.profile.clone();
                parts.sort_by_key(|part| part.0);
                let whole = parts
                    .iter()
                    .zip(1..)
                    .all(|(part, number)| part.0 == number && usize::from(part.1) == parts.len());
                whole.then(|| parts.iter().flat_map(|part| part.2).copied().collect())
            }
        }
    }
}

impl Frame {
    /// How many units of blocks there are in a scan with this header, between which restarts are counted.
    fn units(&self, scan: &[u8]) -> u64 {
        let most = |of: fn(&Component) -> u8| self.components.iter().map(of).max().unwrap_or(1);
        let (across, down) = (most(|c| c.sampling.0), most(|c| c.sampling.1));
        let single = match scan {
            [1, name, ..] => self.components.iter().find(|c| c.id == *name),
            _ => None,
        };
        let blocks = |side: u32, sampling: u8, most: u8| {
            let (sampling, most) = (u64::from(sampling.max(1)), u64::from(most.max(1)));
            (u64::from(side) * sampling).div_ceil(most).div_ceil(8)
        };
        match single {
            Some(component) => {
                blocks(self.width, component.sampling.0, across)
                    * blocks(self.height, component.sampling.1, down)
            }
            None => blocks(self.width, 1, across) * blocks(self.height, 1, down),
        }
    }

    fn read(process: u8, segment: &[u8]) -> Result<Frame, ImageError> {
        let &[precision, h1, h0, w1, w0, count, ref rest @ ..] = segment else {
            return Err(corrupt("its frame header is too short"));
        };
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if width > 0 && height == 0 {
            return Err(ImageError::UnsupportedFeature {
                format: FORMAT,
                feature: "a height that only follows the first scan".to_owned(),
            });
        }
        if width == 0 || height == 0 {
            return Err(corrupt("its frame header gives no size"));
        }
        if count == 0 {
            return Err(corrupt("its frame header names no colour component"));
        }
        let components: Vec<Component> = rest
            .chunks_exact(3)
            .take(count.into())
            .map(|c| Component {
                id: c[0],
                sampling: (c[1] >> 4, c[1] & 15),
            })
            .collect();
        if components.len() < usize::from(count) {
            return Err(corrupt("its frame header is too short"));
        }
        Ok(Frame {
            process,
            precision,
            width: width.into(),
            height: height.into(),
            components,
        })
    }
}
