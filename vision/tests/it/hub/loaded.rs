//! What was fetched is a model that answers.

use candle_core::Device;
use picsift_vision::registry::fetch;
use picsift_vision::{
    Answer, Category, DeviceChoice, Generation, Job, LoadOptions, Loaded, Question, RgbImage, load,
    moondream,
};

use super::server::Fault;
use super::*;
use crate::golden_data::folders;
use crate::prompts::starmie;

/// Asks whether there is a word in a picture, and for a few words on it.
fn answers(mut loaded: Loaded, word: &str) -> (f32, String) {
    let generation = Generation {
        max_tokens: 3,
        ..Generation::default()
    };
    let open = format!("is there a {word} in the image?");
    let questions: [Question; 2] = [
        loaded.questions.category(&Category::named(word)).unwrap(),
        loaded.questions.open(&open, generation).unwrap(),
    ];
    let (width, height) = (100, 80);
    let views = loaded.preprocessor.views(RgbImage {
        width,
        height,
        data: content(5, (width * height * 3) as usize),
    });
    let job = Job {
        views: views.unwrap(),
        questions: questions.into(),
    };
    let answers = loaded.model.answer(&[job]).remove(0).unwrap();
    match <[Answer; 2]>::try_from(answers).unwrap() {
        [Answer::Score(score), Answer::Text(text)] => (score, text),
        other => panic!("{other:?}"),
    }
}

/// Fetches a model whose server dies half-way through the weights, and loads it.
fn fetched(content: [Vec<u8>; 3]) -> Loaded {
    let half = content[1].len() / 2;
    let scene = Scene::with(served("owner/name", COMMIT, content));
    scene.hub.fault("/cdn/", 1, Fault::DiesAt(half));
    let told = Told::default();
    let files = fetch(&format!("owner/name@{COMMIT}"), &scene.settings, &told).unwrap();
    scene.assert_whole(&files);
    assert_eq!(Scene::starts(&scene.hub.requests()), [0, half]);
    let told = told.lines();
    assert!(
        told.iter().any(|line| line.starts_with("again: ")),
        "{told:?}"
    );
    let described = moondream::describe(files, &Device::Cpu, &LoadOptions::default());
    let loaded = described.unwrap().load(&()).unwrap();
    assert_eq!(loaded.info.name, format!("owner/name@{COMMIT}"));
    assert_eq!(loaded.info.revision, COMMIT);
    assert_eq!(
        (loaded.info.device.as_str(), loaded.info.dtype),
        ("cpu", "f32")
    );
    loaded
}

#[test]
fn a_model_that_came_in_two_parts_answers_like_the_folder_it_came_from() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/shapes");
    let files = ["config.json", "model.safetensors", "tokenizer.json"]
        .map(|name| std::fs::read(folder.join(name)).unwrap());
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        ..LoadOptions::default()
    };
    let local = load(folder.to_str().unwrap(), &options, &()).unwrap();
    assert_eq!(answers(fetched(files), "circle"), answers(local, "circle"));
}

#[test]
fn a_checkpoint_of_2025_with_a_byte_level_tokenizer_answers() {
    for golden in folders() {
        if golden.layout() != moondream::Layout::V2025 {
            continue;
        }
        let files = [
            golden.config_text().into_bytes(),
            golden.model_bytes(),
            starmie().to_string().into_bytes(),
        ];
        let (score, _) = answers(fetched(files), "red dog");
        assert!((0.0..=1.0).contains(&score), "{score}");
    }
}
