//! Pictures that stand in the text itself: `data:` URIs, and base64 of an image without anything before it.
//!
//! Exports of web pages and of JSON write them into columns of references as into columns of bytes. What they hold is bounded like the
//! bytes of any image. It knows no place that could be read.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Limits;
use crate::reference::{is_data, shown};

/// How base64 of JPEG, PNG, GIF, WebP and TIFF (of both byte orders, classic and big) begins.
const STARTS: [&str; 7] = [
    "/9j/",
    "iVBORw0KGgo",
    "R0lGOD",
    "UklGR",
    "SUkqA",
    "SUkrA",
    "TU0AK",
];

/// Shortest base64 that is taken for an image: a shorter text may be a path.
const LEAST: usize = 64;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The bytes that `text` holds itself; `None` if it names a place.
pub(crate) fn held(text: &str, limits: &Limits) -> Option<Result<Vec<u8>, ImageError>> {
    if is_data(text) {
        return Some(of_data(text, limits));
    }
    let begins = STARTS.iter().any(|start| text.starts_with(start));
    if !begins || text.len() < LEAST {
        return None;
    }
    // The start alone could be that of a path.
    let head: String = text.chars().take(LEAST).collect();
    let head = decoded(&head)?;
    Format::of(&head)?;
    if let Err(error) = check_size(text, text.len(), limits) {
        return Some(Err(error));
    }
    decoded(text).map(Ok)
}

/// The encoded image in `bytes`, which may be text that holds it.
pub(crate) fn unwrapped<'a>(bytes: &'a [u8], limits: &Limits) -> Cow<'a, [u8]> {
    if Format::of(bytes).is_some() {
        return Cow::Borrowed(bytes);
    }
    let text = std::str::from_utf8(bytes).ok();
    let text = text.map(|text| text.trim_start_matches('\u{feff}').trim());
    match text.and_then(|text| held(text, limits)) {
        Some(Ok(held)) => Cow::Owned(held),
        // Text that holds nothing is no image, which whoever looks for its format says.
        _ => Cow::Borrowed(bytes),
    }
}

/// `data:`, a media type and its parameters, perhaps `;base64`, a comma, and the data.
fn of_data(text: &str, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let bad = |reason: &str| ImageError::BadReference {
        reference: shown(text),
        reason: reason.to_owned(),
    };
    let Some((head, data)) = text.split_once(',') else {
        return Err(bad("a data URI has a comma before its data"));
    };
    check_size(text, data.len(), limits)?;
    let is_base64 = head
        .rsplit(';')
        .next()
        .is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    let bytes: Cow<'_, [u8]> = percent_decode_str(data).into();
    if !is_base64 {
        return Ok(bytes.into_owned());
    }
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(decoded)
        .ok_or_else(|| bad("its data is no base64"))
}

/// Base64 of either alphabet, with or without padding; line breaks and blanks are passed over.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: Cow<'_, str> = match text.contains(|c: char| c.is_ascii_whitespace()) {
        true => text.split_ascii_whitespace().collect::<String>().into(),
        false => text.into(),
    };
    match text.contains(['-', '_']) {
        true => URL_SAFE.decode(&*text).ok(),
        false => STANDARD.decode(&*text).ok(),
    }
}

/// Four letters are three bytes, where each is a letter.
fn check_size(text: &str, letters: usize, limits: &Limits) -> Result<(), ImageError> {
    let size = letters as u64 / 4 * 3;
    if size > limits.max_bytes {
        return Err(ImageError::TooLarge {
            reference: shown(text),
            size,
            limit: limits.max_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    #[test]
    fn data_uris_hold_their_bytes() {
        let limits = Limits::default();
        let held = |text: &str| held(text, &limits).unwrap();
        assert_eq!(held("data:image/png;base64,AAEC").unwrap(), [0, 1, 2]);
        assert_eq!(held("DATA:;charset=x;BASE64,AAEC").unwrap(), [0, 1, 2]);
        assert_eq!(held("data:image/gif;base64,AA%45C").unwrap(), [0, 1, 2]);
        assert_eq!(held("data:;base64,AA\r\n EC\n").unwrap(), [0, 1, 2]);
        assert_eq!(held("data:;base64,-_8=").unwrap(), [251, 255]);
        assert_eq!(held("data:;base64,-_8").unwrap(), [251, 255]);
        assert_eq!(held("data:,a%20b").unwrap(), b"a b");
        for (wrong, reason) in [
            ("data:image/png;base64", "a comma before its data"),
            ("data:;base64,A*B", "no base64"),
        ] {
            let error = held(wrong).unwrap_err();
            assert_eq!(error.kind(), "bad_reference");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn base64_of_an_image_is_told_from_a_path() {
        let limits = Limits::default();
        let mut image = b"\xFF\xD8\xFF\xE0".to_vec();
        image.extend([7; 100]);
        assert_eq!(held(&text(&image), &limits).unwrap().unwrap(), image);
        let long = format!("/9j/{}.jpg", "folder/".repeat(20));
        for path in ["/9j/a.jpg", "/data/a.jpg", "iVBORw0KGgo", long.as_str()] {
            assert!(held(path, &limits).is_none(), "{path}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_like_a_file() {
        let limits = Limits {
            max_bytes: 90,
            ..Limits::default()
        };
        let mut image = b"\xFF\xD8\xFF\xE0".to_vec();
        image.extend([7; 100]);
        for text in [text(&image), format!("data:;base64,{}", text(&image))] {
            let error = held(&text, &limits).unwrap().unwrap_err();
            assert_eq!(error.kind(), "too_large");
            assert!(error.to_string().len() < 200, "{error}");
        }
    }
}
