//! What picsift itself makes: names of files in an output, and the folder of the work on it.
//!
//! A journal or manifest may have been written by somebody else. What it names is moved, replaced and removed, so a name of another
//! form is refused; and a folder of work with links in it, or of another user, is not worked in.

use std::path::Path;

use crate::error::AppError;

/// Whether a path in an output is of the form that the writer gives: folders `column=value`, then `part-....parquet`.
pub fn is_part(path: &str) -> bool {
    let mut folders: Vec<&str> = path.split('/').collect();
    let name = folders.pop().unwrap_or_default();
    let middle = name
        .strip_prefix("part-")
        .and_then(|rest| rest.strip_suffix(".parquet"));
    let is_file = middle.is_some_and(|middle| {
        !middle.is_empty()
            && middle
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    is_file
        && folders
            .iter()
            .all(|folder| folder.contains('=') && !folder.contains(['\\', '\0']))
}

/// Whether this is the name of a shard's list of failures.
pub fn is_failures(name: &str) -> bool {
    let number = name
        .strip_suffix(".pq")
        .or_else(|| name.strip_suffix(".parquet"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Refuses a folder of work that may not be this program's.
///
/// # Errors
/// [`AppError::Usage`] when it is a link, has a link in it, or belongs to another user.
pub(super) fn check_work(work: &Path) -> Result<(), AppError> {
    let Ok(found) = work.symlink_metadata() else {
        return Ok(());
    };
    let refused = |what: String| {
        AppError::Usage(format!(
            "the folder of the work on this output, '{}', {what}; remove it yourself, or name another output",
            work.display()
        ))
    };
    if !found.is_dir() {
        return Err(refused("is no folder".to_string()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // What is new belongs to whoever runs this.
        let mine = tempfile::tempfile()
            .and_then(|file| file.metadata())
            .map_err(AppError::file("write in", std::env::temp_dir()))?;
        if found.uid() != mine.uid() {
            return Err(refused("belongs to another user".to_string()));
        }
    }
    // A former output that is being replaced stands there too, whose links are people's own.
    let entries = walkdir::WalkDir::new(work).into_iter();
    let entries = entries.filter_entry(|entry| entry.path() != work.join("old"));
    for entry in entries.flatten() {
        if entry.path_is_symlink() {
            let link = entry.path().strip_prefix(work).unwrap_or(entry.path());
            return Err(refused(format!("has a link in it, '{}'", link.display())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_form_are_taken() {
        for own in [
            "part-00000.parquet",
            "a=1/b=x%2Fy/part-00012-0a1b2c3d-2.parquet",
            "..=1/part-1.parquet",
        ] {
            assert!(is_part(own), "{own}");
        }
        for other in [
            "",
            "/part-1.parquet",
            "../part-1.parquet",
            "a=1/../part-1.parquet",
            "/abs/victim",
            "notes.txt",
            "part-.parquet",
            "part-../x.parquet",
            "a=..\\..\\x/part-1.parquet",
            "a=1//part-1.parquet",
        ] {
            assert!(!is_part(other), "{other}");
        }
        assert!(is_failures("000003.pq") && is_failures("000003.parquet"));
        assert!(!is_failures("../3.pq") && !is_failures(".pq"));
    }
}
