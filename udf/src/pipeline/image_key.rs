//! What an image is known by outside of a query: in corrections, and in a gallery that people correct.

use std::fmt;

use bytes::Bytes;
use picsift_images::{DecodePool, ImageError, hex, sha256};

use crate::pipeline::image_column::ImageSource;

/// What the key of an image without a name begins with.
pub const DIGEST_PREFIX: &str = "sha256:";

/// What its table calls an image, the reference or the path beside the bytes; of bytes without a name [`DIGEST_PREFIX`] and their
/// SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageKey(String);

/// What a key is made of.
enum Basis<'a> {
    Name(&'a str),
    Bytes(&'a Bytes),
}

impl<'a> Basis<'a> {
    fn of(name: Option<&'a str>, image: Option<&'a ImageSource>) -> Option<Self> {
        match (name, image) {
            (Some(name), _) => Some(Self::Name(name)),
            (None, Some(ImageSource::Bytes(bytes))) => Some(Self::Bytes(bytes)),
            (None, _) => None,
        }
    }
}

impl ImageKey {
    /// The key of an image; hashes bytes without a name on this thread. A NULL image without a name has none.
    pub fn of(name: Option<&str>, image: Option<&ImageSource>) -> Option<Self> {
        Some(match Basis::of(name, image)? {
            Basis::Name(name) => Self(name.to_owned()),
            Basis::Bytes(bytes) => Self::of_digest(&sha256(bytes)),
        })
    }

    /// The same with the bytes hashed in `pool`.
    ///
    /// # Errors
    /// When the pool has stopped.
    pub async fn in_pool(
        name: Option<&str>,
        image: Option<&ImageSource>,
        pool: &DecodePool,
    ) -> Result<Option<Self>, ImageError> {
        Ok(match Basis::of(name, image) {
            None => None,
            Some(Basis::Name(name)) => Some(Self(name.to_owned())),
            Some(Basis::Bytes(bytes)) => Some(Self::of_digest(&pool.hash(bytes.clone()).await?)),
        })
    }

    fn of_digest(digest: &[u8; 32]) -> Self {
        Self(format!("{DIGEST_PREFIX}{}", hex(digest)))
    }

    /// The key as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ImageKey> for String {
    fn from(key: ImageKey) -> Self {
        key.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_name_or_else_by_its_bytes() {
        let bytes = ImageSource::Bytes(Bytes::from_static(b"abc"));
        let reference = ImageSource::Reference("a.jpg".to_owned());
        let key = |name, image| ImageKey::of(name, image).map(String::from);
        assert_eq!(key(Some("x"), Some(&bytes)).as_deref(), Some("x"));
        assert_eq!(key(Some("x"), None).as_deref(), Some("x"));
        assert_eq!(
            key(None, Some(&bytes)).as_deref(),
            Some("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        assert_eq!(key(None, Some(&reference)), None);
        assert_eq!(key(None, None), None);
    }
}
