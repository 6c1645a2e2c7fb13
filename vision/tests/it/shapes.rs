//! The embedded model against the program that trained it: another implementation of the same network.
//!
//! `tests/data/shapes/` has pictures and, in `reference.json`, what that program says of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use picsift_vision::moondream::{Config, Network};
use picsift_vision::transformer::{Checkpoint, Format};
use picsift_vision::{
    Answer, Category, DeviceChoice, Generation, Job, LoadOptions, Loaded, Question, RgbImage, load,
};
use serde::Deserialize;

/// Largest difference of a logit, and of a score, between the two implementations.
const TOLERANCE: f32 = 1e-3;

/// Most tokens of the reference's answers.
const LONGEST: usize = 16;

#[derive(Deserialize)]
struct Reference {
    ids: YesNo,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct YesNo {
    yes: usize,
    no: usize,
}

#[derive(Deserialize)]
struct File {
    file: String,
    grid: (u32, u32),
    questions: Vec<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    question: String,
    prompt_ids: Vec<u32>,
    logit_yes: f32,
    logit_no: f32,
    answer: String,
}

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn reference() -> Reference {
    let text = fs::read(here("tests/data/shapes/reference.json")).unwrap();
    let reference: Reference = serde_json::from_slice(&text).unwrap();
    assert!(reference.files.iter().any(|file| file.grid == (1, 1)));
    assert!(reference.files.iter().any(|file| file.grid != (1, 1)));
    reference
}

fn picture(file: &File) -> RgbImage {
    let path = here("tests/data/shapes").join(&file.file);
    let image = image::open(path).unwrap().to_rgb8();
    RgbImage {
        width: image.width(),
        height: image.height(),
        data: image.into_raw(),
    }
}

fn shapes() -> Loaded {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        ..LoadOptions::default()
    };
    load("shapes", &options, &()).unwrap()
}

/// The question as a yes-or-no one and as an open one, both with the reference's tokens.
fn questions(loaded: &Loaded, asked: &Asked) -> [Question; 2] {
    let generation = Generation {
        max_tokens: LONGEST,
        ..Generation::default()
    };
    let category = Category {
        prompt: Some(asked.question.clone()),
        ..Category::named("shape")
    };
    let yes_no = loaded.questions.category(&category).unwrap();
    let open = loaded.questions.open(&asked.question, generation).unwrap();
    match (&yes_no, &open) {
        (Question::YesNo(a), Question::Open(b, _)) => {
            assert_eq!(*a.tokens, asked.prompt_ids, "{}", asked.question);
            assert_eq!(a, b);
        }
        other => panic!("{other:?}"),
    }
    [yes_no, open]
}

#[test]
fn scores_and_answers_are_those_of_the_training_program() {
    let mut loaded = shapes();
    let files = reference().files;
    for file in &files {
        let views = loaded.preprocessor.views(picture(file)).unwrap();
        assert_eq!(views.grid, file.grid, "{}", file.file);
        let questions: Arc<[Question]> = file
            .questions
            .iter()
            .flat_map(|asked| questions(&loaded, asked))
            .collect();
        let job = Job { views, questions };
        let answers = loaded.model.answer(&[job]).remove(0).unwrap();
        assert_eq!(answers.len(), 2 * file.questions.len());
        for (pair, asked) in answers.chunks_exact(2).zip(&file.questions) {
            let place = format!("{}: {}", file.file, asked.question);
            let expected = 1.0 / (1.0 + (asked.logit_no - asked.logit_yes).exp());
            match pair {
                [Answer::Score(score), Answer::Text(text)] => {
                    assert!(
                        (score - expected).abs() <= TOLERANCE,
                        "{place} {score}, not {expected}"
                    );
                    assert_eq!(*text, asked.answer, "{place}");
                }
                other => panic!("{place} {other:?}"),
            }
        }
    }
}

#[test]
fn logits_are_those_of_the_training_program() {
    let read = |file: &str| fs::read(here("data/shapes").join(file)).unwrap();
    let weights = read("model.safetensors");
    let checkpoint = Checkpoint::from_bytes("model.safetensors", &weights).unwrap();
    let config = String::from_utf8(read("config.json")).unwrap();
    let config = Config::of(&checkpoint, &config).unwrap();
    let network =
        Network::read(config, &checkpoint, &Format::new(&Device::Cpu, None, None)).unwrap();
    let preprocessor = shapes().preprocessor;
    let Reference { ids, files } = reference();
    let mut worst = 0.0_f32;
    for file in &files {
        let views = preprocessor.views(picture(file)).unwrap();
        let prefix = network.encode(&[&views], &mut |_, _| {}).unwrap();
        let prompts: Vec<&[u32]> = file
            .questions
            .iter()
            .map(|asked| asked.prompt_ids.as_slice())
            .collect();
        let logits = network
            .logits(Some(&prefix), &prompts, None)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        for (logits, asked) in logits.iter().zip(&file.questions) {
            for (id, expected) in [(ids.yes, asked.logit_yes), (ids.no, asked.logit_no)] {
                let difference = (logits[id] - expected).abs();
                assert!(
                    difference <= TOLERANCE,
                    "{}: {} {}, not {expected}",
                    file.file,
                    asked.question,
                    logits[id]
                );
                worst = worst.max(difference);
            }
        }
    }
    println!("largest difference of a logit: {worst:e}");
}
