//! What a person is told of a model folder that is no model, and of weights that compute nothing.
//!
//! Each folder is that of a small model with one thing wrong in it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use picsift_vision::moondream::MAX_QUESTIONS;
use picsift_vision::{
    Answer, Category, DeviceChoice, Generation, Job, LoadOptions, Loaded, Prompt, Quantization,
    Question, RgbImage, Views, VisionError, load,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::prompts::starmie;

/// A folder of a model that a test spoils.
struct Folder(TempDir);

fn small(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/shapes");
    fs::read(folder.join(file)).unwrap()
}

fn json_of(file: &str) -> Value {
    serde_json::from_slice(&small(file)).unwrap()
}

impl Folder {
    /// The model of drawn shapes.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for file in ["config.json", "model.safetensors", "tokenizer.json"] {
            folder.with(file, &small(file));
        }
        folder
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Puts something else into a file.
    fn with(&self, file: &str, content: &[u8]) -> &Self {
        fs::write(self.path(file), content).unwrap();
        self
    }

    /// Writes the model's weights with a change.
    fn with_tensors(&self, change: impl FnOnce(&mut HashMap<String, Tensor>)) -> &Self {
        let bytes = small("model.safetensors");
        let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        change(&mut tensors);
        candle_core::safetensors::save(&tensors, self.path("model.safetensors")).unwrap();
        self
    }

    /// Writes the small model's configuration with another value at a place.
    fn with_size(&self, place: &str, value: Value) -> &Self {
        let mut config = json_of("config.json");
        *config.pointer_mut(place).unwrap() = value;
        self.with("config.json", config.to_string().as_bytes())
    }

    fn load_quantised(&self, quantize: Option<Quantization>) -> Result<Loaded, VisionError> {
        let options = LoadOptions {
            device: DeviceChoice::Cpu,
            quantize,
            ..LoadOptions::default()
        };
        load(self.0.path().to_str().unwrap(), &options, &())
    }

    fn load(&self) -> Loaded {
        self.load_quantised(None).unwrap()
    }

    /// Asserts that the model is refused with one line that has `parts` in it, the file `file` of this folder first.
    #[track_caller]
    fn refused(&self, file: &str, parts: &[&str]) {
        let error = self.load_quantised(None).unwrap_err().to_string();
        let file = self.path(file).display().to_string();
        assert!(error.contains(&file), "{error}\nlacks {file}");
        for part in parts {
            assert!(error.contains(part), "{error}\nlacks {part}");
        }
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

/// A picture of one view with something in it.
fn picture() -> RgbImage {
    let (width, height) = (112, 112);
    let data = (0..width * height * 3).map(|at| (at / 7 % 251) as u8);
    RgbImage {
        width,
        height,
        data: data.collect(),
    }
}

fn category(loaded: &Loaded, name: &str) -> Question {
    loaded.questions.category(&Category::named(name)).unwrap()
}

fn open(loaded: &Loaded, max_tokens: usize) -> Question {
    let generation = Generation {
        max_tokens,
        ..Generation::default()
    };
    let question = loaded.questions.open("describe the image", generation);
    question.unwrap()
}

fn views(loaded: &Loaded) -> Views {
    loaded.preprocessor.views(picture()).unwrap()
}

/// The answer to questions about one picture.
fn ask(loaded: &mut Loaded, questions: Vec<Question>) -> Result<Vec<Answer>, VisionError> {
    let job = Job {
        views: views(loaded),
        questions: questions.into(),
    };
    let mut answers = loaded.model.answer(&[job]);
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

#[test]
fn the_folder_itself_is_a_model() {
    let mut loaded = Folder::new().load();
    let questions = vec![category(&loaded, "circle"), open(&loaded, 4)];
    let answers = ask(&mut loaded, questions).unwrap();
    assert!(matches!(answers[0], Answer::Score(score) if (0.0..=1.0).contains(&score)));
    assert!(matches!(answers[1], Answer::Text(_)));
    assert_eq!(answers.len(), 2);
}

#[test]
fn weights_that_are_not_whole() {
    let weights = small("model.safetensors");
    let not_whole = "is not a whole safetensors file";
    for length in [0, 4, 100, weights.len() / 2, weights.len() - 1] {
        Folder::new()
            .with("model.safetensors", &weights[..length])
            .refused("model.safetensors", &[not_whole]);
    }
    for other in [&b"version https://git-lfs.github.com/spec/v1\n"[..], b"PK"] {
        Folder::new()
            .with("model.safetensors", other)
            .refused("model.safetensors", &[not_whole]);
    }
}

#[test]
fn a_missing_tensor_is_named() {
    for (tensor, shape) in [
        ("model.text.blocks.1.mlp.fc1.weight", "[192, 96]"),
        ("model.vision.patch_emb.bias", "[96]"),
        ("model.text.lm_head.bias", "[56]"),
    ] {
        Folder::new()
            .with_tensors(|tensors| drop(tensors.remove(tensor).unwrap()))
            .refused(
                "model.safetensors",
                &["has no tensor", &format!("'{tensor}'"), shape],
            );
    }
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    for (tensor, found, expected) in [
        ("model.text.wte", vec![57, 96], "[56, 96]"),
        (
            "model.vision.blocks.2.attn.qkv.weight",
            vec![96, 288],
            "[288, 96]",
        ),
        ("model.vision.pos_emb", vec![64, 96], "[1, 64, 96]"),
    ] {
        let zeros = Tensor::zeros(found.clone(), DType::F16, &Device::Cpu).unwrap();
        Folder::new()
            .with_tensors(|tensors| drop(tensors.insert(tensor.to_owned(), zeros).unwrap()))
            .refused(
                "model.safetensors",
                &[&format!("'{tensor}'"), &format!("{found:?}"), expected],
            );
    }
    // The configuration is as likely to be the wrong one.
    Folder::new().with_size("/text/ff_dim", json!(200)).refused(
        "model.safetensors",
        &[
            "'model.text.blocks.0.mlp.fc1.weight'",
            "[192, 96]",
            "[200, 96]",
            "config.json",
        ],
    );
}

#[test]
fn an_unknown_layout_says_which_are_known() {
    let revisions = ["2025-06-21", "2024-08-26"];
    Folder::new()
        .with_tensors(|tensors| {
            let renamed = tensors.drain().map(|(name, x)| (format!("base.{name}"), x));
            let renamed: Vec<_> = renamed.collect();
            tensors.extend(renamed);
        })
        .refused("model.safetensors", &revisions);
    Folder::new()
        .with_tensors(HashMap::clear)
        .refused("model.safetensors", &revisions);
}

#[test]
fn a_configuration_of_something_else() {
    for text in ["", "no JSON", "[1, 2", "{\"text\": {\"dim\": \"wide\"}}"] {
        Folder::new()
            .with("config.json", text.as_bytes())
            .refused("config.json", &["not a Moondream2 configuration"]);
    }
    for (place, value, part) in [
        ("/text/dim", json!(98), "98 text dimensions"),
        ("/text/n_layers", json!(0), "is 0"),
        ("/text/n_kv_heads", json!(2), "2 key heads for 4"),
        ("/text/max_context", json!(60), "context of 60"),
        ("/text/prefix_attn", json!(730), "730"),
        ("/text/group_size", json!(128), "quantised already"),
        ("/vision/crop_size", json!(113), "113 pixels"),
        ("/vision/overlap_margin", json!(4), "margin of 4"),
        ("/tokenizer/eos_id", json!(56), "token id 56"),
    ] {
        Folder::new()
            .with_size(place, value)
            .refused("config.json", &[part]);
    }
}

#[test]
fn a_tokenizer_of_something_else() {
    Folder::new()
        .with("tokenizer.json", b"{}")
        .refused("tokenizer.json", &["not a tokenizer"]);

    let mut without_yes = json_of("tokenizer.json");
    let words = without_yes["model"]["vocab"].as_object_mut().unwrap();
    let id = words.remove("yes").unwrap();
    words.insert("yeah".to_owned(), id);
    Folder::new()
        .with("tokenizer.json", without_yes.to_string().as_bytes())
        .refused("tokenizer.json", &["no token for 'yes'"]);

    let mut other = json_of("tokenizer.json");
    other["added_tokens"].as_array_mut().unwrap().remove(0);
    Folder::new()
        .with("tokenizer.json", other.to_string().as_bytes())
        .refused("tokenizer.json", &["tokenizer of another model", "token 0"]);

    // Marks at the same ids, but more tokens than the model has rows for.
    Folder::new()
        .with("tokenizer.json", starmie().to_string().as_bytes())
        .refused("tokenizer.json", &["vocabulary of 56"]);
}

#[test]
fn a_missing_file_is_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = Folder::new();
        fs::remove_file(folder.path(file)).unwrap();
        let error = folder.load_quantised(None).unwrap_err().to_string();
        let path = folder.0.path().to_str().unwrap();
        assert!(error.contains(path) && error.contains(file), "{error}");
    }
}

#[test]
fn weights_that_are_no_numbers_never_make_an_answer() {
    let spoilt = [
        "model.text.post_ln.bias",
        "model.text.lm_head.weight",
        "model.text.lm_head.bias",
        "model.text.blocks.0.ln.weight",
        "model.text.blocks.1.mlp.fc2.weight",
        "model.vision.post_ln.bias",
        "model.vision.blocks.0.mlp.fc1.weight",
        "model.vision.proj_mlp.fc1.bias",
    ];
    for tensor in spoilt {
        for quantize in [None, Some(Quantization::Q8_0), Some(Quantization::Q4K)] {
            for value in [f64::NAN, f64::INFINITY] {
                let folder = Folder::new();
                folder.with_tensors(|tensors| {
                    let spoilt = tensors.get_mut(tensor).unwrap();
                    *spoilt = (spoilt.zeros_like().unwrap() + value).unwrap();
                });
                let mut loaded = folder.load_quantised(quantize).unwrap();
                for question in [category(&loaded, "circle"), open(&loaded, 4)] {
                    let answer = ask(&mut loaded, vec![question.clone()]);
                    assert!(
                        matches!(answer, Err(VisionError::NotFinite { .. })),
                        "{tensor} of {value}, {quantize:?}, {:?}: {answer:?}",
                        question.text()
                    );
                }
            }
        }
    }
}

#[test]
fn questions_that_the_model_does_not_take() {
    let mut loaded = Folder::new().load();
    let circle = category(&loaded, "circle");
    let many = |count| vec![circle.clone(); count];
    assert_eq!(ask(&mut loaded, many(MAX_QUESTIONS)).unwrap().len(), 1000);
    let error = ask(&mut loaded, many(MAX_QUESTIONS + 1)).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, VisionError::TooManyQuestions { .. })
            && text.contains("1000")
            && text.contains("1001"),
        "{text}"
    );

    let foreign = Question::Classes([1, 2].into());
    let error = ask(&mut loaded, vec![circle.clone(), foreign]).unwrap_err();
    assert!(
        matches!(error, VisionError::ForeignQuestion { .. }),
        "{error}"
    );

    // Room for 256 tokens, 65 of which are the image.
    let long = "circle ".repeat(200);
    for refused in [
        loaded.questions.open(&long, Generation::default()),
        loaded.questions.category(&Category {
            prompt: Some(long.clone()),
            ..Category::named("circle")
        }),
    ] {
        let text = refused.unwrap_err().to_string();
        for part in ["circle circle", "too long", "256", "65"] {
            assert!(text.contains(part), "{text}");
        }
    }
    // One that was not made by this model's planning half is no panic either.
    let prompt = Prompt {
        text: "circle".into(),
        tokens: vec![30; 300].into(),
    };
    let error = ask(&mut loaded, vec![Question::YesNo(prompt)]).unwrap_err();
    assert!(error.to_string().contains("context of 256"), "{error}");
}

#[test]
fn views_that_are_not_the_models_are_the_error_of_their_job() {
    let mut loaded = Folder::new().load();
    let questions: std::sync::Arc<[Question]> =
        vec![category(&loaded, "circle"), open(&loaded, 4)].into();
    let good = views(&loaded);
    let other = |change: fn(&mut Views)| {
        let mut views = good.clone();
        change(&mut views);
        views
    };
    let wrong = [
        // Another side, no view at all, half a view, and fewer views than the grid has.
        other(|views| (views.side, views.data) = (56, vec![0; 56 * 56 * 3])),
        other(|views| views.data.clear()),
        other(|views| views.data.truncate(100 * 112 * 3)),
        other(|views| views.grid = (2, 2)),
        other(|views| views.data.extend_from_within(..)),
    ];
    let job = |views: &Views| Job {
        views: views.clone(),
        questions: questions.clone(),
    };
    let alone = loaded.model.answer(&[job(&good)]).remove(0).unwrap();
    for views in wrong {
        let answers = loaded.model.answer(&[job(&good), job(&views), job(&good)]);
        assert_eq!(answers.len(), 3);
        for good in [&answers[0], &answers[2]] {
            same(good.as_ref().unwrap(), &alone);
        }
        let error = answers[1].as_ref().unwrap_err();
        assert!(
            matches!(error, VisionError::ImageSize { .. })
                && error.to_string().contains("112 x 112"),
            "{error}"
        );
    }
}

/// Asserts that answers are the same but for the order of additions.
#[track_caller]
fn same(ours: &[Answer], theirs: &[Answer]) {
    assert_eq!(ours.len(), theirs.len());
    for pair in ours.iter().zip(theirs) {
        match pair {
            (Answer::Score(a), Answer::Score(b)) => assert!((a - b).abs() < 1e-5, "{a} {b}"),
            (a, b) => assert_eq!(a, b),
        }
    }
}
