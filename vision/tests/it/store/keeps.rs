//! What is put is found: by other questions' company, after a restart, by other handles.

use picsift_vision::store::{Asked, KnownReference, LEAST_BYTES, Store};
use picsift_vision::{Answer, Generation, ModelInfo, Prompt, Question, Temperature};

use super::{PIXELS, ROOMY, Said, asked, content, info, open, options, reference, truth, truths};

#[test]
fn answers_outlive_the_process_without_a_flush() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    for image in 0..3000 {
        store.put(
            &content(image),
            &asked(0..8),
            truths(image, 0..8),
            Some(image),
        );
    }
    drop(store);
    let store = open(home.path());
    let contents: Vec<_> = (0..3000).map(content).collect();
    let found = store.lookup_many(&contents, &asked(0..8));
    for (image, found) in (0..).zip(found) {
        assert_eq!(found.answers, truths(image, 0..8));
        assert_eq!(found.similarity, Some(image));
        assert_eq!(store.lookup(&content(image), &asked(0..8)), found);
    }
    let stranger = store.lookup(&content(3000), &asked(0..8));
    assert_eq!(stranger.answers, vec![None; 8]);
}

#[test]
fn only_a_new_question_has_to_be_asked() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store.put(&content(1), &asked(0..10), truths(1, 0..10), None);
    store.flush();

    // Another order, one question twice, one new.
    let mixed = [9, 3, 20, 3, 6];
    let mut expected = truths(1, mixed);
    expected[2] = None;
    let found = store.lookup(&content(1), &asked(mixed));
    assert_eq!(found.answers, expected);
    assert!(!found.is_complete());

    let mut new = vec![None; 5];
    new[2] = Some(truth(1, 20));
    store.put(&content(1), &asked(mixed), new, Some(4));
    store.flush();
    let found = store.lookup(&content(1), &asked(mixed));
    assert_eq!(found.answers, truths(1, mixed));
    assert_eq!(found.similarity, Some(4));
    assert!(found.is_complete());
    // The first ten are still there.
    assert!(store.lookup(&content(1), &asked(0..10)).is_complete());
}

#[test]
fn another_model_knows_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store.put(&content(1), &asked([1]), truths(1, [1]), None);
    store.flush();
    let other = ModelInfo {
        revision: "2".to_owned(),
        ..info()
    };
    let other = Asked::new(&other, PIXELS, &[Question::Classes([1].into())]);
    assert_eq!(store.lookup(&content(1), &other).answers, [None]);
}

#[test]
fn other_pixels_of_an_image_know_nothing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store.put(&content(1), &asked([1]), truths(1, [1]), Some(5));
    store.flush();
    let other = Asked::new(&info(), PIXELS + 1, &[Question::Classes([1].into())]);
    assert_eq!(store.lookup(&content(1), &other).answers, [None]);
}

#[test]
fn drawn_words_are_asked_every_time() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let question = |temperature: f32| {
        let prompt = Prompt {
            text: "What is it?".into(),
            tokens: [1, 2].into(),
        };
        let generation = Generation {
            max_tokens: 9,
            temperature: Temperature::try_from(temperature).unwrap(),
        };
        Question::Open(prompt, generation)
    };
    let asked = Asked::new(&info(), PIXELS, &[question(0.5), question(0.0)]);
    let words = |text: &str| Some(Answer::Text(text.to_owned()));
    store.put(
        &content(1),
        &asked,
        vec![words("drawn"), words("likely")],
        None,
    );
    store.flush();
    let found = store.lookup(&content(1), &asked);
    assert_eq!(found.answers, [None, words("likely")]);
}

#[test]
fn a_reference_is_what_it_last_was() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let (address, known) = reference(2);
    assert_eq!(store.reference(&address), None);
    store.put_reference(&address, known.clone());
    store.flush();
    assert_eq!(store.reference(&address), Some(known.clone()));
    let changed = KnownReference {
        version: "etag new".to_owned(),
        similarity: None,
        ..known
    };
    store.put_reference(&address, changed.clone());
    store.flush();
    assert_eq!(store.reference(&address), Some(changed));
    assert_eq!(store.reference("https://example.org/other.jpg"), None);
}

#[test]
fn it_says_what_it_has_and_forgets_it() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    let other = ModelInfo {
        name: "other".to_owned(),
        ..info()
    };
    let other = Asked::new(&other, PIXELS, &[Question::Classes([1].into())]);
    for image in 0..10 {
        store.put(&content(image), &asked(0..3), truths(image, 0..3), None);
        store.put(&content(image), &other, truths(image, 0..1), None);
        let (address, known) = reference(image);
        store.put_reference(&address, known);
    }
    let found = store.info().unwrap();
    assert_eq!(
        (found.images, found.answers, found.references),
        (10, 40, 10)
    );
    assert_eq!(found.max_bytes, ROOMY);
    assert!(found.bytes > 0);
    let models: Vec<_> = found
        .models
        .iter()
        .map(|model| (model.model.as_str(), model.questions, model.answers))
        .collect();
    assert_eq!(models, [("other", 1, 10), ("test", 3, 30)]);
    let verified = store.verify().unwrap();
    assert!(verified.is_whole());
    assert_eq!((verified.rows, verified.files), (30, 1));

    store.put(&content(77), &asked([1]), truths(77, [1]), None);
    store.clear().unwrap();
    store.flush();
    let found = store.info().unwrap();
    assert_eq!((found.images, found.answers, found.references), (0, 0, 0));
    assert_eq!(store.lookup(&content(1), &asked([1])).answers, [None]);
}

#[test]
fn handles_share_a_folder_and_survive_its_clearing() {
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (open(home.path()), open(home.path()));
    one.put(&content(1), &asked([1]), truths(1, [1]), None);
    one.flush();
    assert!(two.lookup(&content(1), &asked([1])).is_complete());
    two.clear().unwrap();
    // The first one still has the removed file open; it must write where others look.
    one.put(&content(2), &asked([1]), truths(2, [1]), None);
    one.flush();
    assert!(two.lookup(&content(2), &asked([1])).is_complete());
    assert!(!two.lookup(&content(1), &asked([1])).is_complete());
}

#[test]
fn many_threads_look_up_and_put_at_once() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let store = store.clone();
            scope.spawn(move || {
                for image in thread * 100..(thread + 1) * 100 {
                    store.put(&content(image), &asked(0..3), truths(image, 0..3), None);
                    let found = store.lookup(&content(image / 2), &asked(0..3));
                    for (class, answer) in (0..).zip(found.answers) {
                        assert!(answer.is_none_or(|answer| answer == truth(image / 2, class)));
                    }
                }
            });
        }
    });
    store.flush();
    for image in 0..1600 {
        assert!(store.lookup(&content(image), &asked(0..3)).is_complete());
    }
}

#[test]
fn a_store_that_cannot_be_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let said = Said::default();
    let error = Store::open(options(home.path(), LEAST_BYTES - 1, &said)).unwrap_err();
    assert!(error.to_string().contains("too small"), "{error}");
    let file = home.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = Store::open(options(&file, ROOMY, &said)).unwrap_err();
    assert!(error.to_string().contains("cannot make"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_folder_that_cannot_be_written_is_looked_up_only() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    store.put(&content(1), &asked([1]), truths(1, [1]), None);
    drop(store);
    // No lock can be taken, whoever runs the test.
    std::fs::remove_file(home.path().join("lock")).unwrap();
    std::fs::create_dir(home.path().join("lock")).unwrap();
    let said = Said::default();
    let store = Store::open(options(home.path(), ROOMY, &said)).unwrap();
    assert!(!store.is_keeping());
    store.put(&content(2), &asked([1]), truths(2, [1]), None);
    store.flush();
    assert!(store.lookup(&content(1), &asked([1])).is_complete());
    assert!(!store.lookup(&content(2), &asked([1])).is_complete());
    let said = said.all();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("not kept any more") && said[0].contains("cannot be written"));
}
