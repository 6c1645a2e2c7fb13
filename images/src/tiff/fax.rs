//! Fax coding: rows of black and white by run lengths (Group 3, with and without end-of-line codes) and by the row above
//! (Group 3 in two dimensions, Group 4).
//!
//! The code words are those of the crate `fax`, whose own decoders know neither Group 3 in two dimensions nor rows without an
//! end-of-line code.

use std::convert::Infallible;

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, ByteReader};

use crate::deadline::Deadline;
use crate::error::ImageError;

/// How rows are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Run lengths alone, each row from a byte's first bit on.
    Aligned,
    /// Group 3; in two dimensions each row says how it is coded.
    Group3 {
        two_dimensions: bool,
    },
    Group4,
}

type Bits<I> = ByteReader<I>;

/// Decodes rows into `out`, `row` bytes each: a bit a pixel, 1 for black. False where the data breaks off or is damaged.
pub(super) fn decode(
    data: &[u8],
    coding: Coding,
    width: u32,
    row: usize,
    out: &mut [u8],
    deadline: &Deadline,
) -> Result<bool, ImageError> {
    // A code is looked for in more bits than it may have.
    let padded = data.iter().copied().chain([0; 4]).map(Ok::<u8, Infallible>);
    let Ok(mut bits) = ByteReader::new(padded);
    let (mut above, mut current) = (Vec::new(), Vec::new());
    for out in out.chunks_exact_mut(row) {
        // A pixel may be a code.
        deadline.spend(width as usize)?;
        current.clear();
        let complete = match coding {
            Coding::Aligned => {
                let whole = run_lengths(&mut bits, width, &mut current);
                let left = bits.bits_to_byte_boundary();
                let Ok(()) = bits.consume(left);
                whole
            }
            Coding::Group3 { two_dimensions } => {
                let ends = end_of_line(&mut bits);
                let one = match two_dimensions {
                    false => true,
                    true if ends => take(&mut bits) == Some(true),
                    true => return Ok(false),
                };
                match one {
                    true => run_lengths(&mut bits, width, &mut current),
                    false => by_row_above(&mut bits, width, &above, &mut current) == Some(true),
                }
            }
            Coding::Group4 => match by_row_above(&mut bits, width, &above, &mut current) {
                // What is left out behind the end is white.
                Some(false) => return Ok(true),
                row => row.is_some(),
            },
        };
        if !complete {
            return Ok(false);
        }
        for run in current.chunks(2) {
            let end = run.get(1).copied().unwrap_or(width);
            (run[0]..end.min(width)).for_each(|x| out[x as usize / 8] |= 0x80 >> (x % 8));
        }
        std::mem::swap(&mut above, &mut current);
    }
    Ok(true)
}

/// The next bit.
fn take<I: Iterator<Item = Result<u8, Infallible>>>(bits: &mut Bits<I>) -> Option<bool> {
    let bit = bits.peek(1)? == 1;
    let Ok(()) = bits.consume(1);
    Some(bit)
}

/// Passes over an end-of-line code, if one is next, with the zeros that may fill up to it. No code of a run begins with so many.
fn end_of_line<I: Iterator<Item = Result<u8, Infallible>>>(bits: &mut Bits<I>) -> bool {
    if bits.peek(9) != Some(0) {
        return false;
    }
    loop {
        match take(bits) {
            Some(true) => return true,
            Some(false) => {}
            None => return false,
        }
    }
}

/// A run of one colour.
fn run<I: Iterator<Item = Result<u8, Infallible>>>(
    bits: &mut Bits<I>,
    is_black: bool,
) -> Option<u32> {
    let mut sum = 0_u32;
    loop {
        let part = match is_black {
            true => black::decode(bits),
            false => white::decode(bits),
        }?;
        sum = sum.checked_add(part.into())?;
        if part < 64 {
            return Some(sum);
        }
    }
}

/// A row of run lengths, as the places where the colour changes.
fn run_lengths<I: Iterator<Item = Result<u8, Infallible>>>(
    bits: &mut Bits<I>,
    width: u32,
    changes: &mut Vec<u32>,
) -> bool {
    let (mut at, mut is_black) = (0_u32, false);
    while at < width {
        match run(bits, is_black).and_then(|run| at.checked_add(run)) {
            Some(end) => at = end,
            None => return false,
        }
        changes.push(at);
        is_black = !is_black;
    }
    true
}

/// A row by the changes in the row above; false at the end of the picture, `None` for damage.
fn by_row_above<I: Iterator<Item = Result<u8, Infallible>>>(
    bits: &mut Bits<I>,
    width: u32,
    above: &[u32],
    changes: &mut Vec<u32>,
) -> Option<bool> {
    // Before the first pixel, so that a change above the first one counts.
    let mut at = None::<u32>;
    let mut is_black = false;
    // The change above to the colour that is not the current one; every other change is to black.
    let mut next = 0_usize;
    while at.unwrap_or(0) < width {
        while above
            .get(next)
            .is_some_and(|&change| at.is_some_and(|at| change <= at))
        {
            next += 2;
        }
        let change = |index: usize| above.get(index).copied().unwrap_or(width);
        match mode::decode(bits)? {
            Mode::Pass => at = Some(change(next + 1)),
            Mode::Vertical(distance) => {
                let to = change(next).checked_add_signed(distance.into())?;
                if to < at.unwrap_or(0) {
                    return None;
                }
                changes.push(to);
                at = Some(to);
                is_black = !is_black;
                // The row above changes to the other colour between the changes that were passed.
                next = next.checked_sub(1).unwrap_or(1);
            }
            Mode::Horizontal => {
                let first = at.unwrap_or(0).checked_add(run(bits, is_black)?)?;
                let second = first.checked_add(run(bits, !is_black)?)?;
                changes.extend([first, second]);
                at = Some(second);
            }
            Mode::EOF if changes.is_empty() => return Some(false),
            Mode::EOF | Mode::Extension => return None,
        }
    }
    Some(true)
}
