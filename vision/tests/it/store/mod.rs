//! The store of answers through its public interface, also in several processes and with damaged files.

mod damage;
mod forged;
mod keeps;
mod processes;
mod room;

use std::path::Path;
use std::sync::{Arc, Mutex};

use picsift_vision::store::{Asked, KnownReference, Store, StoreOptions};
use picsift_vision::{Answer, InputGeometry, ModelInfo, Question};
use sha2::{Digest, Sha256};

/// Room for everything that a test puts.
const ROOMY: u64 = 1 << 30;

fn info() -> ModelInfo {
    ModelInfo {
        name: "test".to_owned(),
        revision: "1".to_owned(),
        licence: None,
        device: "cpu".to_owned(),
        dtype: "f32",
        crops: None,
        input: InputGeometry::Full,
        default_threshold: 0.5,
        can_talk: true,
    }
}

/// The revision of the pixels that answers are about.
const PIXELS: u32 = 1;

/// These questions, each about one class.
fn asked(classes: impl IntoIterator<Item = u16>) -> Asked {
    let questions: Vec<_> = classes
        .into_iter()
        .map(|class| Question::Classes([class].into()))
        .collect();
    Asked::new(&info(), PIXELS, &questions)
}

fn content(image: u64) -> [u8; 32] {
    Sha256::digest(image.to_le_bytes()).into()
}

/// The one right answer to a question about an image; to every seventh question it is in words.
fn truth(image: u64, class: u16) -> Answer {
    let number = image.wrapping_mul(31).wrapping_add(u64::from(class) * 7);
    if class % 7 == 6 {
        return Answer::Text(format!("picture {image} of {class}").repeat(3));
    }
    Answer::Score((number % 10_007) as f32 / 10_007.0)
}

fn truths(image: u64, classes: impl IntoIterator<Item = u16>) -> Vec<Option<Answer>> {
    classes
        .into_iter()
        .map(|class| Some(truth(image, class)))
        .collect()
}

fn reference(image: u64) -> (String, KnownReference) {
    let known = KnownReference {
        version: format!("etag {image}"),
        content: content(image),
        similarity: image.is_multiple_of(2).then_some(image),
    };
    (format!("https://example.org/{image}.jpg"), known)
}

/// What a store says to people.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn options(folder: &Path, max_bytes: u64, said: &Said) -> StoreOptions {
    let said = said.clone();
    StoreOptions {
        folder: folder.to_owned(),
        max_bytes,
        notice: Arc::new(move |sentence: &str| said.0.lock().unwrap().push(sentence.to_owned())),
    }
}

fn open(folder: &Path) -> Store {
    Store::open(options(folder, ROOMY, &Said::default())).unwrap()
}
