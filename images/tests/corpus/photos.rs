//! Real photographs: cut, with bytes flipped, with stretches of them overwritten or missing.

use std::path::Path;

use super::random::Random;
use super::{Collection, Expected};

/// Photographs above this size are left out, so that the files stay small.
const LARGEST: usize = 40 << 10;

/// Adds damaged photographs until there are `files` files.
pub(crate) fn add(
    all: &mut Collection,
    random: &mut Random,
    folder: &Path,
    files: usize,
) -> std::io::Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()?;
    names.sort();
    let mut photos = Vec::new();
    for path in names {
        let bytes = std::fs::read(&path)?;
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_owned);
        if let Some(extension) = extension.filter(|_| bytes.len() <= LARGEST) {
            photos.push((extension, bytes));
        }
    }
    if photos.is_empty() {
        return Err(std::io::Error::other(format!(
            "{} has no small photographs",
            folder.display()
        )));
    }
    while all.cases.len() < files {
        let (extension, photo) = &photos[random.below(photos.len())];
        let size = photo.len();
        let mut bytes = photo.clone();
        let (kind, expected, what) = match random.below(8) {
            0 => ("photo", Expected::Ok, "an untouched photograph".to_owned()),
            1 => {
                let at = size / 20 + random.below(size * 9 / 10);
                bytes.truncate(at);
                (
                    "cutphoto",
                    Expected::Fails,
                    format!("the first {at} of {size} bytes of a photograph"),
                )
            }
            2 => {
                let at = size / 20 + random.below(size * 9 / 10);
                bytes[at..].fill(0);
                (
                    "zeroed",
                    Expected::Either,
                    format!("a photograph with zeros from byte {at} on"),
                )
            }
            3 => {
                let at = random.below(size * 9 / 10);
                let length = 1 + random.below(size / 10);
                bytes.drain(at..at + length);
                (
                    "hole",
                    Expected::Either,
                    format!("a photograph without {length} bytes from {at} on"),
                )
            }
            4 => {
                let at = random.below(size.min(600));
                bytes[at] = random.byte();
                (
                    "header",
                    Expected::Either,
                    format!("a photograph with another byte {at}"),
                )
            }
            _ => {
                let count = 1 << random.below(8);
                for _ in 0..count {
                    let at = random.below(size);
                    bytes[at] ^= 1 << random.below(8);
                }
                (
                    "flipped",
                    Expected::Either,
                    format!("a photograph with {count} flipped bits"),
                )
            }
        };
        all.add(&format!("{kind}.{extension}"), expected, what, bytes);
    }
    Ok(())
}
