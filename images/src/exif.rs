//! Which way up a picture is shown: the one reader of orientation for all formats, from EXIF blocks and XMP packets.
//!
//! EXIF is a TIFF directory, with or without `Exif\0\0` before it; the value may have any integer type. What is broken turns
//! nothing. Where both say something EXIF counts, as Pillow has it; the modules of the formats know where the blocks are.

use image::metadata::Orientation;

/// The tag of the orientation in a TIFF directory.
const ORIENTATION: u16 = 0x0112;

/// The orientation in the first directory of an EXIF block; `None` where it says none that there is.
pub(crate) fn orientation(block: &[u8]) -> Option<Orientation> {
    let mut block = block;
    // Some writers put it there twice.
    while let Some(rest) = block.strip_prefix(b"Exif\0") {
        block = rest.get(1..)?;
    }
    let big_endian = match block {
        [b'I', b'I', ..] => false,
        [b'M', b'M', ..] => true,
        _ => return None,
    };
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = block.get(at..at.checked_add(size)?)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match big_endian {
            true => bytes.iter().fold(0, add),
            false => bytes.iter().rev().fold(0, add),
        })
    };
    (number(2, 2)? == 42).then_some(())?;
    let directory = usize::try_from(number(4, 4)?).ok()?;
    let entries = usize::try_from(number(directory, 2)?).ok()?;
    for entry in 0..entries {
        let at = directory
            .checked_add(2)?
            .checked_add(entry.checked_mul(12)?)?;
        if number(at, 2)? != u64::from(ORIENTATION) {
            continue;
        }
        let size = match number(at + 2, 2)? {
            // Bytes, signed or not, and undefined ones.
            1 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 13 => 4,
            _ => return None,
        };
        (number(at + 4, 4)? == 1).then_some(())?;
        return of_value(number(at + 8, size)?);
    }
    None
}

/// The orientation that the number of a tag stands for.
pub(crate) fn of_value(value: u64) -> Option<Orientation> {
    Orientation::from_exif(u8::try_from(value).ok()?)
}

/// The orientation in an XMP packet, written as an attribute or as an element.
pub(crate) fn orientation_of_xmp(packet: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    let at = packet.windows(NAME.len()).position(|part| part == NAME)?;
    let rest = packet[at + NAME.len()..].trim_ascii_start();
    let value = match rest {
        [b'>', rest @ ..] => rest,
        [b'=', rest @ ..] => rest
            .trim_ascii_start()
            .strip_prefix(b"\"")
            .or_else(|| rest.trim_ascii_start().strip_prefix(b"'"))?,
        _ => return None,
    };
    match value.trim_ascii_start() {
        [
            digit @ b'1'..=b'8',
            b'"' | b'\'' | b'<' | b' ' | b'\n' | b'\r' | b'\t',
            ..,
        ] => of_value(u64::from(digit - b'0')),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(big_endian: bool, kind: u16, value: &[u8]) -> Vec<u8> {
        let two = |n: u16| match big_endian {
            true => n.to_be_bytes(),
            false => n.to_le_bytes(),
        };
        let four = |n: u32| match big_endian {
            true => n.to_be_bytes(),
            false => n.to_le_bytes(),
        };
        let mut out = if big_endian {
            b"MM".to_vec()
        } else {
            b"II".to_vec()
        };
        out.extend(two(42));
        out.extend(four(8));
        out.extend(two(2));
        out.extend([&two(0x010F)[..], &two(3), &four(1), &[0; 4]].concat());
        out.extend([&two(ORIENTATION)[..], &two(kind), &four(1)].concat());
        out.extend(value);
        out.resize(10 + 24 + 4, 0);
        out
    }

    #[test]
    fn any_integer_type_in_either_byte_order_counts() {
        for (kind, little, big) in [
            (1, &[6][..], &[6][..]),
            (3, &[6, 0], &[0, 6]),
            (4, &[6, 0, 0, 0], &[0, 0, 0, 6]),
            (6, &[6], &[6]),
            (8, &[6, 0], &[0, 6]),
            (9, &[6, 0, 0, 0], &[0, 0, 0, 6]),
        ] {
            for block in [block(false, kind, little), block(true, kind, big)] {
                assert_eq!(orientation(&block), Some(Orientation::Rotate90), "{kind}");
                let prefixed = [b"Exif\0\0", &block[..]].concat();
                assert_eq!(orientation(&prefixed), Some(Orientation::Rotate90));
            }
        }
        assert_eq!(orientation(&block(false, 5, &[6, 0, 0, 0])), None);
        assert_eq!(orientation(&block(false, 3, &[6, 1])), None);
    }

    #[test]
    fn xmp_says_it_as_an_attribute_or_an_element() {
        for (packet, want) in [
            ("<a tiff:Orientation=\"6\"/>", Some(Orientation::Rotate90)),
            ("<a tiff:Orientation = '3'/>", Some(Orientation::Rotate180)),
            (
                "<tiff:Orientation> 8 </tiff:Orientation>",
                Some(Orientation::Rotate270),
            ),
            ("<a tiff:Orientation=\"9\"/>", None),
            ("<a tiff:Orientation=\"61\"/>", None),
            ("<a tiff:Orientation=\"", None),
            ("<a/>", None),
        ] {
            assert_eq!(orientation_of_xmp(packet.as_bytes()), want, "{packet}");
        }
    }
}
