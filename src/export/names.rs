//! Names of files and folders that are safe wherever a data set is unpacked.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Most characters that are taken over from a name.
const MOST: usize = 80;

/// `text` with nothing but letters, digits, `.`, `_` and `-` of ASCII, not hidden and not too long; never empty.
pub fn safe(text: &str) -> String {
    let plain = |c: char| match c {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => c,
        _ => '_',
    };
    let name: String = text.chars().map(plain).take(MOST).collect();
    // Windows drops dots at the end, and a dot in front hides.
    let name = name.trim_matches('.');
    match name.is_empty() {
        true => "_".to_string(),
        false => name.to_string(),
    }
}

/// A folder for each class: [`safe`], and different for all, also where capitals do not count.
pub fn folders(classes: &[String]) -> Vec<String> {
    let mut used = HashSet::new();
    classes
        .iter()
        .map(|class| {
            let name = safe(class);
            let mut free = name.clone();
            let mut number = 2;
            while !used.insert(free.to_lowercase()) {
                free = format!("{name}_{number}");
                number += 1;
            }
            free
        })
        .collect()
}

/// What stands before the last dot of the last part of a reference, safe.
pub fn stem(reference: &str) -> String {
    let end = reference.split(['?', '#']).next().unwrap_or(reference);
    let end = end.rsplit(['/', '\\']).next().unwrap_or(end);
    safe(end.rsplit_once('.').map_or(end, |(stem, _)| stem))
}

/// A row's columns without names that `imagefolder` takes for the places of pictures: those that end in `file_name` or `file_names`
/// end in `filename` or `filenames` instead.
pub fn without_file_names(columns: Map<String, Value>) -> Map<String, Value> {
    let mut named = Map::new();
    let mut moved = Vec::new();
    for (name, value) in columns {
        let plural = name.strip_suffix('s').unwrap_or(&name);
        match plural.strip_suffix("file_name") {
            None => drop(named.insert(name, value)),
            Some(begin) => {
                let free = format!("{begin}filename{}", &name[plural.len()..]);
                moved.push((free, value));
            }
        }
    }
    for (mut name, value) in moved {
        while named.contains_key(&name) {
            name.push('_');
        }
        named.insert(name, value);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_elsewhere() {
        assert_eq!(safe("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(safe(".."), "_");
        assert_eq!(safe("a\0b c/d"), "a_b_c_d");
        assert_eq!(safe(&"x".repeat(500)).len(), MOST);
        assert_eq!(stem("s3://b/photos/dog_8.tar.jpg?sig=secret"), "dog_8.tar");
        assert_eq!(stem("C:\\photos\\dog.jpg"), "dog");
    }

    #[test]
    fn classes_have_folders_of_their_own() {
        let classes = ["polar bear", "polar/bear", "Polar_Bear", ""].map(str::to_string);
        assert_eq!(
            folders(&classes),
            ["polar_bear", "polar_bear_2", "Polar_Bear_3", "_"]
        );
    }

    #[test]
    fn a_column_is_not_taken_for_the_place_of_a_picture() {
        let columns = ["file_name", "filename", "thumb_file_names", "file"];
        let columns = columns.map(|name| (name.to_string(), Value::from(name)));
        let found = without_file_names(columns.into_iter().collect());
        let names: Vec<_> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["filename", "file", "filename_", "thumb_filenames"]);
        assert_eq!(found["filename_"], "file_name");
    }
}
