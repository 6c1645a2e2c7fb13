//! Images whose table says what they are: the SHA-256 that stands beside each.
//!
//! The digest travels with the image as a struct of both, as a place does in [`crate::pipeline::base`]. What is fetched is compared where its
//! bytes are; a row without a digest is not checked. Nothing here fetches or hashes.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, lit};
use picsift_images::{hex, shown};

use crate::pipeline::image_column::{is_binary, is_text};
use crate::pipeline::outcome::RowError;

/// The parts of what [`checked`] makes.
const IMAGE: &str = "image";
const DIGEST: &str = "sha256";

/// What the bytes of an image must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Digest {
    /// Their SHA-256.
    Sha256([u8; 32]),
    /// What stands in the table is none.
    Unreadable(String),
}

impl Digest {
    /// Compares it with that of the bytes.
    ///
    /// # Errors
    /// The row's failure, where they differ.
    pub(crate) fn check(&self, found: &[u8; 32]) -> std::result::Result<(), RowError> {
        let message = match self {
            Self::Sha256(wanted) if wanted == found => return Ok(()),
            Self::Sha256(wanted) => format!(
                "its bytes have the SHA-256 {}, and its table says {}",
                hex(found),
                hex(wanted)
            ),
            Self::Unreadable(text) => format!(
                "its table says '{text}' where a SHA-256 belongs: 64 hexadecimal digits, or 32 bytes"
            ),
        };
        Err(RowError {
            stage: "fetch",
            kind: "wrong_digest",
            message,
            reference: None,
        })
    }
}

/// Whether a column of this type can hold digests.
pub fn is_digest_type(data_type: &DataType) -> bool {
    is_text(data_type) || is_binary(data_type) || matches!(data_type, DataType::FixedSizeBinary(32))
}

/// An image together with its digest.
pub(crate) fn checked(image: Expr, digest: Expr) -> Expr {
    named_struct(vec![lit(IMAGE), image, lit(DIGEST), digest])
}

/// The two columns that [`checked`] put together.
///
/// # Errors
/// Where they are not there.
pub(crate) fn parts(column: &ArrayRef) -> Result<(&ArrayRef, Vec<Option<Digest>>)> {
    let parts = column.as_struct_opt();
    let parts = parts.and_then(|both| {
        let images = both.column_by_name(IMAGE)?;
        Some((images, both.column_by_name(DIGEST)?))
    });
    let Some((images, digests)) = parts else {
        return internal_err!("images came without their digests");
    };
    Ok((images, read(digests)?))
}

fn read(column: &ArrayRef) -> Result<Vec<Option<Digest>>> {
    if is_text(column.data_type()) {
        let texts = cast(column, &DataType::LargeUtf8)?;
        let texts = texts.as_string::<i64>().iter();
        return Ok(texts.map(|text| text.map(of_text)).collect());
    }
    let bytes = cast(column, &DataType::LargeBinary)?;
    let bytes = bytes.as_binary::<i64>().iter();
    Ok(bytes.map(|bytes| bytes.map(of_bytes)).collect())
}

fn of_text(text: &str) -> Digest {
    let text = text.trim();
    let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let mut digest = [0; 32];
    let mut whole = digits.len() == 64;
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        match pair {
            [high, low] => match (value(*high), value(*low)) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => whole = false,
            },
            _ => whole = false,
        }
    }
    match whole {
        true => Digest::Sha256(digest),
        false => Digest::Unreadable(shown(text)),
    }
}

fn of_bytes(bytes: &[u8]) -> Digest {
    match bytes.try_into() {
        Ok(digest) => Digest::Sha256(digest),
        Err(_) => match std::str::from_utf8(bytes) {
            Ok(text) => of_text(text),
            Err(_) => Digest::Unreadable(format!("{} bytes", bytes.len())),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, StringArray};

    use super::*;

    #[test]
    fn a_digest_is_digits_or_bytes_and_its_absence_is_no_error() {
        let bytes = picsift_images::sha256(b"abc");
        let text = hex(&bytes);
        let upper = text.to_uppercase();
        let column: ArrayRef = Arc::new(StringArray::from(vec![
            Some(text.as_str()),
            Some(upper.as_str()),
            None,
            Some("abc"),
            Some(""),
        ]));
        let found = read(&column).unwrap();
        assert_eq!(found[0], Some(Digest::Sha256(bytes)));
        assert_eq!(found[1], found[0]);
        assert_eq!(found[2], None);
        for wrong in &found[3..] {
            assert!(matches!(wrong, Some(Digest::Unreadable(_))), "{wrong:?}");
        }
        let column: ArrayRef = Arc::new(BinaryArray::from(vec![&bytes[..], text.as_bytes(), &[1]]));
        let found = read(&column).unwrap();
        assert_eq!(found[0], Some(Digest::Sha256(bytes)));
        assert_eq!(found[1], found[0]);
        assert!(matches!(found[2], Some(Digest::Unreadable(_))));
    }

    #[test]
    fn what_differs_is_said() {
        let wanted = Digest::Sha256([1; 32]);
        assert!(wanted.check(&[1; 32]).is_ok());
        let said = wanted.check(&[2; 32]).unwrap_err().to_string();
        assert!(
            said.contains(&"02".repeat(32)) && said.contains(&"01".repeat(32)),
            "{said}"
        );
    }
}
