//! From which tables this user has labelled which output on this machine.
//!
//! An output that says where its pictures lie may be a stranger's, so its word is not enough to read them. What the user named
//! on the command line is: it is kept here, outside of all outputs, in the user's own state folder. A record holds for one
//! place and the job that was published there; another table in that place has another job, and a copy elsewhere another place.

use std::io;
use std::path::{Path, PathBuf};

use datafusion::datasource::listing::ListingTableUrl;
use serde::{Deserialize, Serialize};

use super::store::OutputStore;
use crate::disk::{plain, replace, state_folder};
use crate::error::AppError;
use crate::tables;

/// Folder of the records in the user's state folder, a file for each output.
const FOLDER: &str = "outputs";

/// Records that are kept; of more, the oldest go.
const KEPT: usize = 1000;

/// Bytes of a record that are read: thousands of tables.
const MOST_BYTES: u64 = 1 << 20;

/// What is known of one output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The output's folder, or the file of a sample of it, without links; or its URL.
    output: String,
    /// Id of the job that was published in it.
    job: String,
    /// The tables that were labelled, as its manifest names them.
    tables: Vec<String>,
}

/// Remembers that the job `job` has labelled these tables into `output`, a folder or a file that carries the manifest. Where that cannot be written, the output is as good;
/// later commands ask for its folder of pictures.
pub fn remember(output: &OutputStore, job: &str, tables: &[String]) {
    let Some(folder) = state_folder().map(|state| state.join(FOLDER)) else {
        return;
    };
    let output = match output {
        OutputStore::Local(path) => place(path),
        OutputStore::Remote(prefix) => Some(prefix.shown.trim_end_matches('/').to_owned()),
    };
    let Some(output) = output else { return };
    let record = Record {
        output,
        job: job.to_owned(),
        tables: tables.to_vec(),
    };
    if let Err(error) = write(&folder, &record) {
        tracing::warn!(%error, "where the pictures of the output lie is not remembered");
    }
}

/// Whether this user has labelled `table` by the job `job` into what lies at `location`.
pub(super) fn is_remembered(location: &ListingTableUrl, job: &str, table: &str) -> bool {
    state_folder().is_some_and(|state| known(&state.join(FOLDER), location, job, table))
}

fn known(folder: &Path, location: &ListingTableUrl, job: &str, table: &str) -> bool {
    let output = match location.get_url().to_file_path() {
        _ if location.get_glob().is_some() => return false,
        Ok(path) => place(&path),
        Err(()) => Some(tables::shown(location).trim_end_matches('/').to_owned()),
    };
    let Some(output) = output else { return false };
    let Ok(bytes) = plain::read(folder, &name(&output), MOST_BYTES) else {
        return false;
    };
    serde_json::from_slice::<Record>(&bytes).is_ok_and(|record| {
        record.output == output
            && record.job == job
            && record.tables.iter().any(|known| known == table)
    })
}

/// A local file or folder with no link in its path; `None` where it is gone or its path is no text.
fn place(path: &Path) -> Option<String> {
    path.canonicalize()
        .ok()?
        .into_os_string()
        .into_string()
        .ok()
}

fn name(output: &str) -> String {
    let digest = picsift_images::sha256(output.as_bytes());
    format!("{}.json", picsift_images::hex(&digest[..16]))
}

fn write(folder: &Path, record: &Record) -> Result<(), AppError> {
    make(folder).map_err(AppError::file("make the folder", folder))?;
    let text = serde_json::to_vec(record).map_err(AppError::json)?;
    replace(&folder.join(name(&record.output)), &text)?;
    forget_oldest(folder).map_err(AppError::file("tidy", folder))
}

/// Makes the folder, for nobody else to look into.
fn make(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn forget_oldest(folder: &Path) -> io::Result<()> {
    let mut records: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        records.push((entry.metadata()?.modified()?, entry.path()));
    }
    records.sort();
    for (_, old) in &records[..records.len().saturating_sub(KEPT)] {
        std::fs::remove_file(old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_for_its_place_its_job_and_its_tables() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        let [out, other] = ["out", "other"].map(|name| root.path().join(name));
        for folder in [&out, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        let record = Record {
            output: place(&out).unwrap(),
            job: "1a".to_owned(),
            tables: vec!["/photos/".to_owned()],
        };
        write(&state, &record).unwrap();
        let at = |path: &Path| tables::locate(path.to_str().unwrap()).unwrap();
        assert!(known(&state, &at(&out), "1a", "/photos/"));
        assert!(!known(&state, &at(&out), "1b", "/photos/"));
        assert!(!known(&state, &at(&out), "1a", "/etc/"));
        assert!(!known(&state, &at(&other), "1a", "/photos/"));
        // A record under the name of another output is none of its.
        let [from, to] = [&out, &other].map(|path| state.join(name(&place(path).unwrap())));
        std::fs::copy(from, to).unwrap();
        assert!(!known(&state, &at(&other), "1a", "/photos/"));
    }

    #[test]
    fn the_oldest_records_go() {
        let state = tempfile::tempdir().unwrap();
        for output in 0..KEPT + 3 {
            std::fs::write(state.path().join(format!("{output}.json")), "{}").unwrap();
        }
        forget_oldest(state.path()).unwrap();
        assert_eq!(std::fs::read_dir(state.path()).unwrap().count(), KEPT);
    }
}
