//! What makes two images the same: the digest of their encoded bytes.

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes`: the identity of an image, whatever it is called.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes as people write a digest: two hexadecimal digits for each, in lower case.
///
/// ```
/// assert_eq!(picsift_images::hex(&[0, 10, 255]), "000aff");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
