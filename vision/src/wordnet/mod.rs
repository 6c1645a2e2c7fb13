//! English nouns: what is one, what is its singular, and which image classes are kinds of it.
//!
//! Owns the WordNet table and the rules by which a noun becomes a set of ImageNet's classes or of COCO's things. It knows
//! classes only as the numbers that the table gives them: no model, score or threshold comes in here.
//!
//! # From a noun to classes
//!
//! A class is under a noun when one of the noun's senses (a WordNet *synset*) is the class's synset or
//! among its hypernyms, at any distance. Most nouns have several senses and only some are meant:
//! asked for a toy, nobody wants toy dogs. WordNet orders the senses of a noun by how often
//! they were met in texts tagged by hand, and gives the counts; but senses never met come last in no
//! particular order, and often several senses are near each other (the `table` to write on and the
//! `table` to eat from). So of the senses that have any class below them these are kept:
//!
//! 1. those met at least a tenth as often as the one met most often; when none was ever met, all;
//! 2. those that share a class with a kept one: two views of one meaning (`food`, `missile`);
//! 3. besides, a class whose own name in the class list is the noun (`rooster`, `plate`).
//!
//! The alternatives do worse on the nouns a person would use (only 92 nouns have covering senses that
//! differ). The first covering sense alone makes an `amphibian` a vehicle, a `plant` a sawmill, a
//! `plate` a hockey puck and a `table` no dining table. All senses make lions `cat`s, lap dogs
//! `toy`s, a carpenter's plane a `plane` and a bubble a `ball`.
//!
//! A noun must also tell images apart. One that nearly every class is a kind of (`object`) would hold for
//! every picture, and one of whose kinds the model has fewer than one in a thousand would hold for
//! none: the 3 classes that are kinds of `person` are a scuba diver, a groom and a baseball player. Both are refused, and
//! said why. Between `person` (3 of 10,297 kinds) or `location` and the next everyday nouns
//! (`substance`, `shape`, `flower`, `paper`) lies a wide gap, so the bound's exact value matters little.
//!
//! What no rule of this kind can know: classes that the model lacks. `mouse` is the computer's, because no
//! class is the animal; `seal` and `kite` are the animals for the same reason; `crane` is the bird and the
//! machine, of which neither was ever met. `bat`, `chicken` and `lamb` have no class of ImageNet's at all.
//!
//! COCO's list names broad things: its `person` and `bird` are those synsets themselves, so that kinds of them (a woman, an owl) are
//! not known by it, however many there are, and the noun itself is.

mod classes;
mod error;
mod fold;
mod lexicon;
mod morphology;
mod near;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use classes::classes_in;
pub use error::{UnknownNoun, WordnetError};
pub use lexicon::Lexicon;
pub use table::ClassList;
