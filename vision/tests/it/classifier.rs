//! The embedded classifier through the model trait.

use picsift_vision::{
    Answer, Category, Generation, InputGeometry, Job, LoadOptions, Loaded, PromptStyle, Question,
    RgbImage, Views, VisionError,
};

fn loaded() -> Loaded {
    picsift_vision::load("efficientnet-lite0", &LoadOptions::default(), &()).unwrap()
}

fn image(width: u32, height: u32) -> RgbImage {
    let bytes = (0..width * height * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    RgbImage {
        width,
        height,
        data: bytes.collect(),
    }
}

fn job(side: u32, questions: &[Question]) -> Job {
    Job {
        views: Views {
            side,
            grid: (1, 1),
            data: image(side, side).data,
        },
        questions: questions.into(),
    }
}

fn classes(range: std::ops::Range<u16>) -> Question {
    Question::Classes(range.collect())
}

fn scores(answers: &[Answer]) -> Vec<f32> {
    answers
        .iter()
        .map(|answer| match answer {
            Answer::Score(score) => *score,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn says_what_it_is() {
    let info = loaded().info;
    assert_eq!(
        (info.name.as_str(), info.device.as_str()),
        ("efficientnet-lite0", "cpu")
    );
    let input = InputGeometry::CentreCrop {
        short_side: 256,
        size: 224,
    };
    assert_eq!(info.input, input);
}

#[test]
fn a_score_is_the_sum_of_the_classes_probabilities() {
    let questions = [
        classes(0..1000),
        classes(0..400),
        classes(400..1000),
        classes(0..0),
    ];
    let results = loaded().model.answer(&[job(224, &questions)]);
    let scores = scores(results[0].as_ref().unwrap());
    assert!(
        (scores[0] - 1.0).abs() < 1e-5 && scores[0] <= 1.0,
        "{scores:?}"
    );
    assert!((scores[1] + scores[2] - 1.0).abs() < 1e-5, "{scores:?}");
    assert_eq!(scores[3], 0.0);
}

#[test]
fn a_bad_image_is_the_error_of_its_own_job() {
    let questions = [classes(0..1000)];
    let mut short = job(224, &questions);
    short.views.data.pop();
    let jobs = [
        job(224, &questions),
        job(100, &questions),
        short,
        job(224, &[classes(999..1001)]),
        job(224, &questions),
    ];
    let results = loaded().model.answer(&jobs);
    assert_eq!(results.len(), 5);
    assert!(results[0].is_ok() && results[4].is_ok());
    let error = results[1].as_ref().unwrap_err().to_string();
    assert!(
        error.contains("1 x 224 x 224") && error.contains("1 x 100 x 100"),
        "{error}"
    );
    assert!(matches!(results[2], Err(VisionError::ImageSize { .. })));
    assert!(matches!(
        results[3],
        Err(VisionError::UnknownClass { class: 1000, .. })
    ));
}

#[test]
fn an_image_of_another_size_has_no_views() {
    let preprocessor = loaded().preprocessor;
    assert_eq!(preprocessor.views(image(224, 224)).unwrap().count(), 1);
    let error = preprocessor.views(image(224, 100)).unwrap_err().to_string();
    assert!(
        error.contains("224 x 224") && error.contains("224 x 100"),
        "{error}"
    );
    let mut short = image(224, 224);
    short.data.pop();
    assert!(matches!(
        preprocessor.views(short),
        Err(VisionError::ImageData { .. })
    ));
}

fn category(name: &str, nouns: &[&str]) -> Category {
    Category {
        name: name.to_owned(),
        prompt: None,
        nouns: nouns.iter().map(|&noun| noun.to_owned()).collect(),
        templates: Vec::new(),
        style: PromptStyle::default(),
        head: None,
    }
}

fn classes_of(category: &Category) -> Vec<u16> {
    match loaded().questions.category(category).unwrap() {
        Question::Classes(classes) => classes.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn further_nouns_count_and_a_name_beside_them_need_not_be_a_noun() {
    let castle = classes_of(&Category::named("castle"));
    let tower = classes_of(&Category::named("tower"));
    let mut both: Vec<u16> = castle.iter().chain(&tower).copied().collect();
    both.sort_unstable();
    both.dedup();
    assert_eq!(classes_of(&category("castle", &["tower"])), both);
    assert_eq!(
        classes_of(&category("my_buildings", &["tower", "castle"])),
        both
    );
    assert_eq!(classes_of(&category("castle", &["castle"])), castle);
}

#[test]
fn a_noun_without_classes_is_an_error_that_names_it_and_near_ones() {
    let questions = loaded().questions;
    for unknown in [category("qwertz", &[]), category("castle", &["qwertz"])] {
        let error = questions.category(&unknown).unwrap_err().to_string();
        assert!(
            error.contains("qwertz") && error.contains(&unknown.name),
            "{error}"
        );
    }
    let near = questions.category(&Category::named("giraffe")).unwrap_err();
    assert!(
        near.to_string().contains("near it, the model knows"),
        "{near}"
    );
}

#[test]
fn a_prompt_is_refused_because_the_model_reads_none() {
    let mut prompted = Category::named("fish");
    prompted.prompt = Some("Is there a fish?".to_owned());
    let error = loaded()
        .questions
        .category(&prompted)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("takes no prompt") && error.contains("'fish'"),
        "{error}"
    );
}

#[test]
fn a_question_in_words_is_refused_by_name() {
    let error = loaded()
        .questions
        .open("What is this?", Generation::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("model 'efficientnet-lite0' cannot answer in words"),
        "{error}"
    );
}
