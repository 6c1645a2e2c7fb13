//! The tables of `data/wordnet/`, decompressed and indexed. Knows their format (its README gives it) and
//! checks it while reading; knows nothing of what a look-up is for.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::error::WordnetError;
use super::fold::fold;

/// How long a table may be: a damaged size must not take memory.
const LARGEST_TABLE: usize = 4 << 20;

static NOUNS: &[u8] = include_bytes!("../../data/wordnet/nouns.txt.zst");
static SYNSETS: &[u8] = include_bytes!("../../data/wordnet/synsets.txt.zst");
static IRREGULAR: &[u8] = include_bytes!("../../data/wordnet/irregular.txt.zst");

fn decompress(table: &'static str, bytes: &[u8]) -> Result<String, WordnetError> {
    let damaged = |source| WordnetError::Damaged {
        table,
        source: Arc::new(source),
    };
    let text = zstd::bulk::decompress(bytes, LARGEST_TABLE).map_err(damaged)?;
    String::from_utf8(text)
        .map_err(|error| damaged(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))
}

/// One meaning of a noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sense {
    /// Line of the synset table.
    pub(super) synset: u32,
    /// How often the noun was met with this meaning in the tagged texts.
    pub(super) count: u32,
}

/// All nouns with their senses, and the irregular plurals.
#[derive(Debug)]
pub(super) struct Nouns {
    /// Searched as it is: building an index would take longer than all look-ups of a run.
    text: String,
    irregular: HashMap<String, Vec<String>>,
}

/// A noun of the table.
#[derive(Debug, Clone)]
pub(super) struct Noun<'a> {
    /// As WordNet spells it, in lower case, with blanks and hyphens.
    pub(super) spelling: &'a str,
    /// In WordNet's order.
    pub(super) senses: Vec<Sense>,
}

impl Noun<'_> {
    /// How often the noun was met at all.
    pub(super) fn count(&self) -> u32 {
        self.senses.iter().map(|sense| sense.count).sum()
    }
}

impl Nouns {
    pub(super) fn embedded() -> Result<Self, WordnetError> {
        let mut irregular = HashMap::new();
        for line in decompress("irregular", IRREGULAR)?.lines() {
            let mut words = line.split('\t').map(str::to_owned);
            if let Some(plural) = words.next() {
                irregular
                    .entry(plural)
                    .or_insert_with(Vec::new)
                    .extend(words);
            }
        }
        Ok(Self {
            text: decompress("nouns", NOUNS)?,
            irregular,
        })
    }

    /// The noun that reads `key`: lower case, words separated by one blank, no hyphens. A binary search for
    /// the line; a line is read only here, and a test reads them all.
    pub(super) fn find(&self, key: &str) -> Option<Noun<'_>> {
        let mut rest = self.text.as_str();
        while !rest.is_empty() {
            let begin = rest.as_bytes()[..rest.len() / 2]
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            let (line, after) = rest[begin..].split_once('\n')?;
            let (spelling, senses) = line.split_once('\t')?;
            match compare(spelling, key) {
                Ordering::Equal => {
                    return Some(Noun {
                        spelling,
                        senses: parse_senses(senses)?,
                    });
                }
                Ordering::Less => rest = after,
                Ordering::Greater => rest = &rest[..begin],
            }
        }
        None
    }

    /// What the table of irregular plurals gives for a form; a form that is its own singular names itself.
    pub(super) fn irregular(&self, form: &str) -> &[String] {
        self.irregular.get(form).map_or(&[], Vec::as_slice)
    }
}

/// The table's order: by bytes, a hyphen counted as a blank.
fn compare(spelling: &str, key: &str) -> Ordering {
    spelling
        .bytes()
        .map(|byte| if byte == b'-' { b' ' } else { byte })
        .cmp(key.bytes())
}

/// `synset` or `synset:count`, separated by blanks.
fn parse_senses(list: &str) -> Option<Vec<Sense>> {
    let sense = |sense: &str| {
        let (synset, count) = sense.split_once(':').unwrap_or((sense, "0"));
        Some(Sense {
            synset: synset.parse().ok()?,
            count: count.parse().ok()?,
        })
    };
    list.split(' ').map(sense).collect()
}

/// A list of image classes that hangs in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassList {
    /// The 1000 classes of ImageNet-1k.
    ImageNet,
    /// The 80 things of COCO.
    Coco,
}

impl ClassList {
    /// The lists in the order of their numbers in the table.
    const ALL: [Self; 2] = [Self::ImageNet, Self::Coco];

    /// Classes in the list; they are numbered from 0.
    pub fn count(self) -> u16 {
        match self {
            Self::ImageNet => 1000,
            Self::Coco => 80,
        }
    }

    /// List and number in it of a class as the table numbers it: one list after the other.
    fn of(mut class: u16) -> Option<(Self, u16)> {
        for list in Self::ALL {
            if class < list.count() {
                return Some((list, class));
            }
            class -= list.count();
        }
        None
    }
}

/// How the meanings hang together, and which image classes lie where.
#[derive(Debug)]
pub(super) struct Synsets {
    /// Per synset where its hypernyms begin in `hypernyms`, and one more for the end.
    begins: Vec<u32>,
    hypernyms: Vec<u32>,
    names: HashMap<u32, Vec<String>>,
    imagenet: Classes,
    coco: Classes,
    /// Per synset its direct hyponyms, made when first asked for.
    hyponyms: OnceLock<Vec<Vec<u32>>>,
}

/// Where the classes of one list lie.
#[derive(Debug, Default)]
struct Classes {
    /// Per synset the classes at or under it.
    cover: HashMap<u32, Vec<u16>>,
    /// The synsets that are classes, each with its class.
    own: HashMap<u32, u16>,
    names: HashMap<String, Vec<u16>>,
}

impl Synsets {
    pub(super) fn embedded() -> Result<Self, WordnetError> {
        const TABLE: &str = "synsets";
        let text = decompress(TABLE, SYNSETS)?;
        let mut synsets = Self {
            begins: Vec::with_capacity(1 << 17),
            hypernyms: Vec::with_capacity(1 << 17),
            names: HashMap::new(),
            imagenet: Classes::default(),
            coco: Classes::default(),
            hyponyms: OnceLock::new(),
        };
        let mut classes = Vec::new();
        for (synset, line) in (0u32..).zip(text.lines()) {
            let malformed = || WordnetError::Malformed {
                table: TABLE,
                line: synset as usize + 1,
            };
            let mut fields = line.split('\t');
            synsets
                .begins
                .push(u32::try_from(synsets.hypernyms.len()).map_err(|_| malformed())?);
            for hypernym in fields.next().unwrap_or_default().split_ascii_whitespace() {
                synsets
                    .hypernyms
                    .push(hypernym.parse().map_err(|_| malformed())?);
            }
            if let Some(names) = fields.next() {
                synsets
                    .names
                    .insert(synset, names.split('|').map(str::to_owned).collect());
            }
            while let Some(class) = fields.next() {
                let number = class.parse().map_err(|_| malformed())?;
                let (list, class) = ClassList::of(number).ok_or_else(malformed)?;
                for name in fields.next().ok_or_else(malformed)?.split('|') {
                    let names = &mut synsets.classes_mut(list).names;
                    names.entry(fold(name)).or_default().push(class);
                }
                synsets.classes_mut(list).own.insert(synset, class);
                classes.push((class, synset, list));
            }
        }
        let last = u32::try_from(synsets.hypernyms.len()).map_err(|_| WordnetError::Malformed {
            table: TABLE,
            line: synsets.begins.len(),
        })?;
        synsets.begins.push(last);
        // In the order of the classes, so that every list of classes comes out sorted.
        classes.sort_unstable_by_key(|&(class, ..)| class);
        for (class, synset, list) in classes {
            for (above, _) in synsets.at_or_above(synset) {
                let cover = &mut synsets.classes_mut(list).cover;
                cover.entry(above).or_default().push(class);
            }
        }
        Ok(synsets)
    }

    fn classes(&self, list: ClassList) -> &Classes {
        match list {
            ClassList::ImageNet => &self.imagenet,
            ClassList::Coco => &self.coco,
        }
    }

    fn classes_mut(&mut self, list: ClassList) -> &mut Classes {
        match list {
            ClassList::ImageNet => &mut self.imagenet,
            ClassList::Coco => &mut self.coco,
        }
    }

    /// The synset and all synsets above it, each once with its least distance, the nearest first.
    pub(super) fn at_or_above(&self, synset: u32) -> Vec<(u32, usize)> {
        let mut met = vec![(synset, 0)];
        let mut next = 0;
        while let Some(&(below, distance)) = met.get(next) {
            next += 1;
            for &above in self.hypernyms(below) {
                if met.iter().all(|&(known, _)| known != above) {
                    met.push((above, distance + 1));
                }
            }
        }
        met
    }

    fn hypernyms(&self, synset: u32) -> &[u32] {
        let bounds = (
            self.begins.get(synset as usize),
            self.begins.get(synset as usize + 1),
        );
        let (Some(&begin), Some(&end)) = bounds else {
            return &[];
        };
        &self.hypernyms[begin as usize..end as usize]
    }

    /// How many synsets lie at or under a synset, each once; `most` where there are more.
    pub(super) fn kinds(&self, synset: u32, most: usize) -> usize {
        let hyponyms = self.hyponyms.get_or_init(|| {
            let count = self.begins.len().saturating_sub(1);
            let mut hyponyms = vec![Vec::new(); count];
            for below in (0u32..).take(count) {
                for &above in self.hypernyms(below) {
                    if let Some(list) = hyponyms.get_mut(above as usize) {
                        list.push(below);
                    }
                }
            }
            hyponyms
        });
        // A flag for each synset: thousands of categories walk over thousands of synsets each.
        let mut met = vec![false; hyponyms.len()];
        if let Some(met) = met.get_mut(synset as usize) {
            *met = true;
        }
        let (mut count, mut next) = (1, vec![synset]);
        while let Some(above) = next.pop()
            && count < most
        {
            for &below in hyponyms.get(above as usize).into_iter().flatten() {
                if let Some(met) = met.get_mut(below as usize)
                    && !std::mem::replace(met, true)
                {
                    count += 1;
                    next.push(below);
                }
            }
        }
        count.min(most)
    }

    /// The classes of a list that lie at or under a synset, sorted.
    pub(super) fn cover(&self, list: ClassList, synset: u32) -> &[u16] {
        let cover = self.classes(list).cover.get(&synset);
        cover.map_or(&[], Vec::as_slice)
    }

    /// Whether a synset is itself a class of a list.
    pub(super) fn is_class(&self, list: ClassList, synset: u32) -> bool {
        self.classes(list).own.contains_key(&synset)
    }

    /// Per class of a list the classes of another one that it is a kind of, or is itself.
    pub(super) fn classes_above(&self, list: ClassList, other: ClassList) -> Vec<Vec<u16>> {
        let mut all = vec![Vec::new(); usize::from(list.count())];
        for (&synset, &class) in &self.classes(list).own {
            let above = self.at_or_above(synset).into_iter();
            let above = above.filter_map(|(synset, _)| self.classes(other).own.get(&synset));
            if let Some(place) = all.get_mut(usize::from(class)) {
                place.extend(above);
            }
        }
        all
    }

    /// The synsets with a class of a list at or under them, in no order, with their words.
    pub(super) fn covering(&self, list: ClassList) -> impl Iterator<Item = (u32, &[String])> {
        let synsets = self.classes(list).cover.keys();
        synsets.map(|&synset| (synset, self.names(synset)))
    }

    /// The words of a synset with a class of any list at or under it.
    pub(super) fn names(&self, synset: u32) -> &[String] {
        self.names.get(&synset).map_or(&[], Vec::as_slice)
    }

    /// The classes that the class list itself calls `key`.
    pub(super) fn classes_named(&self, list: ClassList, key: &str) -> &[u16] {
        let named = self.classes(list).names.get(key);
        named.map_or(&[], Vec::as_slice)
    }

    /// All names of a class list.
    pub(super) fn class_names(&self, list: ClassList) -> impl Iterator<Item = &str> {
        self.classes(list).names.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_again() {
        let nouns = Nouns::embedded().unwrap();
        let synsets = Synsets::embedded().unwrap();
        let mut lines = 0;
        let mut before = String::new();
        for line in nouns.text.lines() {
            let key = fold(line.split('\t').next().unwrap());
            assert!(before < key, "{before} and {key} are not in order");
            let noun = nouns
                .find(&key)
                .unwrap_or_else(|| panic!("{key} is not found"));
            assert!(
                noun.senses
                    .iter()
                    .all(|sense| (sense.synset as usize) < synsets.begins.len() - 1),
                "{key}"
            );
            before = key;
            lines += 1;
        }
        assert_eq!(lines, 117_631);
        assert!(
            nouns.find("").is_none() && nouns.find("dogg").is_none() && nouns.find("zzz").is_none()
        );
    }

    #[test]
    fn every_class_lies_under_entity_once() {
        let synsets = Synsets::embedded().unwrap();
        for list in ClassList::ALL {
            assert_eq!(
                synsets.cover(list, 0),
                (0..list.count()).collect::<Vec<u16>>()
            );
        }
    }
}
