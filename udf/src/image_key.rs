//! What an image is known by outside of a query: in corrections, and in a gallery that people correct.

use std::fmt;

use bytes::Bytes;
use picsift_images::{DecodePool, ImageError};

/// What the key of an image without a name begins with.
pub const DIGEST_PREFIX: &str = "sha256:";

/// What its table calls an image, the reference or the path beside the bytes; of bytes without a name [`DIGEST_PREFIX`] and their
/// SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageKey(String);

impl ImageKey {
    /// The key of an image with a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The key of bytes without a name, by their SHA-256.
    pub fn of_digest(digest: &[u8; 32]) -> Self {
        Self(format!("{DIGEST_PREFIX}{}", picsift_images::hex(digest)))
    }

    /// The key of an image whose bytes are here.
    ///
    /// # Errors
    /// When the pool that hashes the bytes has stopped.
    pub async fn of(
        name: Option<&str>,
        bytes: &Bytes,
        pool: &DecodePool,
    ) -> Result<Self, ImageError> {
        match name {
            Some(name) => Ok(Self::named(name)),
            None => Ok(Self::of_digest(&pool.hash(bytes.clone()).await?)),
        }
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
