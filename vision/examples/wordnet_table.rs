//! Makes the noun tables of `vision/data/wordnet/` from WordNet's own files.
//!
//!     cargo run --release -p picsift-vision --example wordnet_table -- /usr/share/wordnet [OUTPUT_FOLDER]
//!
//! The WordNet folder (Debian: package `wordnet-base`) holds `data.noun`, `index.noun`, `noun.exc` and
//! `cntlist.rev`; the formats are WordNet's `wndb(5WN)` and `cntlist(5WN)`. The classes come from the `classes.csv` of the models
//! in `vision/data/`. Same input, same bytes: run it into another folder to
//! compare. The format of what it writes is in `vision/data/wordnet/README.md`.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The strongest level that `zstd` gives without long-window options; reading speed does not depend on it.
const ZSTD_LEVEL: i32 = 19;

/// One line of `data.noun`.
struct Synset {
    words: Vec<String>,
    hypernyms: Vec<String>,
}

/// The lists of classes, whose numbers in the table follow one another.
const LISTS: [&str; 2] = ["efficientnet-lite0/classes.csv", "coco-ssd/classes.csv"];

/// One class of an image model: its number and its names, separated by bars.
struct Class {
    number: u16,
    name: String,
}

/// The classes at each offset; a synset may be a class of several lists.
type Classes = BTreeMap<String, Vec<Class>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let wordnet = arguments.next().ok_or(
        "usage: wordnet_table WORDNET_FOLDER [OUTPUT_FOLDER], for example /usr/share/wordnet",
    )?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let output = arguments.next().unwrap_or_else(|| data.join("wordnet"));

    let synsets = read_synsets(&wordnet.join("data.noun"))?;
    let mut classes = Classes::new();
    let mut count = 0;
    for list in LISTS {
        count += read_classes(&data.join(list), count, &mut classes)?;
    }
    if let Some(offset) = classes.keys().find(|offset| !synsets.contains_key(*offset)) {
        return Err(
            format!("class n{offset} is not a synset of this WordNet: 3.0 is needed").into(),
        );
    }
    let lines: HashMap<&str, usize> = synsets
        .keys()
        .enumerate()
        .map(|(line, offset)| (offset.as_str(), line))
        .collect();

    fs::create_dir_all(&output)?;
    let counts = read_counts(&wordnet.join("cntlist.rev"))?;
    write_table(
        &output.join("nouns.txt.zst"),
        &nouns_table(&wordnet.join("index.noun"), &counts, &lines)?,
    )?;
    write_table(
        &output.join("synsets.txt.zst"),
        &synsets_table(&synsets, &classes, &lines)?,
    )?;
    write_table(
        &output.join("irregular.txt.zst"),
        &irregular_table(&wordnet.join("noun.exc"))?,
    )?;
    Ok(())
}

/// WordNet's files are ASCII with a few Latin-1 letters in the glosses, which are not used here.
fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of a WordNet file without the licence, whose lines begin with a blank.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with(' ') && !line.is_empty())
}

fn read_synsets(path: &Path) -> Result<BTreeMap<String, Synset>> {
    let mut synsets = BTreeMap::new();
    for line in entries(&read_text(path)?) {
        let synset = parse_synset(line)
            .ok_or_else(|| format!("{}: not a synset: {line}", path.display()))?;
        synsets.insert(synset.0, synset.1);
    }
    Ok(synsets)
}

/// `offset file type n (word id)*n m (pointer offset part-of-speech source)*m | gloss`, n in hexadecimal.
fn parse_synset(line: &str) -> Option<(String, Synset)> {
    let mut fields = line.split(" | ").next()?.split(' ');
    let offset = fields.next()?.to_owned();
    let count = usize::from_str_radix(fields.nth(2)?, 16).ok()?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        words.push(fields.next()?.to_lowercase().replace('_', " "));
        fields.next()?;
    }
    let mut hypernyms = Vec::new();
    for _ in 0..fields.next()?.parse::<usize>().ok()? {
        let (pointer, target) = (fields.next()?, fields.next()?);
        fields.nth(1)?;
        // An instance (Eiffel Tower) stands under its kind like any other noun; no class is an instance.
        if matches!(pointer, "@" | "@i") {
            hypernyms.push(target.to_owned());
        }
    }
    Some((offset, Synset { words, hypernyms }))
}

/// Adds a list, numbered from `first` on, and gives its length. The first column is the index, the one before the last the offset behind
/// an `n`; only the name, the last column, may be quoted.
fn read_classes(path: &Path, first: u16, classes: &mut Classes) -> Result<u16> {
    let text = read_text(path)?;
    let columns = text
        .lines()
        .next()
        .map_or(0, |line| line.split(',').count());
    let mut count = 0;
    for line in text.lines().skip(1) {
        let wrong = || format!("{}: not a class: {line}", path.display());
        let [index, .., wnid, name] = line.splitn(columns, ',').collect::<Vec<_>>()[..] else {
            return Err(wrong().into());
        };
        let name = name.trim_matches('"').replace("\"\"", "\"").to_lowercase();
        let offset = wnid.strip_prefix('n').ok_or_else(wrong)?;
        let number = first + index.parse::<u16>()?;
        let at = classes.entry(offset.to_owned()).or_default();
        at.push(Class { number, name });
        count += 1;
    }
    Ok(count)
}

/// How often a noun was met in each of its senses in the texts that WordNet's makers tagged by hand.
fn read_counts(path: &Path) -> Result<HashMap<(String, usize), u32>> {
    let mut counts = HashMap::new();
    for line in entries(&read_text(path)?) {
        let wrong = || format!("{}: not `key sense count`: {line}", path.display());
        let [key, sense, count] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(wrong().into());
        };
        let (word, kind) = key.split_once('%').ok_or_else(wrong)?;
        if kind.starts_with('1') {
            counts.insert((word.to_owned(), sense.parse()?), count.parse()?);
        }
    }
    Ok(counts)
}

/// Sorted by the noun with every hyphen read as a blank, so that a look-up need not know how it is spelt;
/// two spellings of one noun (ice cream, ice-cream) become one line with the senses of both.
fn nouns_table(
    index: &Path,
    counts: &HashMap<(String, usize), u32>,
    lines: &HashMap<&str, usize>,
) -> Result<String> {
    #[derive(Default)]
    struct Noun {
        spelling: String,
        senses: Vec<(usize, u32)>,
    }
    let mut nouns: BTreeMap<String, Noun> = BTreeMap::new();
    for line in entries(&read_text(index)?) {
        let wrong = || format!("{}: not an index entry: {line}", index.display());
        let mut fields = line.split_whitespace();
        let word = fields.next().ok_or_else(wrong)?;
        let number: usize = fields.nth(1).ok_or_else(wrong)?.parse()?;
        let offsets: Vec<&str> = fields.collect();
        let spelling = word.replace('_', " ");
        let first = offsets.len().checked_sub(number).ok_or_else(wrong)?;
        let mut senses = Vec::new();
        for (sense, offset) in offsets[first..].iter().enumerate() {
            let synset = *lines.get(offset).ok_or_else(wrong)?;
            let count = counts.get(&(word.to_owned(), sense + 1)).copied();
            senses.push((synset, count.unwrap_or(0)));
        }
        // WordNet lists a spelling with hyphens before the one with blanks, which is the usual one.
        let noun = nouns.entry(spelling.replace('-', " ")).or_default();
        for &(synset, count) in &noun.senses {
            match senses.iter_mut().find(|known| known.0 == synset) {
                Some(known) => known.1 += count,
                None => senses.push((synset, count)),
            }
        }
        *noun = Noun { spelling, senses };
    }
    let mut table = String::new();
    for noun in nouns.values() {
        let senses: Vec<String> = noun
            .senses
            .iter()
            .map(|&(synset, count)| {
                if count == 0 {
                    synset.to_string()
                } else {
                    format!("{synset}:{count}")
                }
            })
            .collect();
        writeln!(table, "{}\t{}", noun.spelling, senses.join(" "))?;
    }
    Ok(table)
}

/// Names only where a class lies at or under the synset: only those can be suggested.
fn synsets_table(
    synsets: &BTreeMap<String, Synset>,
    classes: &Classes,
    lines: &HashMap<&str, usize>,
) -> Result<String> {
    let mut covering: Vec<&str> = Vec::new();
    let mut pending: Vec<&str> = classes.keys().map(String::as_str).collect();
    while let Some(offset) = pending.pop() {
        if !covering.contains(&offset) {
            covering.push(offset);
            pending.extend(synsets[offset].hypernyms.iter().map(String::as_str));
        }
    }
    let mut table = String::new();
    for (offset, synset) in synsets {
        let hypernyms: Vec<String> = synset
            .hypernyms
            .iter()
            .map(|hypernym| lines[hypernym.as_str()].to_string())
            .collect();
        write!(table, "{}", hypernyms.join(" "))?;
        if covering.contains(&offset.as_str()) {
            write!(table, "\t{}", synset.words.join("|"))?;
            for class in classes.get(offset).into_iter().flatten() {
                write!(table, "\t{}\t{}", class.number, class.name)?;
            }
        }
        writeln!(table)?;
    }
    Ok(table)
}

fn irregular_table(path: &Path) -> Result<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in entries(&read_text(path)?) {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| word.replace(['_', '-'], " "))
            .collect();
        lines.push(words.join("\t"));
    }
    lines.sort();
    lines.dedup();
    Ok(lines.join("\n") + "\n")
}

fn write_table(path: &Path, table: &str) -> Result<()> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    // So that a damaged table is an error when it is read, not a wrong answer.
    compressor.include_checksum(true)?;
    let compressed = compressor.compress(table.as_bytes())?;
    println!(
        "{}: {} lines, {} bytes, {} compressed",
        path.display(),
        table.lines().count(),
        table.len(),
        compressed.len()
    );
    fs::write(path, compressed)?;
    Ok(())
}
