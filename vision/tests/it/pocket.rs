//! The default model: which network answers what, over which pixels, and what becomes of two answers.

use std::path::Path;

use picsift_vision::{
    Answer, Category, DEFAULT_MODEL, InputGeometry, Job, LoadOptions, Loaded, Question, RgbImage,
    Views, VisionError,
};

use crate::golden_data::pillow;

const CROP: InputGeometry = InputGeometry::CentreCrop {
    short_side: 256,
    size: 224,
};
const WHOLE: InputGeometry = InputGeometry::Within { side: 640 };

fn loaded(model: &str) -> Loaded {
    picsift_vision::load(model, &LoadOptions::default(), &()).unwrap()
}

fn photograph(file: &str) -> RgbImage {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/photos/references/images");
    pillow(&images.join(file))
}

fn questions(loaded: &Loaded, nouns: &[&str]) -> Vec<Question> {
    nouns
        .iter()
        .map(|noun| loaded.questions.category(&Category::named(*noun)).unwrap())
        .collect()
}

fn classes(noun: &str) -> Vec<u16> {
    match &questions(&loaded("pocket"), &[noun])[..] {
        [Question::Classes(classes)] => classes.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The middle of an image with so many pixels.
fn crop(image: &RgbImage, side: u32) -> RgbImage {
    let (left, top) = ((image.width - side) / 2, (image.height - side) / 2);
    let rows = image.data.chunks(image.width as usize * 3);
    let rows = rows.skip(top as usize).take(side as usize);
    let data = rows.flat_map(|row| row[left as usize * 3..(left + side) as usize * 3].to_vec());
    RgbImage {
        width: side,
        height: side,
        data: data.collect(),
    }
}

/// What a pipeline makes for these questions of a photograph whose middle stands for its crop.
fn views(loaded: &Loaded, questions: &[Question], image: &RgbImage) -> Views {
    let inputs = loaded.preprocessor.inputs(questions);
    let inputs = inputs.unwrap_or_else(|| vec![loaded.info.input]);
    let images = inputs.into_iter().map(|input| match input {
        InputGeometry::CentreCrop { size, .. } => (input, crop(image, size)),
        _ => (input, image.clone()),
    });
    loaded.preprocessor.views_of(images.collect()).unwrap()
}

fn scores(model: &str, nouns: &[&str], image: &RgbImage) -> Vec<f32> {
    let mut loaded = loaded(model);
    let questions = questions(&loaded, nouns);
    let views = views(&loaded, &questions, image);
    let job = Job {
        views,
        questions: questions.into(),
    };
    let answers = loaded.model.answer(&[job]).remove(0).unwrap();
    let score = |answer: &Answer| match answer {
        Answer::Score(score) => *score,
        other => panic!("{other:?}"),
    };
    answers.iter().map(score).collect()
}

#[test]
fn it_is_the_default() {
    assert_eq!(DEFAULT_MODEL, "pocket");
    let info = loaded(DEFAULT_MODEL).info;
    assert_eq!(info.input, InputGeometry::PerQuestion);
    // Answers are kept under the revision, which names both networks' weights.
    for part in ["efficientnet-lite0", "coco-ssd"] {
        assert!(
            info.revision.contains(&loaded(part).info.revision),
            "{}",
            info.revision
        );
    }
}

#[test]
fn a_noun_is_answered_by_whichever_knows_it() {
    assert_eq!(classes("person"), [1000]);
    assert_eq!(classes("people"), [1000]);
    assert_eq!(classes("giraffe"), [1023]);
    assert!(classes("building").iter().all(|&class| class < 1000));
    assert_eq!(classes("German shepherd").len(), 1);
    let zebra = classes("zebra");
    assert_eq!(zebra, [340, 1022], "both know it");
    let animals = classes("animal");
    assert_eq!(animals.len(), 398 + 10);
    // All take a noun in the same form: spectacles are no wine glasses.
    assert!(classes("glasses").iter().all(|&class| class < 1000));
    assert!(classes("glass").contains(&1040));
    let both = loaded("pocket");
    let mut house = Category::named("house or person");
    house.nouns = vec!["building".to_owned(), "person".to_owned()];
    let Question::Classes(found) = both.questions.category(&house).unwrap() else {
        panic!("classes");
    };
    assert_eq!(found.len(), classes("building").len() + 1);
}

#[test]
fn a_kind_is_not_its_kind_above() {
    let refused = |noun: &str| {
        let error = loaded("pocket").questions.category(&Category::named(noun));
        error.unwrap_err().to_string()
    };
    for noun in ["woman", "child", "tree", "logo", "sunset", "object"] {
        let said = refused(noun);
        assert!(
            said.contains(noun)
                && said.contains("--model siglip2")
                && said.contains("--model moondream2"),
            "{said}"
        );
    }
    assert!(
        refused("stop signn").contains("stop sign"),
        "{}",
        refused("stop signn")
    );
}

#[test]
fn nouns_that_nothing_knows_are_named_at_once() {
    let questions = loaded("pocket").questions;
    let errors =
        ["tree", "logo"].map(|noun| questions.category(&Category::named(noun)).unwrap_err());
    let said = VisionError::together(errors.to_vec()).unwrap().to_string();
    for part in ["'tree'", "'logo'", "2 of the categories", "--model siglip2"] {
        assert!(said.contains(part), "{said}");
    }
    let one = VisionError::together(errors[..1].to_vec()).unwrap();
    assert_eq!(one.to_string(), errors[0].to_string());
    assert!(VisionError::together(Vec::new()).is_none());
}

#[test]
fn only_what_the_questions_need_is_looked_at() {
    let loaded = loaded("pocket");
    let inputs = |nouns: &[&str]| {
        loaded
            .preprocessor
            .inputs(&questions(&loaded, nouns))
            .unwrap()
    };
    assert_eq!(inputs(&["building", "tool"]).len(), 2, "both know tools");
    assert_eq!(inputs(&["building"]), [CROP]);
    assert_eq!(inputs(&["person"]), [WHOLE]);
    assert_eq!(inputs(&["person", "building"]), [CROP, WHOLE]);
    assert_eq!(inputs(&["zebra"]), [CROP, WHOLE]);
}

/// The detector's score on the model's scale: it holds from 0.2 on, not from 0.3 on.
fn scaled(presence: f32) -> f32 {
    let yes = presence * (0.2 / 0.8) / (0.3 / 0.7);
    yes / (yes + 1.0 - presence)
}

/// The score whose log odds are the mean of both.
fn pool(one: f32, other: f32) -> f32 {
    let odds = |score: f32| score / (1.0 - score);
    let odds = (odds(one) * odds(other)).sqrt();
    odds / (1.0 + odds)
}

#[test]
fn alone_and_together_each_network_says_the_same_as_by_itself() {
    let image = photograph("horse_009.jpg");
    let lite0 = scores("efficientnet-lite0", &["sorrel", "horse", "zebra"], &image);
    let coco = scores("coco-ssd", &["person", "horse", "zebra"], &image);
    let coco: Vec<f32> = coco.into_iter().map(scaled).collect();
    let close = |a: f32, b: f32| (a - b).abs() < 1e-5;
    assert_eq!(scores("pocket", &["sorrel"], &image), lite0[..1]);
    assert!(close(scores("pocket", &["person"], &image)[0], coco[0]));
    let both = scores("pocket", &["sorrel", "person", "horse", "zebra"], &image);
    assert!(
        close(both[0], lite0[0]) && close(both[1], coco[0]),
        "{both:?}"
    );
    // Every horse and zebra of the one is a horse or zebra to the other.
    for (noun, name) in [(1, "horse"), (2, "zebra")] {
        let expected = pool(lite0[noun], coco[noun]);
        assert!(
            close(both[noun + 1], expected),
            "{name}: {both:?} {expected}"
        );
    }
    assert!(both[2] > 0.5 && both[3] < 0.2, "{both:?}");
}

#[test]
fn what_one_network_has_no_class_for_it_does_not_deny() {
    // The detector knows animals, and no fish among them; tools, and no hammer.
    for (file, kind, noun) in [
        ("fish20_137.jpg", "fish", "animal"),
        ("hammer3_116.jpg", "hammer", "tool"),
    ] {
        let image = photograph(file);
        let kind = scores("efficientnet-lite0", &[kind], &image)[0];
        assert!(
            scores("pocket", &[noun], &image)[0] >= kind && kind > 0.2,
            "{file}: {kind}"
        );
    }
}

#[test]
fn jobs_with_other_questions_share_a_batch() {
    let mut model = loaded("pocket");
    let image = photograph("italy_216.jpg");
    let nouns: [&[&str]; 4] = [
        &["person"],
        &["building"],
        &["person", "horse"],
        &["building", "cup"],
    ];
    let jobs: Vec<Job> = nouns
        .iter()
        .map(|nouns| {
            let questions = questions(&model, nouns);
            Job {
                views: views(&model, &questions, &image),
                questions: questions.into(),
            }
        })
        .collect();
    let together = model.model.answer(&jobs);
    for (job, together) in jobs.iter().zip(together) {
        let alone = model
            .model
            .answer(std::slice::from_ref(job))
            .remove(0)
            .unwrap();
        for (alone, together) in alone.iter().zip(together.unwrap()) {
            let (Answer::Score(alone), Answer::Score(together)) = (alone, together) else {
                panic!("scores");
            };
            assert!((alone - together).abs() < 1e-5, "{alone} {together}");
        }
    }
}

#[test]
fn a_caller_with_a_whole_image_gets_the_views_of_both() {
    let mut loaded = loaded("pocket");
    let views = loaded
        .preprocessor
        .views(photograph("horse_009.jpg"))
        .unwrap();
    assert_eq!((views.side, views.count()), (300, 2));
    let questions = questions(&loaded, &["horse", "building", "person"]);
    let job = Job {
        views,
        questions: questions.into(),
    };
    assert_eq!(loaded.model.answer(&[job]).remove(0).unwrap().len(), 3);
}

#[test]
fn views_that_do_not_show_what_is_asked_are_refused() {
    let mut loaded = loaded("pocket");
    let image = photograph("horse_009.jpg");
    let person = questions(&loaded, &["person"]);
    let building = questions(&loaded, &["building"]);
    let swapped = [
        (views(&loaded, &building, &image), person.clone()),
        (views(&loaded, &person, &image), building),
    ];
    for (views, questions) in swapped {
        let job = Job {
            views,
            questions: questions.into(),
        };
        let result = loaded.model.answer(&[job]).remove(0);
        assert!(
            matches!(result, Err(VisionError::ImageSize { .. })),
            "{result:?}"
        );
    }
    let job = Job {
        views: views(&loaded, &person, &image),
        questions: [Question::Classes([1080].into())].into(),
    };
    let result = loaded.model.answer(&[job]).remove(0);
    assert!(
        matches!(result, Err(VisionError::UnknownClass { class: 1080, .. })),
        "{result:?}"
    );
}
