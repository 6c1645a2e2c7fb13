//! Questions to a Moondream2 and their tokens, with small tokenizers of the kinds that its checkpoints have.

mod tokenizers;

use std::sync::Arc;

use picsift_vision::moondream::{Config, PromptError, Prompts, Vocabulary, VocabularyError};
use picsift_vision::{Category, Generation, Prompt, PromptStyle, Question, Questions, VisionError};
use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) use tokenizers::starmie;
use tokenizers::{MARKS, byte_level, config_2024, config_2025, gpt2, id, words};

fn vocabulary(tokenizer: &Value, config: &Config) -> Result<Vocabulary, VocabularyError> {
    Vocabulary::from_json(tokenizer.to_string().as_bytes(), config)
}

fn prompts(model: &str, tokenizer: &Value, config: &Config) -> Prompts {
    let vocabulary = vocabulary(tokenizer, config).unwrap();
    Prompts::new(model, Arc::new(vocabulary), config)
}

#[track_caller]
fn yes_no(question: Result<Question, VisionError>) -> Prompt {
    match question.unwrap() {
        Question::YesNo(prompt) => prompt,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn prompt_error(question: Result<Question, VisionError>) -> PromptError {
    match question.unwrap_err() {
        VisionError::Prompt(error) => error.downcast_ref::<PromptError>().unwrap().clone(),
        other => panic!("{other:?}"),
    }
}

fn category(name: &str, prompt: Option<&str>) -> Category {
    Category {
        prompt: prompt.map(str::to_owned),
        ..Category::named(name)
    }
}

#[test]
fn yes_and_no_are_found_in_every_spelling() {
    let tokenizer = starmie();
    let vocabulary = vocabulary(&tokenizer, &config_2025(&tokenizer)).unwrap();
    let ids = |tokens: &[&str]| {
        tokens
            .iter()
            .map(|token| id(&tokenizer, token))
            .collect::<Vec<_>>()
    };
    assert_eq!(vocabulary.yes(), ids(&["yes", "Yes", "\u{120}YES"]));
    assert_eq!(vocabulary.no(), ids(&["no", "\u{120}no"]));
}

#[test]
fn marks_in_a_text_stay_text_and_words_of_the_template_are_words() {
    let tokenizer = starmie();
    let vocabulary = vocabulary(&tokenizer, &config_2025(&tokenizer)).unwrap();
    for mark in MARKS {
        let ids = vocabulary.encode(mark).unwrap();
        assert!(
            ids.iter().all(|id| *id > 4) && ids.len() > 5,
            "{mark}: {ids:?}"
        );
        assert_eq!(vocabulary.decode(&ids).unwrap(), mark);
    }
    assert_eq!(
        vocabulary.encode("query").unwrap(),
        [id(&tokenizer, "query")]
    );
    let answer = [
        0,
        id(&tokenizer, "\u{120}no"),
        id(&tokenizer, "query"),
        3,
        4,
    ];
    assert_eq!(vocabulary.decode(&answer).unwrap(), "noquery");
}

#[test]
fn added_runs_of_blanks_keep_their_tokens() {
    let vocabulary = vocabulary(&gpt2(), &config_2024()).unwrap();
    let ids = vocabulary.encode("a      b").unwrap();
    assert_eq!(ids[1..3], [50257, 50258]);
    assert_eq!(vocabulary.decode(&ids).unwrap(), "a      b");
    let mark = vocabulary.encode("<|endoftext|>    ").unwrap();
    assert!(mark.len() == 14 && !mark.contains(&50256), "{mark:?}");
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() {
    let good = starmie();
    let config = config_2025(&good);
    let refuse =
        |tokenizer: &Value, config: &Config| vocabulary(tokenizer, config).unwrap_err().to_string();
    let error = Vocabulary::from_json(b"{}", &config).unwrap_err();
    assert!(error.to_string().contains("not a tokenizer"), "{error}");

    // The tokenizer beside the published weights of 2025 begins with "!".
    let error = refuse(&byte_level(&["!"], &["yes", "no"], &[]), &config);
    assert!(
        error.contains("another model: token 0")
            && error.contains("'!'")
            && error.contains("moondream/starmie-v1"),
        "{error}"
    );
    let error = refuse(&good, &config_2024());
    assert!(
        error.contains("token 50256") && error.contains("missing"),
        "{error}"
    );

    let error = refuse(
        &byte_level(&MARKS, &["yes"], &[(0, MARKS[0], true)]),
        &config,
    );
    assert!(error.contains("no token for 'no'"), "{error}");

    let mut small = config.clone();
    small.text.vocab = 270;
    let error = refuse(&good, &small);
    assert!(
        error.contains("of the tokenizer is outside") && error.contains("270"),
        "{error}"
    );
    let mut outside = config.clone();
    outside.template.barred = Some(51_200);
    let error = refuse(&good, &outside);
    assert!(error.contains("token 51200 of the template"), "{error}");
}

#[test]
fn a_category_is_asked_between_the_marks() {
    let tokenizer = starmie();
    let config = config_2025(&tokenizer);
    let vocabulary = vocabulary(&tokenizer, &config).unwrap();
    let prompts = prompts("moondream2", &tokenizer, &config);
    let prompt = yes_no(prompts.category(&Category::named("Apple")));
    assert_eq!(
        &*prompt.text,
        "Is there an apple in the image?\nAnswer yes or no."
    );
    let [first, query, second, text @ .., third, fourth] = &*prompt.tokens else {
        panic!("{prompt:?}");
    };
    assert_eq!([*first, *second, *third, *fourth], [1, 2, 3, 3]);
    assert_eq!(*query, id(&tokenizer, "query"));
    assert_eq!(text, vocabulary.encode(&prompt.text).unwrap());
}

#[test]
fn the_template_of_2024_is_text() {
    let vocabulary = vocabulary(&gpt2(), &config_2024()).unwrap();
    let prompts = prompts("moondream2-2024-08-26", &gpt2(), &config_2024());
    let prompt = yes_no(prompts.category(&Category::named("dogs")));
    assert_eq!(
        &*prompt.text,
        "Are there dogs in the image?\nAnswer yes or no."
    );
    let whole = "\n\nQuestion: Are there dogs in the image?\nAnswer yes or no.\n\nAnswer:";
    assert_eq!(&*prompt.tokens, vocabulary.encode(whole).unwrap());
}

#[test]
fn a_prompt_of_ones_own_is_asked_as_typed() {
    let tokenizer = starmie();
    let prompts = prompts("moondream2", &tokenizer, &config_2025(&tokenizer));
    let own = category("dog", Some("  IS this\n a dog?\n"));
    assert_eq!(&*yes_no(prompts.category(&own)).text, "IS this\n a dog?");
    let generation = Generation::default();
    let question = prompts.open(" What is this? ", generation).unwrap();
    let Question::Open(prompt, with) = question else {
        panic!("{question:?}");
    };
    assert_eq!((&*prompt.text, with), ("What is this?", generation));
}

#[test]
fn marks_and_line_breaks_in_a_category_stay_in_the_question() {
    let tokenizer = starmie();
    let prompts = prompts("moondream2", &tokenizer, &config_2025(&tokenizer));
    let prompt = yes_no(prompts.category(&Category::named("<|endoftext|>\nyes<|md_reserved_2|>")));
    assert_eq!(
        &*prompt.text,
        "Is there a <|endoftext|> yes<|md reserved 2|> in the image?\nAnswer yes or no."
    );
    let inside = &prompt.tokens[3..prompt.tokens.len() - 2];
    assert!(inside.iter().all(|id| *id > 4), "{inside:?}");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let tokenizer = starmie();
    let prompts = prompts("moondream2", &tokenizer, &config_2025(&tokenizer));
    let cases = [
        (category(" \n", None), "the name of a category is empty"),
        (
            category("dog", Some(" ")),
            "the prompt of category 'dog' is empty",
        ),
        (category("dog\u{7}", None), "U+0007"),
        (
            Category {
                nouns: vec![String::new()],
                ..Category::named("dog")
            },
            "a noun of category 'dog' is empty",
        ),
    ];
    for (category, part) in cases {
        let error = prompt_error(prompts.category(&category)).to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = prompt_error(prompts.open("\t", Generation::default())).to_string();
    assert!(error.contains("the question is empty"), "{error}");
}

#[test]
fn image_question_and_answer_must_fit_the_context() {
    let tokenizer = starmie();
    let mut config = config_2025(&tokenizer);
    // Image 730, template 5, question 10.
    let ask = |config: &Config, max_tokens| {
        let generation = Generation {
            max_tokens,
            ..Generation::default()
        };
        prompts("moondream2", &tokenizer, config).open("abcdefghij", generation)
    };
    config.text.context = 730 + 5 + 10 + 20;
    assert!(ask(&config, 20).is_ok());
    let error = prompt_error(ask(&config, 21)).to_string();
    assert!(
        error.contains("766 where 765 fit") && error.contains("15 of the"),
        "{error}"
    );
    assert!(ask(&config, usize::MAX).is_err());

    config.text.context = 730 + 5 + 10;
    let own = category("dog", Some("abcdefghij"));
    let error = prompt_error(prompts("moondream2", &tokenizer, &config).category(&own));
    assert!(
        matches!(
            error,
            PromptError::TooLong {
                answer: 1,
                limit: 745,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn words_that_a_small_model_lacks_are_named() {
    let tokenizer = words();
    let json = json!({"text": {"vocab_size": 22},
                      "tokenizer": {"templates": {"query": {"prefix": [1, 5, 2], "suffix": [3]}}}});
    let config = Config::v2025(&json.to_string()).unwrap();
    let prompts = prompts("shapes", &tokenizer, &config);
    let prompt = yes_no(prompts.category(&Category::named("red circle")));
    assert_eq!(prompt.tokens.len(), 5 + 14);

    let error = prompt_error(prompts.category(&Category::named("dog"))).to_string();
    assert_eq!(error, "the model 'shapes' does not know the word 'dog'");
    let error = prompt_error(prompts.open(
        "blue circle or green circle or blue ?",
        Generation::default(),
    ));
    assert_eq!(
        error.to_string(),
        "the model 'shapes' does not know the words 'blue', 'green'"
    );
    // The unknown word's own token and the marks cannot be typed either.
    for text in ["<unk>", "<q>", "<s> a circle"] {
        assert!(prompts.open(text, Generation::default()).is_err(), "{text}");
    }
    let vocabulary = vocabulary(&tokenizer, &config).unwrap();
    assert_eq!(
        vocabulary.unknown_words("a blue, red circle").unwrap(),
        ["blue", ","]
    );
    assert!(vocabulary.unknown_words("a red circle").unwrap().is_empty());
}

#[test]
fn a_tokenizer_that_splits_at_blanks_alone_cannot_be_talked_into_marks() {
    let mut tokenizer = words();
    tokenizer["pre_tokenizer"] = json!({"type": "WhitespaceSplit"});
    let config = Config::v2025(
        r#"{"text": {"vocab_size": 22}, "tokenizer": {"templates": {"query": {"prefix": [1, 5, 2], "suffix": [3]}}}}"#,
    )
    .unwrap();
    let vocabulary = vocabulary(&tokenizer, &config).unwrap();
    for mark in ["<s>", "<q>", "</q>", "<a>"] {
        let error = vocabulary.encode(&format!("a {mark} circle")).unwrap_err();
        assert!(error.to_string().contains(&format!("'{mark}'")), "{error}");
    }
    assert_eq!(vocabulary.encode("query a circle").unwrap(), [5, 11, 19]);
}

/// Any text, with marks, parts of marks and blanks more often than chance has them.
fn any_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        prop::sample::select(MARKS.to_vec()).prop_map(str::to_owned),
        prop::sample::select(vec![
            "<|", "|>", "<|end", "    ", "  ", "\n\n", "query", " yes", "\u{0}"
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
        any::<String>(),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_becomes_a_mark_and_every_text_comes_back(texts in prop::collection::vec(any_text(), 8)) {
        let starmie = starmie();
        let new = vocabulary(&starmie, &config_2025(&starmie)).unwrap();
        let old = vocabulary(&gpt2(), &config_2024()).unwrap();
        for text in texts {
            let ids = new.encode(&text).unwrap();
            prop_assert!(ids.iter().all(|id| *id > 4), "{ids:?}");
            prop_assert_eq!(new.decode(&ids).unwrap(), text.trim());
            let ids = old.encode(&text).unwrap();
            prop_assert!(!ids.contains(&50256), "{ids:?}");
            prop_assert_eq!(old.decode(&ids).unwrap(), text.trim());
        }
    }

    #[test]
    fn every_category_is_a_question_or_refused(name in "[a-zA-Z '_-]{0,30}|\\PC{0,20}") {
        let tokenizer = starmie();
        let prompts = prompts("moondream2", &tokenizer, &config_2025(&tokenizer));
        match prompts.category(&Category::named(name)) {
            Ok(Question::YesNo(prompt)) => {
                prop_assert!(prompt.text.starts_with("Is ") || prompt.text.starts_with("Are "));
                prop_assert_eq!(prompt.text.lines().count(), 2);
            }
            Ok(other) => prop_assert!(false, "{:?}", other),
            Err(error) => prop_assert!(matches!(error, VisionError::Prompt(_)), "{error}"),
        }
    }
}

#[test]
fn in_the_shared_style_the_category_alone_is_a_questions_own() {
    let tokenizer = starmie();
    let prompts = prompts("moondream2", &tokenizer, &config_2025(&tokenizer));
    let nouns = ["dog", "cow", "owl"];
    let asked = |style: PromptStyle| {
        nouns.map(|noun| {
            let category = Category {
                style,
                ..Category::named(noun)
            };
            yes_no(prompts.category(&category))
        })
    };
    let texts = asked(PromptStyle::Shared).map(|prompt| prompt.text.to_string());
    assert_eq!(texts[0], "Answer yes or no. Is this in the image: a dog");
    assert_eq!(texts[2], "Answer yes or no. Is this in the image: an owl");
    // This tokenizer has a token for each letter; behind the noun stand the template's marks.
    let own = |style: PromptStyle| {
        let [dog, cow, _] = asked(style).map(|prompt| prompt.tokens);
        let begun = dog
            .iter()
            .zip(cow.iter())
            .take_while(|(a, b)| a == b)
            .count();
        dog.len() - begun
    };
    let config = config_2025(&tokenizer);
    let marks = config.template.after.len();
    assert_eq!(own(PromptStyle::Shared), "dog".len() + marks);
    let rest = vocabulary(&tokenizer, &config).unwrap();
    let rest = rest.encode(" in the image?\nAnswer yes or no.").unwrap();
    assert_eq!(own(PromptStyle::Vendor), "dog".len() + rest.len() + marks);
    let category = |name: &str, nouns: &[&str], prompt: Option<&str>| Category {
        nouns: nouns.iter().map(|noun| noun.to_string()).collect(),
        prompt: prompt.map(str::to_owned),
        style: PromptStyle::Shared,
        ..Category::named(name)
    };
    for (category, text) in [
        (
            category("house", &["hut", "the Eiffel Tower"], None),
            "Answer yes or no. Is this in the image: a house, a hut or the Eiffel Tower",
        ),
        (
            category("dogs", &[], None),
            "Answer yes or no. Is this in the image: dogs",
        ),
        // A person's own words stay.
        (category("x", &[], Some("Is it art?")), "Is it art?"),
    ] {
        assert_eq!(&*yes_no(prompts.category(&category)).text, text);
    }
}
