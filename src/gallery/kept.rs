//! The corrections that a gallery keeps in its folder: of each image and category the last word, in JSON lines.
//!
//! What people said outlives the gallery it was said in: a new one in the same place takes the file over.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::AppError;
use crate::output::place;

/// The file's name.
pub const CORRECTIONS: &str = "corrections.jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// What the table calls the image.
    pub key: String,
    /// Its row in the gallery; `None` where the gallery does not show it.
    pub row: Option<u64>,
    /// The category.
    pub category: String,
    /// What the table said.
    pub was: Option<bool>,
    /// What is true; `None` takes back what was said before, and never stands in the file.
    pub is: Option<bool>,
    /// Who said so.
    pub who: String,
    /// When, as RFC 3339 has it.
    pub when: String,
}

/// Reads the file in `folder`; nothing where there is none.
///
/// # Errors
/// [`AppError::File`], and [`AppError::Usage`] for a line that is no correction.
pub fn read(folder: &Path) -> Result<Vec<Correction>, AppError> {
    let path = folder.join(CORRECTIONS);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(AppError::file("read", &path))?,
    };
    let lines = text.lines().enumerate();
    let lines = lines.map(|(number, line)| {
        let wrong = |reason: &str| {
            AppError::Usage(format!(
                "line {} of {} is no correction: {reason}; correct it, or move the file away",
                number + 1,
                path.display()
            ))
        };
        match serde_json::from_str(line) {
            Ok(Correction { is: None, .. }) => Err(wrong("it has no 'is'")),
            Ok(one) => Ok(one),
            Err(error) => Err(wrong(&error.to_string())),
        }
    });
    lines.collect()
}

/// Writes the file in `folder`, replaced as a whole.
///
/// # Errors
/// [`AppError::File`].
pub fn write(folder: &Path, all: &[Correction]) -> Result<(), AppError> {
    let mut text = String::new();
    for one in all {
        text += &serde_json::to_string(one).map_err(AppError::json)?;
        text.push('\n');
    }
    place::replace(&folder.join(CORRECTIONS), text.as_bytes())
}

/// Adds to those in `folder`.
///
/// # Errors
/// As [`read`] and [`write()`].
pub fn add(folder: &Path, new: Vec<Correction>) -> Result<(), AppError> {
    let mut all = read(folder)?;
    all.extend(new);
    write(folder, &last(all))
}

/// Of each image and category the last, without those that were taken back.
fn last(all: Vec<Correction>) -> Vec<Correction> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = all
        .into_iter()
        .rev()
        .filter(|one| seen.insert((one.key.clone(), one.category.clone())))
        .filter(|one| one.is.is_some())
        .collect();
    kept.reverse();
    kept
}

/// Takes the corrections in the folder `former` over into `folder`, where images have these rows.
///
/// # Errors
/// As [`read`] and [`write()`].
pub fn take_over(
    former: &Path,
    folder: &Path,
    rows: &HashMap<String, usize>,
) -> Result<usize, AppError> {
    let mut all = read(former)?;
    for one in &mut all {
        one.row = rows.get(&one.key).map(|row| *row as u64);
    }
    if !all.is_empty() {
        write(folder, &all)?;
    }
    Ok(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, category: &str, is: Option<bool>) -> Correction {
        Correction {
            key: key.to_string(),
            row: Some(7),
            category: category.to_string(),
            was: None,
            is,
            who: "ada".to_string(),
            when: "2026-01-01T00:00:00Z".to_string(),
        }
    }

    #[test]
    fn the_last_word_is_kept_and_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let add = |new: &[Correction]| add(folder.path(), new.to_vec()).unwrap();
        add(&[
            line("a", "dog", Some(true)),
            line("b", "dog", Some(true)),
            line("a", "cat", Some(true)),
        ]);
        add(&[line("a", "dog", Some(false)), line("b", "dog", None)]);
        let expected = [line("a", "cat", Some(true)), line("a", "dog", Some(false))];
        assert_eq!(read(folder.path()).unwrap(), expected);
    }

    #[test]
    fn a_line_that_says_nothing_is_no_correction() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "{}",
            "[",
            r#"{"key":"a","category":"b","who":"c","when":"d"}"#,
        ] {
            std::fs::write(folder.path().join(CORRECTIONS), format!("{text}\n")).unwrap();
            let error = read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("line 1 of"), "{error}");
        }
    }

    #[test]
    fn a_new_gallery_takes_them_over() {
        let (former, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let none = HashMap::new();
        assert_eq!(take_over(former.path(), new.path(), &none).unwrap(), 0);
        assert!(!new.path().join(CORRECTIONS).exists());
        let all = [line("a", "dog", Some(true)), line("b", "dog", Some(true))];
        write(former.path(), &all).unwrap();
        let rows = HashMap::from([("b".to_string(), 2)]);
        assert_eq!(take_over(former.path(), new.path(), &rows).unwrap(), 2);
        let rows: Vec<_> = read(new.path()).unwrap().iter().map(|c| c.row).collect();
        assert_eq!(rows, [None, Some(2)]);
    }
}
