//! The detector against what OpenCV computes with the same weights and with the published ones; what it is as a model.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use picsift_vision::coco_ssd::{ANCHORS, Network, SIDE};
use picsift_vision::{
    Answer, Category, InputGeometry, Job, LoadOptions, Loaded, Question, RgbImage, VisionError,
};

use crate::golden_data::pillow;

const WEIGHTS: &[u8] = include_bytes!("../../data/coco-ssd/model.safetensors");
const GOLDENS: &[u8] = include_bytes!("../../data/coco-ssd/goldens.safetensors");

/// Largest difference of a score, 0..=1, from OpenCV's with the same weights.
const TOLERANCE: f32 = 1e-3;

/// Largest difference of a presence from that of the published weights; `data/coco-ssd/README.md` has the most over 221 photographs.
const CONVERSION: f32 = 0.025;

fn goldens(kind: &str) -> Vec<(String, Tensor)> {
    let tensors = candle_core::safetensors::load_buffer(GOLDENS, &Device::Cpu).unwrap();
    let mut of: Vec<_> = tensors
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(kind)?.to_owned(), tensor)))
        .collect();
    of.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(of.len(), 5);
    of
}

fn photograph(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../datasets/photos/references/images")
        .join(file)
}

fn loaded() -> Loaded {
    picsift_vision::load("coco-ssd", &LoadOptions::default(), &()).unwrap()
}

/// The square of a photograph as the model's own preprocessor makes it.
fn square(file: &str) -> Vec<u8> {
    let views = loaded()
        .preprocessor
        .views(pillow(&photograph(file)))
        .unwrap();
    assert_eq!((views.side as usize, views.count()), (SIDE, 1));
    views.data
}

fn images(squares: &[Vec<u8>]) -> Tensor {
    let shape = (squares.len(), SIDE, SIDE, 3);
    Tensor::from_vec(squares.concat(), shape, &Device::Cpu).unwrap()
}

fn sigmoid(tensor: &Tensor) -> Tensor {
    candle_nn::ops::sigmoid(tensor).unwrap()
}

fn apart(left: &Tensor, right: &Tensor) -> f32 {
    assert_eq!(left.dims(), right.dims());
    let difference = (left - right).unwrap().abs().unwrap();
    difference.max_all().unwrap().to_scalar().unwrap()
}

#[test]
fn a_picture_is_squashed_as_tensorflow_squashes_it() {
    for (file, rows) in goldens("rows.") {
        let expected: Vec<u8> = rows.flatten_all().unwrap().to_vec1().unwrap();
        let ours = square(&file);
        let ours = ours.chunks(SIDE * 3).step_by(10).flatten();
        let wrong = ours.zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "{file}");
    }
}

#[test]
fn scores_agree_with_opencv() {
    let network = Network::from_safetensors(WEIGHTS).unwrap();
    let all: Vec<u16> = (0..80).collect();
    let heads = network.heads(&all).unwrap();
    for ((file, scores), (_, published)) in
        goldens("scores.").into_iter().zip(goldens("published."))
    {
        let images = images(&[square(&file)]);
        let peaks = network.peaks(&images, &heads).unwrap();
        // The maps one after the other, anchors before classes.
        let peaks: Vec<_> = peaks
            .iter()
            .zip(ANCHORS)
            .map(|(peaks, anchors)| {
                assert_eq!(peaks.dims(), [1, 80, anchors]);
                peaks.squeeze(0).unwrap().t().unwrap()
            })
            .collect();
        let peaks = sigmoid(&Tensor::cat(&peaks, 0).unwrap());
        let distance = apart(&peaks, &scores);
        println!("{file}: {distance:e}");
        assert!(distance < TOLERANCE, "{file}: {distance}");

        let presences = sigmoid(&network.logits(&images, &heads).unwrap());
        let distance = apart(&presences.squeeze(0).unwrap(), &scores.max(0).unwrap());
        assert!(distance < TOLERANCE, "{file}: {distance}");
        let distance = apart(&presences.squeeze(0).unwrap(), &published);
        assert!(distance < CONVERSION, "{file}: {distance}");
    }
}

#[test]
fn neither_company_nor_other_classes_change_a_score() {
    let network = Network::from_safetensors(WEIGHTS).unwrap();
    let files = ["italy_216.jpg", "horse_009.jpg", "knife_085.jpg"];
    let squares: Vec<_> = files.iter().map(|file| square(file)).collect();
    let all = network.heads(&(0..80).collect::<Vec<_>>()).unwrap();
    let together = network.logits(&images(&squares), &all).unwrap();
    for classes in [&[0_u16][..], &[17, 42, 43], &[79]] {
        let heads = network.heads(classes).unwrap();
        for (row, square) in squares.iter().enumerate() {
            let alone = network.logits(&images(std::slice::from_ref(square)), &heads);
            let places: Vec<u32> = classes.iter().map(|&class| class.into()).collect();
            let places = Tensor::new(places, &Device::Cpu).unwrap();
            let row = together.narrow(0, row, 1).unwrap();
            let expected = row.index_select(&places, 1).unwrap();
            assert!(apart(&alone.unwrap(), &expected) < 1e-4);
        }
    }
    assert!(network.heads(&[80]).is_err() && network.heads(&[]).is_err());
}

#[test]
fn a_file_that_is_not_the_network_is_refused_by_name() {
    let error = |bytes: &'static [u8]| {
        let error = Network::from_safetensors(bytes).unwrap_err();
        error.to_string()
    };
    assert!(!error(&WEIGHTS[..1000]).is_empty());
    let lite0 = include_bytes!("../../data/efficientnet-lite0/model.f16.safetensors");
    assert!(error(lite0).contains("stem.weight"), "{}", error(lite0));
}

fn things(category: &Category) -> Vec<u16> {
    match loaded().questions.category(category).unwrap() {
        Question::Classes(classes) => classes.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_category_is_the_things_that_wordnet_puts_under_its_noun() {
    let of = |noun: &str| things(&Category::named(noun));
    assert_eq!(of("person"), [0]);
    assert_eq!(of("people"), [0]);
    assert_eq!(of("a Giraffe"), [23]);
    assert_eq!(of("animals"), (14..24).collect::<Vec<_>>());
    assert_eq!(of("mammal"), (15..24).collect::<Vec<_>>());
    assert_eq!(of("stop sign"), [11]);
    assert_eq!(of("sofa"), [57]);
    // A kind of a thing is not the thing, and the model knows too few plants to know where there is none.
    for noun in ["woman", "owl", "building", "tree", "plant", "object"] {
        let question = loaded().questions.category(&Category::named(noun));
        assert!(
            matches!(question, Err(VisionError::UnknownCategory { .. })),
            "{noun}: {question:?}"
        );
    }
}

fn scores(file: &str, categories: &[&str]) -> Vec<f32> {
    let mut loaded = loaded();
    let views = loaded
        .preprocessor
        .views(pillow(&photograph(file)))
        .unwrap();
    let questions = categories
        .iter()
        .map(|name| loaded.questions.category(&Category::named(*name)).unwrap());
    let job = Job {
        views,
        questions: questions.collect(),
    };
    let answers = loaded.model.answer(&[job]).remove(0).unwrap();
    let score = |answer: &Answer| match answer {
        Answer::Score(score) => *score,
        other => panic!("{other:?}"),
    };
    answers.iter().map(score).collect()
}

#[test]
fn a_score_is_that_of_the_surest_thing() {
    let [person, horse, cow, animal, vehicle] = scores(
        "horse_009.jpg",
        &["person", "horse", "cow", "animal", "vehicle"],
    )[..] else {
        panic!("five scores");
    };
    assert!(
        horse > 0.9 && person < 0.2 && vehicle < 0.2,
        "{horse} {person} {vehicle}"
    );
    assert!(animal >= horse.max(cow), "{animal}");
    assert!(scores("italy_216.jpg", &["person"])[0] > 0.9);
}

#[test]
fn says_what_it_is() {
    let info = loaded().info;
    assert_eq!(
        (info.name.as_str(), info.device.as_str()),
        ("coco-ssd", "cpu")
    );
    assert_eq!(info.input, InputGeometry::Within { side: 640 });
    assert!(!info.can_talk);
}

#[test]
fn a_bad_image_is_the_error_of_its_own_job() {
    let mut loaded = loaded();
    let questions = [loaded
        .questions
        .category(&Category::named("person"))
        .unwrap()];
    let job = |views| Job {
        views,
        questions: questions.clone().into(),
    };
    let views = loaded
        .preprocessor
        .views(pillow(&photograph("italy_216.jpg")))
        .unwrap();
    let mut short = views.clone();
    short.data.pop();
    let mut foreign = job(views.clone());
    foreign.questions = [Question::Classes([80].into())].into();
    let jobs = [job(views.clone()), job(short), foreign, job(views)];
    let results = loaded.model.answer(&jobs);
    assert!(results[0].is_ok() && results[0].as_ref().unwrap() == results[3].as_ref().unwrap());
    assert!(matches!(results[1], Err(VisionError::ImageSize { .. })));
    assert!(matches!(
        results[2],
        Err(VisionError::UnknownClass {
            class: 80,
            classes: 80,
            ..
        })
    ));
    let empty = RgbImage::default();
    assert!(matches!(
        loaded.preprocessor.views(empty),
        Err(VisionError::EmptyImage { .. })
    ));
}
