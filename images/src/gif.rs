//! A GIF before its decoder sees it: up to the first frame it is as the decoder knows it.
//!
//! Some writers give a canvas that is smaller than the frame, or none. The frame's pixels are the picture, so the canvas is made as large
//! as the frame needs. Blocks that mean nothing are passed over, colours that no table has are black, and without any table indices are
//! levels of grey, all as in Pillow. Later frames are not looked at.

use std::borrow::Cow;

/// The file's header, which the global table of colours follows.
const HEADER: usize = 13;

/// The file as its decoder shows it. What cannot be read is left to the decoder.
pub(crate) fn mended(bytes: &[u8]) -> Cow<'_, [u8]> {
    match First::read(bytes) {
        Some(first) if !first.is_plain(bytes) => Cow::Owned(first.written(bytes)),
        _ => Cow::Borrowed(bytes),
    }
}

/// What comes up to the data of the first frame.
struct First<'a> {
    /// The canvas that holds the frame too.
    canvas: (u16, u16),
    table: &'a [u8],
    /// The block that says how to show the frame.
    control: &'a [u8],
    /// Something that the decoder does not know comes before the frame.
    strange: bool,
    /// Where the frame's header is.
    at: usize,
    own_table: &'a [u8],
    /// The frame's data from the size of its codes on.
    data: &'a [u8],
}

impl<'a> First<'a> {
    fn read(bytes: &'a [u8]) -> Option<First<'a>> {
        let &[w0, w1, h0, h1, flags, ..] = bytes.get(6..HEADER)? else {
            return None;
        };
        let canvas = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
        let table = bytes.get(HEADER..HEADER + colours(flags))?;
        let mut rest = &bytes[HEADER + table.len()..];
        let (mut control, mut strange): (&[u8], _) = (&[], false);
        loop {
            match rest {
                [0x21, label, blocks @ ..] => {
                    let mut blocks = blocks;
                    // Pieces of up to 255 bytes; one of none ends them.
                    loop {
                        let (&length, after) = blocks.split_first()?;
                        blocks = after.get(usize::from(length)..)?;
                        if length == 0 {
                            break;
                        }
                    }
                    match label {
                        0xF9 => control = &rest[..rest.len() - blocks.len()],
                        0x01 | 0xFE | 0xFF => {}
                        _ => strange = true,
                    }
                    rest = blocks;
                }
                [0, after @ ..] => (strange, rest) = (true, after),
                &[0x2C, x0, x1, y0, y1, w0, w1, h0, h1, flags, ref after @ ..] => {
                    let end = |from: [u8; 2], side: [u8; 2]| {
                        u16::from_le_bytes(from).checked_add(u16::from_le_bytes(side))
                    };
                    let (own_table, data) = after.split_at_checked(colours(flags))?;
                    return Some(First {
                        canvas: (
                            end([x0, x1], [w0, w1])?.max(canvas.0),
                            end([y0, y1], [h0, h1])?.max(canvas.1),
                        ),
                        table,
                        control,
                        strange,
                        at: bytes.len() - rest.len(),
                        own_table,
                        data,
                    });
                }
                _ => return None,
            }
        }
    }

    /// Whether the decoder shows the file as it is.
    fn is_plain(&self, bytes: &[u8]) -> bool {
        let canvas = [self.canvas.0.to_le_bytes(), self.canvas.1.to_le_bytes()].concat();
        !self.strange && bytes[6..10] == canvas && self.used_table().len() >= self.most_used()
    }

    fn used_table(&self) -> &'a [u8] {
        match self.own_table {
            [] => self.table,
            own => own,
        }
    }

    /// Bytes of a table that has a colour for each index there may be.
    fn most_used(&self) -> usize {
        match self.data {
            [bits @ 1..=8, ..] => 3 << bits,
            _ => 0,
        }
    }

    fn written(&self, bytes: &[u8]) -> Vec<u8> {
        let table = match self.used_table() {
            [] => (0..=255).flat_map(|level| [level; 3]).collect(),
            table if table.len() < self.most_used() => {
                let mut table = table.to_vec();
                table.resize(3 << 8, 0);
                table
            }
            table => table.to_vec(),
        };
        // The frame's table comes to be the global one: what follows the frame is not looked at.
        let bits = (table.len() / 3).ilog2().saturating_sub(1) as u8;
        let mut out = bytes[..6].to_vec();
        out.extend(self.canvas.0.to_le_bytes());
        out.extend(self.canvas.1.to_le_bytes());
        out.extend([0x80 | (bytes[10] & 0x70) | bits, bytes[11], bytes[12]]);
        out.extend(&table);
        out.extend(self.control);
        out.extend(&bytes[self.at..self.at + 9]);
        // Without a table of its own; interlaced as before.
        out.push(bytes[self.at + 9] & 0x40);
        out.extend(self.data);
        out
    }
}

/// Bytes of the colour table that the flags announce.
fn colours(flags: u8) -> usize {
    match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    }
}
