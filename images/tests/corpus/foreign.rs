//! What is no image, or not the one that its name says.

use super::random::Random;
use super::{Collection, Expected, bmp, gif, jpeg, png, tiff, webp};

const NAMES: [&str; 8] = ["jpg", "jpeg", "png", "gif", "webp", "tif", "bmp", "JPG"];

pub(crate) fn add(all: &mut Collection, random: &mut Random) {
    use Expected::{Fails, Ok};
    let heif = |brand: &[u8; 4]| {
        let mut out = b"\0\0\0\x1cftyp".to_vec();
        out.extend(brand);
        out.extend(b"\0\0\0\0mif1miaf");
        out.resize(2000, 0x11);
        out
    };
    let others: [(&str, Vec<u8>); 24] = [
        (
            "HTML page",
            b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>".to_vec(),
        ),
        ("HTML page behind blanks", b"\n\n   <html></html>".to_vec()),
        ("error as JSON", b"{\"error\": \"AccessDenied\"}".to_vec()),
        (
            "error as XML",
            b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>".to_vec(),
        ),
        ("text", b"This image was removed.".to_vec()),
        ("text of a large size", b"word ".repeat(40_000)),
        (
            "SVG drawing",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>".to_vec(),
        ),
        (
            "SVG drawing that includes itself",
            b"<?xml version=\"1.0\"?><!DOCTYPE svg [<!ENTITY a \"&a;&a;\">]><svg>&a;</svg>"
                .to_vec(),
        ),
        (
            "PDF document",
            b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n1 0 obj".to_vec(),
        ),
        ("ZIP archive", b"PK\x03\x04\x14\0\0\0\x08\0".to_vec()),
        ("gzip stream", b"\x1F\x8B\x08\0\0\0\0\0\0\x03".to_vec()),
        ("Parquet file", b"PAR1\x15\x04\x15\x10".to_vec()),
        ("AVIF image", heif(b"avif")),
        ("HEIC image", heif(b"heic")),
        ("MP4 video", heif(b"mp42")),
        ("JPEG XL codestream", b"\xFF\x0A\xFA\x7F\x01".to_vec()),
        ("JPEG 2000 image", b"\0\0\0\x0CjP  \r\n\x87\n".to_vec()),
        ("icon", b"\0\0\x01\0\x01\0\x10\x10\0\0".to_vec()),
        ("Photoshop document", b"8BPS\0\x01\0\0\0\0".to_vec()),
        ("ELF program", b"\x7FELF\x02\x01\x01\0".to_vec()),
        ("zero bytes", vec![0; 5000]),
        ("ones", vec![0xFF; 5000]),
        ("nothing", Vec::new()),
        ("RIFF sound", b"RIFF\x24\0\0\0WAVEfmt ".to_vec()),
    ];
    for (index, (what, bytes)) in others.iter().enumerate() {
        for step in 0..3 {
            let name = format!("foreign.{}", NAMES[(index + 3 * step) % NAMES.len()]);
            all.add(
                &name,
                Fails,
                format!("{what} under the name of an image"),
                bytes.clone(),
            );
        }
    }
    let images = [
        ("JPEG", jpeg::plain()),
        ("PNG", png::plain()),
        ("GIF", gif::plain()),
        ("BMP", bmp::plain()),
        ("TIFF", tiff::plain()),
        ("WebP", webp::plain()),
    ];
    for (format, bytes) in &images {
        for name in NAMES {
            all.add(
                &format!("lie.{name}"),
                Ok,
                format!("{format} named .{name}"),
                bytes.clone(),
            );
        }
        for position in 0..4 {
            let mut wrong = bytes.clone();
            wrong[position] ^= 0x20 + random.byte() % 0x20;
            // Of a WebP's first four letters and of two of a JPEG's any other is another format.
            let expected = if *format == "JPEG" && position > 2 {
                Expected::Either
            } else {
                Fails
            };
            // BMP is known by two letters; what follows is its size.
            let expected = if *format == "BMP" && position > 1 {
                Expected::Either
            } else {
                expected
            };
            all.add(
                "magic.bin",
                expected,
                format!("{format} whose byte {position} is wrong"),
                wrong,
            );
        }
        let mut shifted = vec![0x20];
        shifted.extend(bytes);
        all.add(
            "magic.bin",
            Fails,
            format!("{format} behind a blank"),
            shifted,
        );
        let mut noise = bytes[..bytes.len().min(12)].to_vec();
        noise.extend((0..3000).map(|_| random.byte()));
        all.add(
            "noise.bin",
            Fails,
            format!("{format} of noise behind its first bytes"),
            noise,
        );
        for (other, tail) in &images {
            if format != other {
                let mut both = bytes[..bytes.len() / 2].to_vec();
                both.extend(tail);
                all.add(
                    "spliced.bin",
                    Expected::Either,
                    format!("half a {format} and then a {other}"),
                    both,
                );
            }
        }
    }
    for length in [1, 2, 3, 5, 16, 100, 1000, 10_000] {
        for _ in 0..4 {
            let bytes: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            all.add(
                "noise.jpg",
                Expected::Either,
                format!("{length} random bytes"),
                bytes,
            );
        }
    }
}
