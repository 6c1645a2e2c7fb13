//! Which question an answer belongs to: a name for it that stays the same between programs and processes.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::model::{Answer, InputGeometry, ModelInfo, Question};

/// The version of everything that turns pixels into an answer and is in no field of [`ModelInfo`]: cutting into views, a model's arithmetic, the words made of its tokens. To be raised by whoever changes one
/// of them so that answers change by more than rounding; answers of another version are never found again.
pub const ANSWERS_VERSION: u32 = 1;

/// Most characters of a question that are written down for people.
const SHOWN: usize = 500;

/// The revision of pixels that embeddings of texts are kept under: texts have none.
pub(super) const NO_PIXELS: u32 = 0;

/// What people read of a question put to a text.
pub(super) const OF_A_TEXT: &str = "embedding of a text";

/// A question put to one model: 128 bits of a SHA-256.
///
/// It covers [`ANSWERS_VERSION`], the revision of what made the pixels, the model's name, revision, number format, crops and input, and the question with its
/// words and tokens. It covers neither the device, whose rounding is no other answer, nor thresholds, which are applied
/// to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionId([u8; 16]);

impl QuestionId {
    /// The name of a question put to a model about pixels that decoding and resizing of this revision make.
    pub fn new(info: &ModelInfo, pixels: u32, question: &Question) -> Self {
        // Taken apart, so that a new field is either part of the name or named here as none.
        let ModelInfo {
            name,
            revision,
            licence: _,
            device: _,
            dtype,
            crops,
            input,
            default_threshold: _,
            can_talk: _,
        } = info;
        let mut hash = Fields::new();
        hash.text("picsift answer");
        hash.number(u64::from(ANSWERS_VERSION));
        hash.number(u64::from(pixels));
        hash.text(name);
        hash.text(revision);
        hash.text(dtype);
        hash.text(&crops.map(|crops| crops.to_string()).unwrap_or_default());
        match input {
            InputGeometry::CentreCrop { short_side, size } => {
                hash.text("centre crop");
                hash.number(u64::from(*short_side));
                hash.number(u64::from(*size));
            }
            InputGeometry::Full => hash.text("full"),
            InputGeometry::Within { side } => {
                hash.text("within");
                hash.number(u64::from(*side));
            }
            InputGeometry::PerQuestion => hash.text("per question"),
        }
        match question {
            Question::Classes(classes) => {
                hash.text("classes");
                hash.numbers(classes.iter().copied().map(u32::from));
            }
            Question::Shows(descriptions) => {
                hash.text("shows");
                hash.number(descriptions.len() as u64);
                for wordings in descriptions.iter() {
                    hash.number(wordings.len() as u64);
                    for prompt in wordings.iter() {
                        hash.text(&prompt.text);
                        hash.numbers(prompt.tokens.iter().copied());
                    }
                }
            }
            Question::Embedding => hash.text("embedding"),
            Question::Taught(head) => {
                hash.text("taught");
                hash.text(&head.hex());
            }
            Question::YesNo(prompt) => {
                hash.text("yes or no");
                hash.text(&prompt.text);
                hash.numbers(prompt.tokens.iter().copied());
            }
            Question::Open(prompt, generation) => {
                hash.text("open");
                hash.text(&prompt.text);
                hash.numbers(prompt.tokens.iter().copied());
                hash.number(generation.max_tokens as u64);
                hash.number(u64::from(generation.temperature.get().to_bits()));
            }
        }
        Self(first(hash.0))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A hash over fields that cannot run into each other: each begins with its length, and numbers are little-endian.
struct Fields(Sha256);

impl Fields {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn numbers(&mut self, numbers: impl ExactSizeIterator<Item = u32>) {
        self.number(numbers.len() as u64);
        for number in numbers {
            self.0.update(number.to_le_bytes());
        }
    }
}

/// The first bytes of a hash.
pub(super) fn first<const BYTES: usize>(hash: Sha256) -> [u8; BYTES] {
    let digest = hash.finalize();
    std::array::from_fn(|at| digest[at])
}

/// Whether answers to this question are kept. With a temperature above 0 the model draws its words: such an answer is one
/// of many, and asking again should draw again.
pub fn is_kept(question: &Question) -> bool {
    match question {
        Question::Classes(_) | Question::Shows(_) | Question::Embedding | Question::YesNo(_) => {
            true
        }
        Question::Open(_, generation) => generation.temperature.get() == 0.0,
        // What it follows from is kept.
        Question::Taught(_) => false,
    }
}

/// Questions put to one model together, made once and used for every image. Cheap to clone.
#[derive(Clone)]
pub struct Asked(Arc<Parts>);

struct Parts {
    model: String,
    revision: String,
    questions: Vec<Entry>,
    /// Names and positions of the questions that are kept, by name.
    kept: Vec<(QuestionId, usize)>,
}

struct Entry {
    id: QuestionId,
    words: String,
}

impl Asked {
    /// These questions, put to this model about pixels of this revision.
    pub fn new(info: &ModelInfo, pixels: u32, questions: &[Question]) -> Self {
        let entries: Vec<_> = questions
            .iter()
            .map(|question| Entry {
                id: QuestionId::new(info, pixels, question),
                words: match pixels {
                    NO_PIXELS => OF_A_TEXT.to_owned(),
                    _ => words(question),
                },
            })
            .collect();
        let mut kept: Vec<_> = questions
            .iter()
            .zip(&entries)
            .enumerate()
            .filter(|(_, (question, _))| is_kept(question))
            .map(|(position, (_, entry))| (entry.id, position))
            .collect();
        kept.sort_unstable();
        Self(Arc::new(Parts {
            model: info.name.clone(),
            revision: info.revision.clone(),
            questions: entries,
            kept,
        }))
    }

    /// Number of questions, those that are not kept among them.
    pub fn len(&self) -> usize {
        self.0.questions.len()
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.questions.is_empty()
    }

    /// The name of the question at this position.
    pub fn id(&self, position: usize) -> Option<QuestionId> {
        self.0.questions.get(position).map(|entry| entry.id)
    }

    pub(super) fn model(&self) -> &str {
        &self.0.model
    }

    pub(super) fn revision(&self) -> &str {
        &self.0.revision
    }

    /// The question at this position as people read it.
    pub(super) fn words(&self, position: usize) -> &str {
        self.0
            .questions
            .get(position)
            .map_or("", |entry| &entry.words)
    }

    /// Names and positions of the questions that are kept, by name.
    pub(super) fn kept(&self) -> &[(QuestionId, usize)] {
        &self.0.kept
    }

    /// Names, positions and answers of the kept questions that have an answer, by name, each name once.
    pub(super) fn known<'a>(
        &'a self,
        answers: &'a [Option<Answer>],
    ) -> impl Iterator<Item = (QuestionId, usize, &'a Answer)> {
        let mut last = None;
        self.kept().iter().filter_map(move |&(id, position)| {
            let answer = answers.get(position)?.as_ref()?;
            (last.replace(id) != Some(id)).then_some((id, position, answer))
        })
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("model", &self.0.model)
            .field("revision", &self.0.revision)
            .field("questions", &self.0.questions.len())
            .finish()
    }
}

/// A question for people to recognise it by.
fn words(question: &Question) -> String {
    let text = match question {
        Question::Classes(classes) => {
            let numbers: Vec<_> = classes.iter().take(SHOWN).map(u16::to_string).collect();
            format!("classes {}", numbers.join(" "))
        }
        Question::Shows(descriptions) => {
            let prompts = descriptions.iter().flat_map(|wordings| wordings.iter());
            let texts: Vec<&str> = prompts.map(|prompt| &*prompt.text).collect();
            texts.join(" | ")
        }
        Question::Embedding => "embedding".to_owned(),
        Question::Taught(head) => format!("taught {}", head.category()),
        Question::YesNo(prompt) => prompt.text.to_string(),
        Question::Open(prompt, generation) => {
            format!("{} (at most {} tokens)", prompt.text, generation.max_tokens)
        }
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Prompt;
    use crate::options::{CropPolicy, Generation, Temperature};

    fn info() -> ModelInfo {
        ModelInfo {
            name: "model".to_owned(),
            revision: "one".to_owned(),
            licence: None,
            device: "cpu".to_owned(),
            dtype: "f32",
            crops: Some(CropPolicy::Reference),
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: true,
        }
    }

    fn prompt(text: &str, tokens: &[u32]) -> Prompt {
        Prompt {
            text: text.into(),
            tokens: tokens.into(),
        }
    }

    fn open(temperature: f32, max_tokens: usize) -> Question {
        let generation = Generation {
            max_tokens,
            temperature: Temperature::try_from(temperature).unwrap(),
        };
        Question::Open(prompt("What is it?", &[1, 2]), generation)
    }

    fn hex(id: QuestionId) -> String {
        id.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A store on disk is found again only if these never change.
    #[test]
    fn names_are_the_same_for_ever() {
        let classes = Question::Classes([1, 2, 300].into());
        let yes_no = Question::YesNo(prompt("Is there a dog?", &[7, 70_000]));
        let names: Vec<_> = [classes, yes_no, open(0.0, 128)]
            .iter()
            .map(|question| hex(QuestionId::new(&info(), 7, question)))
            .collect();
        // Computed with Python's hashlib from the documented fields.
        assert_eq!(
            names,
            [
                "3533da1f8b5756b6ca8dcf76fdd1b055",
                "ebad1706b4434ac29526c0e3d7b13bbb",
                "a3070eb4c2a95eb8262ebb48e8b493cd",
            ]
        );
    }

    #[test]
    fn whatever_changes_an_answer_changes_the_name() {
        let question = Question::YesNo(prompt("dog", &[7]));
        let mut names = vec![7, 8]
            .into_iter()
            .map(|pixels| QuestionId::new(&info(), pixels, &question))
            .collect::<Vec<_>>();
        let changes: [fn(&mut ModelInfo); 6] = [
            |info| info.name = "other".to_owned(),
            |info| info.revision = "two".to_owned(),
            |info| info.dtype = "bf16",
            |info| info.crops = None,
            |info| info.crops = Some(CropPolicy::Global),
            |info| {
                info.input = InputGeometry::CentreCrop {
                    short_side: 1,
                    size: 1,
                }
            },
        ];
        for change in changes {
            let mut changed = info();
            change(&mut changed);
            names.push(QuestionId::new(&changed, 7, &question));
        }
        for question in [
            Question::YesNo(prompt("dog", &[8])),
            Question::YesNo(prompt("dogs", &[7])),
            Question::Classes([7].into()),
            Question::Classes([7, 0].into()),
            open(0.0, 1),
            open(0.0, 2),
            open(0.5, 1),
        ] {
            names.push(QuestionId::new(&info(), 7, &question));
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn where_the_model_runs_and_what_counts_as_yes_do_not() {
        let question = Question::Classes([1].into());
        let mut other = info();
        other.device = "cuda:0".to_owned();
        other.default_threshold = 0.9;
        assert_eq!(
            QuestionId::new(&other, 7, &question),
            QuestionId::new(&info(), 7, &question)
        );
    }

    #[test]
    fn drawn_words_are_not_kept() {
        assert!(is_kept(&open(0.0, 9)) && !is_kept(&open(0.1, 9)));
        let asked = Asked::new(&info(), 7, &[open(0.1, 9), Question::Classes([1].into())]);
        assert_eq!(asked.kept().len(), 1);
        assert_eq!(asked.kept()[0].1, 1);
    }
}
