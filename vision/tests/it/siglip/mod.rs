//! Small random SigLIPs of both versions against what transformers computed with them, in every stage; and what is no SigLIP.

mod refused;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use picsift_vision::siglip::{
    Config, Embedder, ImageTower, Resampling, TextTower, Words, canonical,
};
use picsift_vision::transformer::{Checkpoint, Format};
use picsift_vision::{
    Answer, Category, DeviceChoice, Job, LoadOptions, Loaded, Preprocessor, PromptStyle,
    Quantization, Question, Questions, RgbImage, Views,
};

use crate::golden_data::{Golden, all_in, goldens};

/// Every golden folder of a SigLIP: none where `PICSIFT_GOLDENS` names those of other models.
fn folders() -> Vec<Golden> {
    let mut all = all_in(&goldens());
    all.retain(Golden::is_siglip);
    all
}

struct Parts {
    golden: Golden,
    config: Config,
    words: Words,
}

fn parts() -> Vec<Parts> {
    let open = |golden: Golden| {
        let config = Config::from_json(&golden.config_text()).unwrap();
        let tokenizer = fs::read(golden.dir.join("tokenizer.json")).unwrap();
        let (positions, vocabulary) = (config.text.positions, config.text.vocabulary);
        Parts {
            words: Words::from_json("golden", &tokenizer, positions, vocabulary).unwrap(),
            config,
            golden,
        }
    };
    folders().into_iter().map(open).collect()
}

fn formats() -> [Format; 2] {
    let format = Format::new(&Device::Cpu, None, None);
    [format.clone(), format.plain()]
}

/// The largest difference.
fn apart(ours: &Tensor, expected: &Tensor) -> f32 {
    assert_eq!(ours.dims(), expected.dims());
    let ours = ours.to_dtype(DType::F32).unwrap();
    let difference = (ours - expected).unwrap().abs().unwrap();
    difference
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap()
        .to_scalar()
        .unwrap()
}

fn resized(golden: &Golden, id: &str) -> Vec<u8> {
    let tensor = golden.tensor(&format!("{id}.resized")).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn texts_become_the_tokens_of_the_reference() {
    for Parts { golden, words, .. } in parts() {
        for text in golden.manifest["texts"].as_array().unwrap() {
            let raw = text["text"].as_str().unwrap();
            assert_eq!(canonical(raw), text["canonical"].as_str().unwrap());
            let padded: Vec<u32> = serde_json::from_value(text["padded"].clone()).unwrap();
            assert_eq!(*words.prompt(raw).unwrap().tokens, *padded, "{raw}");
        }
    }
}

#[test]
fn pictures_are_squashed_as_pillow_does() {
    for Parts { golden, config, .. } in parts() {
        let preprocessor = golden.dir.join("preprocessor_config.json");
        let text = fs::read_to_string(preprocessor).unwrap();
        let square = Resampling::from_json(&text, config.vision.side).unwrap();
        let square = square.square(config.vision.side);
        for image in golden.images() {
            let views = square.views(golden.rgb(image.id)).unwrap();
            let expected = resized(&golden, image.id);
            // Where a decoder differs by a level the reference's pixels are the test's.
            let wrong = views
                .data
                .iter()
                .zip(&expected)
                .filter(|(a, b)| a != b)
                .count();
            assert_eq!(
                (views.data.len(), wrong),
                (expected.len(), 0),
                "{}",
                image.id
            );
        }
    }
}

#[test]
fn every_stage_agrees_with_the_reference() {
    for Parts {
        golden,
        config,
        words,
    } in parts()
    {
        let bytes = golden.model_bytes();
        for format in formats() {
            let checkpoint = Checkpoint::from_bytes("golden", &bytes).unwrap();
            let tower = ImageTower::read(&config.vision, &checkpoint, &format).unwrap();
            let mut embeds = Vec::new();
            for image in golden.images() {
                let patches = tower.patches(&[&resized(&golden, image.id)]).unwrap();
                let mut hidden = Vec::new();
                let tokens = tower.tokens(&patches, |x| hidden.push(x.clone())).unwrap();
                let expected =
                    |stage: &str| golden.tensor(&format!("{}.{stage}", image.id)).unwrap();
                let some = Tensor::new(&[0_u32, 18, 35], &Device::Cpu).unwrap();
                let rows: Vec<Tensor> = hidden
                    .iter()
                    .map(|x| x.index_select(&some, 0).unwrap())
                    .collect();
                let rows = Tensor::stack(&rows, 0).unwrap();
                assert!(
                    apart(&rows, &expected("hidden_rows")) <= 1e-4,
                    "{}",
                    image.id
                );
                assert!(apart(&tokens.get(0).unwrap(), &expected("last_hidden")) <= 1e-4);
                let pooled = tower.pool(&tokens).unwrap().get(0).unwrap();
                assert!(apart(&pooled, &expected("pooled")) <= 1e-4, "{}", image.id);
                embeds.push(unit(&pooled));
            }
            let embeds = Tensor::stack(&embeds, 0).unwrap();
            assert!(apart(&embeds, &golden.tensor("image.embeds").unwrap()) <= 1e-5);

            let tower = TextTower::read(&config, &checkpoint, &format).unwrap();
            let texts = golden.manifest["texts"].as_array().unwrap();
            let prompts: Vec<_> = texts
                .iter()
                .map(|text| words.prompt(text["text"].as_str().unwrap()).unwrap())
                .collect();
            let ids: Vec<&[u32]> = prompts.iter().map(|prompt| &*prompt.tokens).collect();
            let mut hidden = Vec::new();
            let pooled = tower
                .forward(&checkpoint, &ids, |x| hidden.push(x.clone()))
                .unwrap();
            assert!(apart(&pooled, &golden.tensor("text.pooled").unwrap()) <= 1e-4);
            let (count, positions) = (ids.len(), config.text.positions);
            let some = Tensor::new(&[0_u32, 1, 63], &Device::Cpu).unwrap();
            let rows: Vec<Tensor> = hidden
                .iter()
                .map(|x| {
                    let x = x.reshape((count, positions, config.text.dim)).unwrap();
                    x.narrow(0, 0, 3)
                        .unwrap()
                        .contiguous()
                        .unwrap()
                        .index_select(&some, 1)
                        .unwrap()
                })
                .collect();
            // Blocks first in ours, texts first in the reference.
            let rows = Tensor::stack(&rows, 0).unwrap();
            let expected = golden.tensor("text.hidden_rows").unwrap();
            let expected = match expected.dim(0).unwrap() == rows.dim(0).unwrap() {
                true => expected,
                false => expected.transpose(0, 1).unwrap(),
            };
            assert!(apart(&rows, &expected) <= 1e-4);

            let path = golden.dir.join("model.safetensors");
            let embedder = Embedder::new("golden", &config, &format, move |_| {
                Ok(Checkpoint::open(&path)?)
            });
            let prompts: Vec<_> = prompts.iter().collect();
            let ours = embedder.embed(&prompts, &()).unwrap();
            let ours: Vec<Tensor> = ours
                .iter()
                .map(|text| Tensor::new(&**text, &Device::Cpu).unwrap())
                .collect();
            let ours = Tensor::stack(&ours, 0).unwrap();
            assert!(apart(&ours, &golden.tensor("text.embeds").unwrap()) <= 1e-5);
        }
    }
}

fn unit(vector: &Tensor) -> Tensor {
    let length = vector.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
    vector.broadcast_div(&length).unwrap()
}

fn load(folder: &Path, quantize: Option<Quantization>) -> Loaded {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        quantize,
        ..LoadOptions::default()
    };
    picsift_vision::load(folder.to_str().unwrap(), &options, &()).unwrap()
}

/// Scores of the golden images on the golden texts through the model as a program has it.
fn scores(golden: &Golden, loaded: &mut Loaded, words: &Words) -> Vec<Vec<f32>> {
    let texts = golden.manifest["texts"].as_array().unwrap();
    let questions: Arc<[Question]> = texts
        .iter()
        .map(|text| {
            let prompt = words.prompt(text["text"].as_str().unwrap()).unwrap();
            Question::Shows([[prompt].into()].into())
        })
        .collect();
    let jobs: Vec<Job> = golden
        .images()
        .map(|image| Job {
            views: Views {
                side: 96,
                grid: (1, 1),
                data: resized(golden, image.id),
            },
            questions: Arc::clone(&questions),
        })
        .collect();
    let score = |answer: Answer| match answer {
        Answer::Score(score) => score,
        other => panic!("{other:?}"),
    };
    let answers = loaded.model.answer(&jobs).into_iter();
    answers
        .map(|row| row.unwrap().into_iter().map(score).collect())
        .collect()
}

#[test]
fn a_loaded_model_scores_as_the_reference() {
    for Parts { golden, words, .. } in parts() {
        let expected: Vec<Vec<f32>> = golden.tensor("scores").unwrap().to_vec2().unwrap();
        // Weights and activations of 8 bits move a score by a hundredth: by which values are rounded up, CPUs differ.
        for (quantize, allowed) in [(None, 5e-5), (Some(Quantization::Q8_0), 1.5e-2)] {
            let mut loaded = load(&golden.dir, quantize);
            let ours = scores(&golden, &mut loaded, &words);
            let worst = ours
                .iter()
                .flatten()
                .zip(expected.iter().flatten())
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst <= allowed, "{quantize:?}: {worst}");
        }
    }
}

#[test]
fn a_category_is_any_of_its_nouns() {
    let Some(Parts { golden, words, .. }) = parts().into_iter().next() else {
        return;
    };
    let category = |name: &str, nouns: &[&str], prompt: Option<&str>| Category {
        name: name.to_owned(),
        prompt: prompt.map(str::to_owned),
        nouns: nouns.iter().map(|noun| noun.to_string()).collect(),
        templates: Vec::new(),
        style: PromptStyle::default(),
        head: None,
    };
    let texts = |category: &Category| match words.category(category).unwrap() {
        Question::Shows(descriptions) => descriptions
            .iter()
            .flat_map(|wordings| wordings.iter())
            .map(|p| p.text.to_string())
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        texts(&category("Dog", &["polar_bear"], None)),
        ["this is a photo of dog", "this is a photo of polar bear"]
    );
    assert_eq!(
        texts(&category("x", &["y"], Some("A red car!"))),
        ["a red car"]
    );
    let templates = Category {
        templates: ["A photo of {}!", "{}"].map(str::to_owned).into(),
        ..category("Dog", &["cat"], None)
    };
    assert_eq!(
        texts(&templates),
        ["a photo of dog", "dog", "a photo of cat", "cat"]
    );
    for name in ["...", "_", ""] {
        let error = words
            .category(&category(name, &[], None))
            .unwrap_err()
            .to_string();
        assert!(error.contains("says nothing"), "{error}");
    }

    let mut loaded = load(&golden.dir, None);
    let [dog, bear] =
        ["dog", "polar bear"].map(|noun| words.category(&category(noun, &[], None)).unwrap());
    let mixed = words.category(&templates).unwrap();
    let both = words
        .category(&category("dog", &["polar bear"], None))
        .unwrap();
    let image = golden.images().next().unwrap();
    let views = Views {
        side: 96,
        grid: (1, 1),
        data: resized(&golden, image.id),
    };
    let foreign = Job {
        views: views.clone(),
        questions: [Question::Classes([1].into())].into(),
    };
    let small = Job {
        views: Views::square(
            "test",
            RgbImage {
                width: 8,
                height: 8,
                data: vec![0; 192],
            },
            8,
        )
        .unwrap(),
        questions: [dog.clone()].into(),
    };
    let job = Job {
        views,
        questions: [dog, bear, both, mixed].into(),
    };
    let answers = loaded.model.answer(&[foreign, job, small]);
    let scores: Vec<f32> = answers[1]
        .as_ref()
        .unwrap()
        .iter()
        .map(|answer| match answer {
            Answer::Score(score) => *score,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(scores[2], scores[0].max(scores[1]));
    assert!((0.0..=1.0).contains(&scores[3]) && scores[3] != scores[0]);
    assert!(
        answers[0]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("another model")
    );
    assert!(
        answers[2]
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("8 x 8")
    );
}
