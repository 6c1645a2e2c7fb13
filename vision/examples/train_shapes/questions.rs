//! What is asked about a scene, and the right answers.
//!
//! It owns the wording of questions and answers and which wrong things are asked for. It knows scenes as lists of
//! pairs and nothing of pixels or tokens.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::scene::{Colour, Mix, Pair, Scene, Shape, UNSEEN};

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Yes or no: is a shape of any colour there.
    Shape,
    /// Yes or no: is any shape of a colour there.
    Colour,
    /// Yes or no: is a shape of a colour there.
    Both,
    /// The colour of the only object of a shape.
    ColourOf,
    /// All objects.
    List,
    /// The number of objects.
    Count,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Shape,
        Self::Colour,
        Self::Both,
        Self::ColourOf,
        Self::List,
        Self::Count,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        [
            "shape",
            "colour",
            "shape and colour",
            "what colour",
            "what shapes",
            "how many",
        ][self as usize]
    }

    /// Whether the answer is yes or no.
    pub fn yes_no(self) -> bool {
        self <= Self::Both
    }
}

/// A question with its right answer.
#[derive(Debug, Clone)]
pub struct Asked {
    pub text: String,
    pub answer: String,
    pub kind: Kind,
    /// Whether the question or its answer names a pair of [`UNSEEN`].
    pub unseen: bool,
}

const LISTING: [&str; 4] = [
    "What shapes are there?",
    "What is in the image?",
    "What shapes are in the image?",
    "Describe the image.",
];
const COUNTING: [&str; 2] = [
    "How many shapes are there?",
    "How many shapes are in the image?",
];
const NUMBERS: [&str; 3] = ["one", "two", "three"];

/// `count` questions about a scene: mostly yes or no, one list, and one or two others. With [`Mix::Seen`] no question
/// names a pair of [`UNSEEN`].
pub fn about(scene: &Scene, count: usize, mix: Mix, rng: &mut StdRng) -> Vec<Asked> {
    let mut asked = vec![list(scene, rng), other(scene, rng)];
    while asked.len() < count {
        asked.push(yes_no(scene, mix, rng));
    }
    asked
}

/// "a" or "an" before the word.
fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

fn named((colour, shape): Pair) -> String {
    format!(
        "{} {} {}",
        article(colour.name()),
        colour.name(),
        shape.name()
    )
}

fn pair_of(scene: &Scene) -> impl Iterator<Item = Pair> {
    scene
        .objects
        .iter()
        .map(|object| (object.colour, object.shape))
}

/// The objects in their order: "a red circle, a blue square and a green star".
fn list(scene: &Scene, rng: &mut StdRng) -> Asked {
    let mut answer = String::new();
    for (index, pair) in pair_of(scene).enumerate() {
        if index > 0 {
            answer += if index + 1 == scene.objects.len() {
                " and "
            } else {
                ", "
            };
        }
        answer += &named(pair);
    }
    Asked {
        text: LISTING[rng.random_range(0..LISTING.len())].to_owned(),
        answer,
        kind: Kind::List,
        unseen: pair_of(scene).any(|pair| UNSEEN.contains(&pair)),
    }
}

/// The colour of a shape that is there once, or the number of shapes.
fn other(scene: &Scene, rng: &mut StdRng) -> Asked {
    let single: Vec<Pair> = pair_of(scene)
        .filter(|pair| pair_of(scene).filter(|other| other.1 == pair.1).count() == 1)
        .collect();
    match single.choose(rng) {
        Some(&(colour, shape)) if rng.random_bool(0.75) => Asked {
            text: format!(
                "What {} is the {}?",
                if rng.random_bool(0.5) {
                    "colour"
                } else {
                    "color"
                },
                shape.name()
            ),
            answer: colour.name().to_owned(),
            kind: Kind::ColourOf,
            unseen: UNSEEN.contains(&(colour, shape)),
        },
        _ => Asked {
            text: COUNTING[rng.random_range(0..COUNTING.len())].to_owned(),
            answer: NUMBERS[scene.objects.len() - 1].to_owned(),
            kind: Kind::Count,
            unseen: false,
        },
    }
}

fn yes_no(scene: &Scene, mix: Mix, rng: &mut StdRng) -> Asked {
    loop {
        let yes = rng.random_bool(0.5);
        let there: Vec<Pair> = pair_of(scene).collect();
        let random = (
            Colour::ALL[rng.random_range(0..6)],
            Shape::ALL[rng.random_range(0..5)],
        );
        let one = there[rng.random_range(0..there.len())];
        let two = there[rng.random_range(0..there.len())];
        let (kind, pair) = match rng.random_range(0..20) {
            0..6 => (Kind::Shape, if yes { one } else { random }),
            6..11 => (Kind::Colour, if yes { one } else { random }),
            // What is nearly there is asked for more often than what is nothing like it.
            _ => (
                Kind::Both,
                match rng.random_range(0..10) {
                    _ if yes => one,
                    0..4 => (one.0, two.1),
                    4..7 => (one.0, random.1),
                    7..9 => (random.0, one.1),
                    _ => random,
                },
            ),
        };
        let present = there.iter().any(|&(colour, shape)| match kind {
            Kind::Shape => shape == pair.1,
            Kind::Colour => colour == pair.0,
            _ => (colour, shape) == pair,
        });
        let unseen = kind == Kind::Both && UNSEEN.contains(&pair);
        if present == yes && !(unseen && mix == Mix::Seen) {
            return Asked {
                text: wording(kind, pair, rng),
                answer: if yes { "yes" } else { "no" }.to_owned(),
                kind,
                unseen,
            };
        }
    }
}

/// The question in one of its forms; one in ten comes without its second sentence.
fn wording(kind: Kind, (colour, shape): Pair, rng: &mut StdRng) -> String {
    let plural = rng.random_bool(0.25);
    let noun = match (kind, plural) {
        (Kind::Colour, true) => "shapes",
        (Kind::Colour, false) => "shape",
        (_, true) => shape.plural(),
        (_, false) => shape.name(),
    };
    let category = match kind {
        Kind::Shape => noun.to_owned(),
        _ => format!("{} {noun}", colour.name()),
    };
    let first = if plural {
        format!("Are there {category} in the image?")
    } else {
        format!("Is there {} {category} in the image?", article(&category))
    };
    if rng.random_bool(0.9) {
        first + "\nAnswer yes or no."
    } else {
        first
    }
}
