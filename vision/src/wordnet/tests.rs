//! What a person who names categories can expect of the lexicon.

use super::*;

fn lexicon() -> &'static Lexicon {
    Lexicon::embedded().unwrap()
}

fn class_names() -> Vec<String> {
    let list = include_str!("../../data/efficientnet-lite0/classes.csv");
    let name = |line: &str| {
        line.splitn(3, ',')
            .nth(2)
            .unwrap()
            .trim_matches('"')
            .to_owned()
    };
    list.lines().skip(1).map(name).collect()
}

fn classes(noun: &str) -> Vec<String> {
    let names = class_names();
    let classes = lexicon()
        .classes_of(noun)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(classes.is_sorted_by(|a, b| a < b), "{noun}: {classes:?}");
    classes
        .iter()
        .map(|&class| names[usize::from(class)].clone())
        .collect()
}

fn near(noun: &str) -> Vec<String> {
    lexicon().classes_of(noun).unwrap_err().near().to_vec()
}

#[test]
fn a_noun_covers_the_classes_below_it() {
    for (noun, count) in [
        ("animal", 398),
        ("mammal", 218),
        ("bird", 59),
        ("fish", 16),
        ("dog", 118),
        ("building", 14),
    ] {
        assert_eq!(classes(noun).len(), count, "{noun}");
    }
    assert_eq!(
        classes("bear"),
        [
            "brown bear",
            "American black bear",
            "polar bear",
            "sloth bear"
        ]
    );
    assert_eq!(classes("hammer"), ["hammer"]);
}

#[test]
fn a_noun_that_tells_nothing_apart_is_refused() {
    let person = lexicon().classes_of("persons").unwrap_err();
    assert!(
        person
            .to_string()
            .contains("only 3 of the thousands of kinds"),
        "{person}"
    );
    assert!(person.near().contains(&"ballplayer".to_owned()), "{person}");
    let plant = lexicon().classes_of("plant").unwrap_err();
    assert!(
        plant.to_string().contains("too few"),
        "not just the sawmill: {plant}"
    );
    let object = lexicon().classes_of("object").unwrap_err();
    assert!(object.to_string().contains("every image"), "{object}");
    // Wide or thin, but enough to go by.
    for noun in ["artifact", "animal", "flower", "food", "player"] {
        assert!(lexicon().classes_of(noun).is_ok(), "{noun}");
    }
}

#[test]
fn a_thing_of_coco_is_known_by_itself_and_its_kinds_are_not() {
    let coco = Lexicon::of(ClassList::Coco).unwrap();
    let list = include_str!("../../data/coco-ssd/classes.csv");
    for (index, line) in (0_u16..).zip(list.lines().skip(1)) {
        for name in line.rsplit(',').next().unwrap().split('|') {
            let found = coco.classes_of(name).unwrap();
            assert!(found.contains(&index), "{name}: {found:?}");
        }
    }
    // However many kinds of people there are, the class is all of them.
    assert_eq!(coco.classes_of("persons").unwrap(), [0]);
    assert_eq!(coco.classes_of("individual").unwrap(), [0]);
    assert_eq!(coco.classes_of("animals").unwrap().len(), 10);
    for kind in ["woman", "athlete", "owl", "poodle"] {
        let error = coco.classes_of(kind).unwrap_err().to_string();
        assert!(error.contains("no class that is a kind of"), "{error}");
    }
    let error = coco.classes_of("object").unwrap_err().to_string();
    assert!(error.contains("every image"), "{error}");
}

#[test]
fn several_lists_take_a_noun_in_one_form_and_give_one_reason() {
    let lexicons = [ClassList::ImageNet, ClassList::Coco].map(|list| Lexicon::of(list).unwrap());
    let found = |noun: &str| classes_in(&lexicons, noun);
    let counts = |noun: &str| {
        found(noun)
            .unwrap()
            .iter()
            .map(Vec::len)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts("animal"), [398, 10]);
    assert_eq!(counts("person"), [0, 1]);
    assert_eq!(counts("castle"), [1, 0]);
    // Spectacles in one list are no glasses to drink from in the other.
    assert_eq!(counts("glasses"), [1, 0]);
    // What a noun is says more than other kinds of the same: no ballplayer for a woman.
    for kind in ["woman", "man", "baby", "bride", "police officer"] {
        assert_eq!(found(kind).unwrap_err().near(), ["person"], "{kind}");
    }
    // What no picture shows as a thing is near to nothing, and so is a thing that shares only what says nothing with others.
    for noun in [
        "happiness",
        "danger",
        "quality",
        "beauty",
        "music",
        "sea",
        "road",
        "window",
        "document",
    ] {
        assert_eq!(found(noun).unwrap_err().near(), [""; 0], "{noun}");
    }
    let error = found("moose").unwrap_err();
    assert!(
        !error.near().is_empty() && error.near().len() <= 5,
        "{error}"
    );
    let error = found("tree").unwrap_err();
    for near in error.near() {
        assert!(found(near).is_ok(), "{near}");
    }
    assert!(
        found("object")
            .unwrap_err()
            .to_string()
            .contains("every image")
    );
    assert!(
        found("xyzzy")
            .unwrap_err()
            .to_string()
            .contains("not an English noun")
    );
}

#[test]
fn a_noun_may_be_written_as_people_write() {
    for (written, plain) in [
        ("dogs", "dog"),
        ("FISH", "fish"),
        ("Polar Bear", "polar bear"),
        ("polar_bears", "polar bear"),
        ("  polar   bear ", "polar bear"),
        ("a dog", "dog"),
        ("An ant", "ant"),
        ("the Castles", "castle"),
        ("ice-cream", "ice cream"),
        ("computer mice", "computer mouse"),
        ("t shirts", "t-shirt"),
        ("CRT monitors", "crt monitor"),
        (
            "Geoffroy\u{2019}s spider monkey",
            "Geoffroy's spider monkey",
        ),
    ] {
        assert_eq!(classes(written), classes(plain), "{written}");
    }
}

#[test]
fn only_usual_senses_count() {
    assert_eq!(classes("toy"), ["swing", "teddy bear"], "no toy dogs");
    assert_eq!(classes("plane"), ["airliner"], "no carpenter's plane");
    assert!(!classes("cat").contains(&"lion".to_owned()));
    assert!(!classes("dog").iter().any(|class| class == "hot dog"));
    assert!(!classes("ball").contains(&"bubble".to_owned()));
}

#[test]
fn senses_that_are_about_as_usual_all_count() {
    assert_eq!(classes("table"), ["desk", "dining table", "pool table"]);
    assert_eq!(classes("crane"), ["crane bird", "construction crane"]);
    assert!(classes("amphibian").contains(&"tree frog".to_owned()));
    assert!(classes("lamp").contains(&"table lamp".to_owned()));
}

#[test]
fn senses_that_share_classes_are_one_meaning() {
    let food = classes("food");
    assert!(
        food.contains(&"pizza".to_owned()) && food.contains(&"broccoli".to_owned()),
        "{food:?}"
    );
}

#[test]
fn a_class_answers_to_its_own_name() {
    for (index, name) in class_names().iter().enumerate() {
        let found = lexicon()
            .classes_of(name)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(
            found.contains(&u16::try_from(index).unwrap()),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn plurals_that_are_nouns_of_their_own_mean_themselves_as_categories() {
    assert_eq!(classes("glasses"), ["sunglasses"]);
    assert_ne!(classes("glass"), classes("glasses"));
    assert_eq!(
        classes("tigers"),
        ["tiger"],
        "the Tamil Tigers have no class"
    );
}

#[test]
fn an_unknown_noun_names_near_ones_that_work() {
    for noun in [
        "giraffe",
        "cow",
        "chicken",
        "windmill",
        "scissors",
        "tree",
        "blue car",
        "hamer",
        "measuring tape",
    ] {
        let error = lexicon().classes_of(noun).unwrap_err();
        assert!(
            !error.near().is_empty() && error.near().len() <= 5,
            "{error}"
        );
        for near in error.near() {
            assert!(lexicon().classes_of(near).is_ok(), "{noun}: {near}");
            assert!(error.to_string().contains(near.as_str()));
        }
    }
    assert_eq!(near("giraffe")[..2], ["ruminant", "even-toed ungulate"]);
    assert_eq!(near("blue car"), ["car"]);
    assert_eq!(near("hamer")[0], "hammer");
    assert_eq!(near("dgo")[0], "dog");
    assert_eq!(near("is there a dog in it"), [""; 0]);
    assert!(near("cow").contains(&"ox".to_owned()));
}

#[test]
fn the_error_is_one_sentence_that_says_what_is_wrong() {
    let message = |noun: &str| lexicon().classes_of(noun).unwrap_err().to_string();
    assert_eq!(
        message("Giraffes"),
        "the model has no class that is a kind of \"Giraffes\"; \
         near it, the model knows: ruminant, even-toed ungulate, cattle, sheep, antelope"
    );
    assert_eq!(
        message("xyzzy"),
        "\"xyzzy\" is not an English noun that WordNet lists"
    );
    assert_eq!(
        message(" "),
        "an empty text is no category: give a noun, such as dog"
    );
}

#[test]
fn the_singular_is_found() {
    for (word, singular) in [
        ("dog", "dog"),
        ("dogs", "dog"),
        ("Mice", "mouse"),
        ("children", "child"),
        ("geese", "goose"),
        ("teeth", "tooth"),
        ("oxen", "ox"),
        ("buses", "bus"),
        ("leaves", "leaf"),
        ("foxes", "fox"),
        ("waltzes", "waltz"),
        ("churches", "church"),
        ("brushes", "brush"),
        ("firemen", "fireman"),
        ("butterflies", "butterfly"),
        ("people", "people"),
        ("sheep", "sheep"),
        ("bus", "bus"),
        ("gas", "gas"),
        ("grass", "grass"),
        ("boss", "boss"),
        ("series", "series"),
        ("polar bears", "polar bear"),
        ("computer mice", "computer mouse"),
        ("fire-trucks", "fire truck"),
        ("T-Shirts", "t-shirt"),
        // Plurals that WordNet lists beside their singulars: the more usual of the two.
        ("men", "man"),
        ("cows", "cow"),
        ("glasses", "glass"),
        ("stairs", "stairs"),
        ("scissors", "scissors"),
        ("sunglasses", "sunglasses"),
    ] {
        assert_eq!(lexicon().lemma(word).as_deref(), Some(singular), "{word}");
    }
    for word in ["", "-", "xyzzy", "dogg", "quickly"] {
        assert_eq!(lexicon().lemma(word), None, "{word}");
    }
}
