//! Names that nobody else gives.

/// Random hexadecimal digits of this length.
pub(super) fn token(characters: usize) -> String {
    let mut text = String::new();
    while text.len() < characters {
        // Each is seeded by the system.
        use std::hash::{BuildHasher, Hasher};
        let chance = std::hash::RandomState::new().build_hasher().finish();
        text.push_str(&format!("{chance:016x}"));
    }
    text.truncate(characters);
    text
}
