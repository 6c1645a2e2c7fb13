//! Thresholds into a categories file, whose comments, order and other settings stay.

use std::io::Write;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, value};

use crate::error::AppError;

/// A threshold and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The category.
    pub name: String,
    /// What stands behind `is_` in its column, where that is not what `label` makes of the name.
    pub column: Option<String>,
    /// The threshold.
    pub threshold: f32,
}

/// The text of a categories file, `former` with these thresholds.
///
/// # Errors
/// In words, when `former` is no TOML or has something else where a category's table belongs.
pub fn with_thresholds(former: &str, chosen: &[Chosen]) -> Result<String, String> {
    let mut document: DocumentMut = former.parse().map_err(|error| format!("{error}"))?;
    for one in chosen {
        let entry = document
            .entry(&one.name)
            .or_insert_with(|| Item::Table(Table::new()));
        let Some(table) = entry.as_table_like_mut() else {
            return Err(format!("'{}' is not a table", one.name));
        };
        // The shortest text that is read as the same number; as a double it would have digits that nobody chose.
        let number: f64 = one
            .threshold
            .to_string()
            .parse()
            .unwrap_or(one.threshold.into());
        let comment = table
            .get("threshold")
            .and_then(Item::as_value)
            .and_then(|former| former.decor().suffix().cloned());
        let mut number = value(number);
        if let (Some(number), Some(comment)) = (number.as_value_mut(), comment) {
            number.decor_mut().set_suffix(comment);
        }
        table.insert("threshold", number);
        if let Some(column) = &one.column
            && !table.contains_key("column")
        {
            table.insert("column", value(column));
        }
    }
    Ok(document.to_string())
}

/// Writes them to the file at `path`, made if it is not there; it is replaced as a whole.
///
/// # Errors
/// [`AppError::Usage`] when it is no categories file, [`AppError::File`] when it cannot be read or written.
pub fn write(path: &Path, chosen: &[Chosen]) -> Result<(), AppError> {
    let former = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(AppError::file("read", path))?,
    };
    let text = with_thresholds(&former, chosen).map_err(|reason| {
        AppError::Usage(format!(
            "the categories file {} is wrong: {reason}",
            path.display()
        ))
    })?;
    // Beside what a link leads to, so that the link stays one.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file =
        tempfile::NamedTempFile::new_in(folder).map_err(AppError::file("write", path))?;
    file.write_all(text.as_bytes())
        .map_err(AppError::file("write", path))?;
    match std::fs::metadata(&target) {
        Ok(former) => std::fs::set_permissions(file.path(), former.permissions())
            .map_err(AppError::file("write", path))?,
        Err(_) => crate::disk::open_to_others(file.path())?,
    }
    file.persist(&target)
        .map_err(|error| AppError::file("write", path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, threshold: f32) -> Chosen {
        Chosen {
            name: name.to_string(),
            column: None,
            threshold,
        }
    }

    #[test]
    fn what_people_wrote_stays() {
        let former = "# ours\n[dog]\nprompt = \"Is it a dog?\" # asked so\nthreshold = 0.5 # a guess\n\n[cat]\n";
        let text =
            with_thresholds(former, &[chosen("dog", 0.37), chosen("polar bear", 0.1)]).unwrap();
        assert_eq!(
            text,
            "# ours\n[dog]\nprompt = \"Is it a dog?\" # asked so\nthreshold = 0.37 # a guess\n\n[cat]\n\n[\"polar bear\"]\nthreshold = 0.1\n"
        );
    }

    #[test]
    fn a_new_file_is_one_that_label_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("categories.toml");
        write(&path, &[chosen("fish", 0.25)]).unwrap();
        let read = picsift_vision::categories::categories(&[], Some(&path)).unwrap();
        assert_eq!(read[0].spec.threshold, Some(0.25));
        let error = with_thresholds("dog = 1", &[chosen("dog", 0.5)]).unwrap_err();
        assert_eq!(error, "'dog' is not a table");
    }
}
