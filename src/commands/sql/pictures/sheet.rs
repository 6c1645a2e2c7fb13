//! Thumbnails beside each other as one picture, which covers a whole number of the terminal's cells.

use picsift_images::RgbPixels;

/// Cells that a thumbnail may cover: a square, since a cell is about twice as high as wide.
const COLUMNS: usize = 16;
const ROWS: usize = 8;

/// Cells between two thumbnails.
const GAP: usize = 2;

/// Pixels of a terminal's cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Cell {
    /// The longest side of a thumbnail.
    pub(super) fn side(self) -> u32 {
        (self.width * COLUMNS as u32).min(self.height * ROWS as u32)
    }
}

/// Pixels with alpha, and the cells that they cover.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) width: u32,
    pub(super) height: u32,
    /// `width * height * 4` bytes: R, G, B and 255 where there is a picture, else 0.
    pub(super) data: Vec<u8>,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

impl Sheet {
    /// Of thumbnails no longer than [`Cell::side`]; it is as high as the highest, and each stands on the lower edge.
    pub(super) fn of(thumbnails: &[RgbPixels], cell: Cell) -> Self {
        let columns = (thumbnails.len() * (COLUMNS + GAP)).saturating_sub(GAP);
        let rows = thumbnails
            .iter()
            .map(|one| one.height.div_ceil(cell.height));
        let rows = rows.max().unwrap_or_default() as usize;
        let (width, height) = (columns * cell.width as usize, rows * cell.height as usize);
        let mut data = vec![0; width * height * 4];
        for (place, thumbnail) in thumbnails.iter().enumerate() {
            let left = place * (COLUMNS + GAP) * cell.width as usize;
            let top = height.saturating_sub(thumbnail.height as usize);
            let lines = thumbnail.data.chunks_exact(thumbnail.width as usize * 3);
            for (line, y) in lines.zip(top..height) {
                let begin = (y * width + left) * 4;
                for (to, from) in data[begin..].chunks_exact_mut(4).zip(line.chunks_exact(3)) {
                    to[..3].copy_from_slice(from);
                    to[3] = u8::MAX;
                }
            }
        }
        Self {
            width: width as u32,
            height: height as u32,
            data,
            columns,
            rows,
        }
    }
}

/// Thumbnails that stand beside each other in a line of so many characters; at least one.
pub(super) fn fitting(width: usize) -> usize {
    ((width + GAP) / (COLUMNS + GAP)).max(1)
}

/// The line below them: the number of each one's row.
pub(super) fn captions(rows: &[usize]) -> String {
    let each = rows.iter().map(|row| {
        let caption = format!("row {row}");
        format!("{caption:<width$}", width = COLUMNS + GAP)
    });
    each.collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_stand_side_by_side_on_the_lower_edge() {
        let cell = Cell {
            width: 2,
            height: 4,
        };
        let grey = |width: u32, height: u32| RgbPixels {
            width,
            height,
            data: vec![7; (width * height * 3) as usize],
        };
        let sheet = Sheet::of(&[grey(32, 32), grey(3, 1)], cell);
        assert_eq!((sheet.width, sheet.height), (68, 32));
        assert_eq!((sheet.columns, sheet.rows), (34, 8));
        let at = |x: usize, y: usize| &sheet.data[(y * 68 + x) * 4..][..4];
        assert_eq!(at(0, 0), [7, 7, 7, 255]);
        assert_eq!(at(32, 0), [0; 4]);
        // The second begins behind a gap of two cells, in the last line.
        assert_eq!(at(36, 30), [0; 4]);
        assert_eq!(at(38, 31), [7, 7, 7, 255]);
        assert_eq!(at(39, 31), [0; 4]);
        let low = Sheet::of(&[grey(32, 9)], cell);
        assert_eq!((low.width, low.height, low.rows), (32, 12, 3));
    }

    #[test]
    fn as_many_as_the_line_holds() {
        assert_eq!([10, 34, 35, 80].map(fitting), [1, 2, 2, 4]);
        assert_eq!(captions(&[1, 12]), "row 1             row 12");
    }
}
