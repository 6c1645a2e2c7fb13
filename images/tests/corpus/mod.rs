//! 2,000 bad and odd image files, made from a seed: what a crawl of the web, a broken disk or an attacker puts in a table.
//!
//! Owns the files and what is certain of each: that it decodes, that it fails, or that either is right (a flipped bit may
//! or may not matter). It knows no decoder, so that its expectations come from the formats and not from what a decoder
//! does; the small encoders here write what no library agrees to write. Bombs are small on disk: a file is at most a few
//! megabytes and all of them together below 40 MB.
//!
//! The module needs the standard library only; tests of other crates include it by its path.

mod bits;
mod bmp;
mod exif;
mod foreign;
mod gif;
mod jpeg;
mod photos;
mod png;
mod random;
mod tiff;
mod webp;

use std::io::Write as _;
use std::path::Path;

use random::Random;

/// How many files there are.
pub(crate) const FILES: usize = 2_000;

/// What is certain of a file under the default limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It decodes to a whole picture.
    Ok,
    /// It is refused.
    Fails,
    /// Both are right: the damage may lie where nobody looks, or tolerance is a matter of taste.
    Either,
}

impl Expected {
    /// As `expected.csv` writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Expected::Ok => "ok",
            Expected::Fails => "fails",
            Expected::Either => "either",
        }
    }
}

/// One file.
pub(crate) struct Case {
    /// Its name: a number, what it is in a word or two, and an extension that may lie.
    pub(crate) file: String,
    /// Its content.
    pub(crate) bytes: Vec<u8>,
    /// What is certain of it.
    pub(crate) expected: Expected,
    /// What it is, in words without commas or quotes.
    pub(crate) what: String,
}

/// The files so far.
struct Collection {
    cases: Vec<Case>,
}

impl Collection {
    /// Adds a file whose name says `kind`; `name` ends in the extension.
    fn add(&mut self, kind: &str, expected: Expected, what: impl Into<String>, bytes: Vec<u8>) {
        let (stem, extension) = kind.rsplit_once('.').unwrap_or((kind, "bin"));
        let what = what.into();
        debug_assert!(!what.contains([',', '"', '\n']), "{what}");
        self.cases.push(Case {
            file: format!("{:04}-{stem}.{extension}", self.cases.len()),
            bytes,
            expected,
            what,
        });
    }

    /// Adds `bytes` cut at each of `places` and in the middle between two of them. Before `whole` something of the
    /// picture is missing, so that it must fail; behind it only what closes the file is.
    fn add_cut(&mut self, kind: &str, what: &str, bytes: &[u8], places: &[usize], whole: usize) {
        let mut places = places.to_vec();
        places.extend([0, 3, 8, whole, bytes.len() - 1]);
        places.sort_unstable();
        places.dedup();
        let middles: Vec<usize> = places.windows(2).map(|w| (w[0] + w[1]) / 2).collect();
        places.extend(middles);
        places.sort_unstable();
        places.dedup();
        for at in places.into_iter().filter(|&at| at < bytes.len()) {
            let expected = if at < whole {
                Expected::Fails
            } else {
                Expected::Either
            };
            let what = format!("{what}: the first {at} of {} bytes", bytes.len());
            self.add(kind, expected, what, bytes[..at].to_vec());
        }
    }
}

/// All files of `seed`, with `photos` (a folder of real photographs) as the stock of what is damaged at random.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn cases(seed: u64, photos: &Path) -> std::io::Result<Vec<Case>> {
    let mut all = Collection { cases: Vec::new() };
    let mut random = Random::new(seed);
    jpeg::add(&mut all);
    png::add(&mut all);
    gif::add(&mut all);
    bmp::add(&mut all);
    tiff::add(&mut all);
    webp::add(&mut all);
    exif::add(&mut all);
    foreign::add(&mut all, &mut random);
    photos::add(&mut all, &mut random, photos, FILES)?;
    all.cases.truncate(FILES);
    Ok(all.cases)
}

/// Writes the files and `expected.csv` (file, expected, what) into `folder`, which is made if it is missing.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(folder: &Path, cases: &[Case]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut csv = std::io::BufWriter::new(std::fs::File::create(folder.join("expected.csv"))?);
    writeln!(csv, "file,expected,what")?;
    for case in cases {
        std::fs::write(folder.join(&case.file), &case.bytes)?;
        writeln!(csv, "{},{},{}", case.file, case.expected.name(), case.what)?;
    }
    csv.flush()
}
