//! A picture as sixels, as terminals of DEC's and their successors take them: bands of six lines, one colour after the other.
//!
//! The colours are a cube of six levels of each channel, dithered in a fixed pattern, which at the size of a thumbnail is as good as
//! a palette of the picture's own, and the same on every run.

use std::fmt::Write as _;

use super::sheet::Sheet;

/// Levels of a channel.
const LEVELS: u8 = 6;

/// Thresholds by which neighbours are rounded differently (Bayer's of four by four), in sixteenths.
const PATTERN: [[u8; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

/// Lines of a band.
const BAND: usize = 6;

/// The escape sequence that draws a sheet; what has no picture in it is left as it is.
pub(super) fn sixels(sheet: &Sheet) -> String {
    let (width, height) = (sheet.width as usize, sheet.height as usize);
    // Text is written to a String, which does not fail.
    let mut text = format!("\x1bP0;1;0q\"1;1;{width};{height}");
    let mut declared = [false; 216];
    for top in (0..height).step_by(BAND) {
        // Of each colour of the band which of its six lines have it, column by column.
        let mut columns: Vec<(u8, Vec<u8>)> = Vec::new();
        for y in top..(top + BAND).min(height) {
            for x in 0..width {
                let Some(colour) = colour(sheet, x, y) else {
                    continue;
                };
                let found = columns.iter().position(|(own, _)| *own == colour);
                let place = found.unwrap_or_else(|| {
                    columns.push((colour, vec![0; width]));
                    columns.len() - 1
                });
                columns[place].1[x] |= 1 << (y - top);
            }
        }
        for (colour, bits) in &columns {
            let known = &mut declared[usize::from(*colour)];
            if !std::mem::replace(known, true) {
                let level = |n: u8| u32::from(n % LEVELS) * 20;
                let (red, green, blue) = (colour / 36, colour / LEVELS, *colour);
                let _ = write!(
                    text,
                    "#{colour};2;{};{};{}",
                    level(red),
                    level(green),
                    level(blue)
                );
            }
            let _ = write!(text, "#{colour}");
            for run in bits.chunk_by(|a, b| a == b) {
                // Sixty-three is the sixel without a pixel.
                let sixel = char::from(63 + run[0]);
                match run.len() {
                    few if few < 4 => text.extend(std::iter::repeat_n(sixel, few)),
                    many => {
                        let _ = write!(text, "!{many}{sixel}");
                    }
                }
            }
            text.push('$');
        }
        text.push('-');
    }
    text.push_str("\x1b\\");
    text
}

/// The colour of a pixel, by its number in the cube; `None` where there is no picture.
fn colour(sheet: &Sheet, x: usize, y: usize) -> Option<u8> {
    let pixel = &sheet.data[(y * sheet.width as usize + x) * 4..][..4];
    if pixel[3] == 0 {
        return None;
    }
    let threshold = u32::from(PATTERN[y % 4][x % 4]) * 2 + 1;
    let level = |channel: u8| {
        // In 32nds of a step.
        let exact = u32::from(channel) * u32::from(LEVELS - 1) * 32 / 255;
        let up = u32::from(exact % 32 > threshold);
        (exact / 32 + up) as u8
    };
    Some(level(pixel[0]) * 36 + level(pixel[1]) * LEVELS + level(pixel[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_of_six_lines_have_their_colours_one_after_the_other() {
        let mut data = Vec::new();
        for y in 0..7 {
            for x in 0..5 {
                data.extend(match (x, y) {
                    (4, _) => [0; 4],
                    (0, 0) => [255, 255, 255, 255],
                    _ => [255, 0, 0, 255],
                });
            }
        }
        let sheet = Sheet {
            width: 5,
            height: 7,
            data,
            columns: 1,
            rows: 1,
        };
        assert_eq!(
            sixels(&sheet),
            "\x1bP0;1;0q\"1;1;5;7\
             #215;2;100;100;100#215@!4?$#180;2;100;0;0#180}~~~?$-\
             #180!4@?$-\x1b\\"
        );
    }

    #[test]
    fn a_level_between_two_is_dithered_between_them() {
        let sheet = Sheet {
            width: 4,
            height: 4,
            data: [128, 128, 128, 255].repeat(16),
            columns: 1,
            rows: 1,
        };
        let each = (0..16).filter_map(|at| colour(&sheet, at % 4, at / 4));
        let (low, high): (Vec<u8>, Vec<u8>) = each.partition(|colour| *colour == 2 * 43);
        assert!(high.iter().all(|colour| *colour == 3 * 43));
        assert_eq!((low.len(), high.len()), (8, 8));
    }
}
