//! Names as people type them, and how they are asked for.

use super::*;

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for &(name, expected) in cases {
        let question = question(&tidy(name), &[]).unwrap();
        let asked = question
            .strip_suffix(" in the image?\nAnswer yes or no.")
            .unwrap();
        if asked != expected {
            wrong.push(format!("{name}: {asked}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_article_goes_by_sound() {
    check(&[
        ("dog", "Is there a dog"),
        ("apple", "Is there an apple"),
        ("hour", "Is there an hour"),
        ("heirloom", "Is there an heirloom"),
        ("horse", "Is there a horse"),
        ("unicorn", "Is there a unicorn"),
        ("uniform", "Is there a uniform"),
        ("unidentified object", "Is there an unidentified object"),
        ("umbrella", "Is there an umbrella"),
        ("utensil", "Is there a utensil"),
        ("urn", "Is there an urn"),
        ("European flag", "Is there a European flag"),
        ("one-way sign", "Is there a one-way sign"),
        ("onion", "Is there an onion"),
        ("école", "Is there an école"),
        ("UFO", "Is there a UFO"),
        ("MRI scan", "Is there an MRI scan"),
        ("X-ray", "Is there an X-ray"),
        ("T-shirt", "Is there a T-shirt"),
        ("NASA logo", "Is there a NASA logo"),
        ("LED lamp", "Is there an LED lamp"),
        ("8-bit game", "Is there an 8-bit game"),
        ("18-wheeler", "Is there an 18-wheeler"),
        ("3D model", "Is there a 3D model"),
        ("iPhone", "Is there an iPhone"),
        ("x", "Is there an x"),
    ]);
}

#[test]
fn plurals_and_masses_take_none() {
    check(&[
        ("dogs", "Are there dogs"),
        ("people", "Are there people"),
        ("red circles", "Are there red circles"),
        ("glasses", "Are there glasses"),
        ("geese", "Are there geese"),
        ("men", "Are there men"),
        ("TVs", "Are there TVs"),
        ("labradoodles", "Are there labradoodles"),
        ("headphones", "Are there headphones"),
        ("bus", "Is there a bus"),
        ("octopus", "Is there an octopus"),
        ("lens", "Is there a lens"),
        ("sheep", "Is there a sheep"),
        ("glass", "Is there a glass"),
        ("water", "Is there water"),
        ("fresh snow", "Is there fresh snow"),
        ("grass", "Is there grass"),
        ("text", "Is there text"),
        ("food", "Is there food"),
        ("water bottle", "Is there a water bottle"),
        ("glass of wine", "Is there a glass of wine"),
        ("bottles of water", "Are there bottles of water"),
        ("man with glasses", "Is there a man with glasses"),
        ("people on a bike", "Are there people on a bike"),
        ("cats and dogs", "Are there cats and dogs"),
    ]);
}

#[test]
fn a_determiner_is_kept() {
    check(&[
        ("a dog", "Is there a dog"),
        ("An Apple", "Is there an apple"),
        ("two dogs", "Are there two dogs"),
        ("3 red circles", "Are there 3 red circles"),
        ("1 dog", "Is there 1 dog"),
        ("one dog", "Is there one dog"),
        ("some water", "Is there some water"),
        ("some dogs", "Are there some dogs"),
        ("several sheep", "Are there several sheep"),
        ("at least two dogs", "Are there at least two dogs"),
        ("at least one person", "Is there at least one person"),
        ("someone smiling", "Is there someone smiling"),
        ("a pair of scissors", "Is there a pair of scissors"),
        ("the Eiffel Tower", "Is the Eiffel Tower"),
        ("The White House", "Is the White House"),
        ("my dogs", "Are my dogs"),
        ("the two dogs", "Are the two dogs"),
        ("a", "Is there an a"),
        ("no smoking sign", "Is there a no smoking sign"),
        ("theatre", "Is there a theatre"),
    ]);
}

#[test]
fn capitals_of_a_label_go_and_those_of_a_name_stay() {
    check(&[
        ("Dog", "Is there a dog"),
        ("DOG", "Is there a dog"),
        ("TRAFFIC LIGHT", "Is there a traffic light"),
        ("MRI SCAN", "Is there an MRI scan"),
        ("SUV", "Is there an SUV"),
        ("TV", "Is there a TV"),
        ("DNA", "Is there a DNA"),
        ("Polar bear", "Is there a polar bear"),
        ("Polar Bear", "Is there a polar bear"),
        ("polar_bear", "Is there a polar bear"),
        ("Red Circles", "Are there red circles"),
        ("People", "Are there people"),
        ("Van", "Is there a van"),
        ("Tiger", "Is there a tiger"),
        ("Turkey", "Is there a turkey"),
        ("Firefighter", "Is there a firefighter"),
        ("Smartphone", "Is there a smartphone"),
        ("Zebra", "Is there a zebra"),
        ("German shepherd", "Is there a German shepherd"),
        ("German Shepherd", "Is there a German shepherd"),
        ("French Fries", "Are there French fries"),
        ("Siberian Husky", "Is there a Siberian Husky"),
        ("Boston Terrier", "Is there a Boston Terrier"),
        ("Ferris Wheel", "Is there a Ferris Wheel"),
        ("Paris", "Is Paris"),
        ("London", "Is London"),
        ("Berlin", "Is Berlin"),
        ("New York", "Is New York"),
        ("Ghost Town", "Is there a ghost town"),
        ("Pikachu", "Is Pikachu"),
        ("Santa Claus", "Is Santa Claus"),
        ("Mona Lisa", "Is Mona Lisa"),
        ("Eiffel Tower", "Is the Eiffel Tower"),
        ("Brooklyn Bridge", "Is the Brooklyn Bridge"),
        ("Statue of Liberty", "Is the Statue of Liberty"),
        ("Statue Of Liberty", "Is the Statue Of Liberty"),
        ("a Ferrari", "Is there a Ferrari"),
    ]);
}

#[test]
fn several_nouns_are_asked_for_together() {
    let nouns = |list: &[&str]| {
        list.iter()
            .map(|noun| (*noun).to_owned())
            .collect::<Vec<_>>()
    };
    let ask = |name, list: &[&str]| question(name, &nouns(list)).unwrap();
    assert_eq!(
        ask("building", &["palace", "castle", "tower", "Castle"]),
        "Is there a building, a palace, a castle or a tower in the image?\nAnswer yes or no."
    );
    assert_eq!(
        ask("people", &["animal"]),
        "Are there people or an animal in the image?\nAnswer yes or no."
    );
    // A name that is no noun says nothing to the model.
    assert_eq!(
        ask("outdoorsy", &["tree"]),
        "Is there a tree in the image?\nAnswer yes or no."
    );
}

#[test]
fn line_breaks_and_blanks_are_one_blank() {
    assert_eq!(tidy(" polar\n\t bear\u{2028}cub "), "polar bear cub");
    assert_eq!(tidy(" \n_ "), "");
}
