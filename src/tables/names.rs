//! What the name of a file says: whether it is data, and in which format.
//!
//! Pure rules over paths. Names that begin with `_` or `.` are what programs leave beside their data (`_temporary/`,
//! `_delta_log/`, `.ipynb_checkpoints/`, half-written files), and Spark, Hive, pyarrow and DuckDB do not read them; a folder
//! `name=value` is a partition whatever it begins with.

use std::collections::BTreeMap;

use glob::Pattern;

/// A format of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Apache Parquet.
    Parquet,
    /// Streams of Arrow, as `datasets.save_to_disk` writes them.
    Arrow,
    /// Values with commas between them, under a header.
    Csv,
    /// The same with tabs.
    Tsv,
    /// One JSON object a line.
    Json,
}

/// All ends of a file's name that say its format, in small letters; of the formats that a folder holds the first is its table.
const FORMATS: [(&str, Kind); 9] = [
    (".parquet", Kind::Parquet),
    (".parq", Kind::Parquet),
    (".pq", Kind::Parquet),
    (".arrow", Kind::Arrow),
    (".csv", Kind::Csv),
    (".tsv", Kind::Tsv),
    (".ndjson", Kind::Json),
    (".jsonl", Kind::Json),
    (".json", Kind::Json),
];

/// Ends of names of files that hold rows too but in no format that is read.
const OTHER_TABLES: [&str; 14] = [
    "avro", "bz2", "db", "feather", "gz", "ipc", "orc", "sqlite", "tar", "xls", "xlsx", "xz",
    "zip", "zst",
];

/// Ends of names of files that hold other files.
const PACKED: [&str; 9] = [
    ".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst",
];

/// Whether a file's name says that others are packed into it.
pub(super) fn is_packed(name: Option<&str>) -> bool {
    name.is_some_and(|name| PACKED.iter().any(|end| ends_with(name, end)))
}

impl Kind {
    /// The format that a file's name says, in any case of letters.
    pub fn of(name: &str) -> Option<Self> {
        FORMATS
            .iter()
            .find(|(end, _)| ends_with(name, end))
            .map(|(_, kind)| *kind)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Json => "JSON",
        }
    }
}

/// Whether `name` ends so, in any case of letters.
pub(super) fn ends_with(name: &str, end: &str) -> bool {
    let at = name.len().checked_sub(end.len());
    at.and_then(|at| name.get(at..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

/// Whether a file below a named location is data: no part of the way to it is hidden, except where the pattern of the location
/// names such a part itself.
pub(super) fn is_data<'a>(below: impl Iterator<Item = &'a str>, pattern: Option<&Pattern>) -> bool {
    let mut below = below.peekable();
    while let Some(part) = below.next() {
        let is_folder = below.peek().is_some();
        let is_partition = is_folder && part.contains('=');
        let is_hidden = part.starts_with(['_', '.']) && !is_partition;
        if is_hidden && !pattern.is_some_and(|pattern| names_hidden(pattern, part)) {
            return false;
        }
    }
    true
}

fn names_hidden(pattern: &Pattern, part: &str) -> bool {
    pattern
        .as_str()
        .split('/')
        .filter(|own| own.starts_with(['_', '.']))
        .any(|own| Pattern::new(own).is_ok_and(|own| own.matches(part)))
}

/// The keys and values of a file's partition folders, as they are written.
pub(super) fn partitions<'a>(
    below: impl Iterator<Item = &'a str>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut below = below.peekable();
    std::iter::from_fn(move || {
        loop {
            let part = below.next()?;
            // The last part is the file itself.
            below.peek()?;
            if let Some(pair) = part.split_once('=') {
                return Some(pair);
            }
        }
    })
}

/// How many files of a folder are in no format, or another than its table's, by the end of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Those that may hold rows.
    tables: BTreeMap<String, usize>,
    hidden: usize,
    unlisted: usize,
    /// Pictures in one folder with files of the table, and the end of the name of one.
    pictures: Option<(usize, &'static str)>,
}

impl LeftOut {
    /// A file that is not read. Images beside their table, and what else nobody takes for rows, are not counted.
    pub(super) fn add(&mut self, name: &str) {
        let Some((_, end)) = name.rsplit_once('.') else {
            return;
        };
        let end = end.to_ascii_lowercase();
        if Kind::of(name).is_some() || OTHER_TABLES.contains(&end.as_str()) {
            *self.tables.entry(end).or_default() += 1;
        }
    }

    /// A file whose name says that it is none of the table's.
    pub(super) fn add_hidden(&mut self) {
        self.hidden += 1;
    }

    /// So many files that a labelled folder's manifest does not list.
    pub(super) fn add_unlisted(&mut self, files: usize) {
        self.unlisted += files;
    }

    /// So many pictures that lie in one folder with files of the table, with such an end of a name.
    pub(super) fn add_pictures(&mut self, pictures: usize, end: &'static str) {
        self.pictures = Some((pictures, end));
    }

    /// Those pictures.
    pub(super) fn pictures(&self) -> Option<(usize, &'static str)> {
        self.pictures
    }

    /// Files that a manifest does not list.
    pub(super) fn unlisted(&self) -> usize {
        self.unlisted
    }

    /// Hidden files.
    pub(super) fn hidden(&self) -> usize {
        self.hidden
    }

    /// Such as `3 .csv and 1 .json files`; `None` where no rows are left out.
    pub(super) fn said(&self) -> Option<String> {
        let mut parts: Vec<_> = self
            .tables
            .iter()
            .map(|(end, count)| format!("{count} .{end}"))
            .collect();
        let last = parts.pop()?;
        let files = match self.tables.values().sum::<usize>() {
            1 => "file",
            _ => "files",
        };
        Some(match parts.is_empty() {
            true => format!("{last} {files}"),
            false => format!("{} and {last} {files}", parts.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_end_in_any_case() {
        for (name, kind) in [
            ("a.parquet", Some(Kind::Parquet)),
            ("A.PARQUET", Some(Kind::Parquet)),
            ("a.Pq", Some(Kind::Parquet)),
            ("a.b.parq", Some(Kind::Parquet)),
            ("a.CSV", Some(Kind::Csv)),
            ("a.tsv", Some(Kind::Tsv)),
            ("a.jsonl", Some(Kind::Json)),
            ("a.parquet.tmp", None),
            ("é", None),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn what_programs_leave_beside_data_is_none() {
        let data = |path: &str, pattern: Option<&str>| {
            let pattern = pattern.map(|pattern| Pattern::new(pattern).unwrap());
            is_data(path.split('/'), pattern.as_ref())
        };
        assert!(data("a/b.parquet", None));
        assert!(data("_k=1/b.parquet", None));
        for hidden in [
            "_temporary/0/b.parquet",
            "a/.staging/b.parquet",
            "_tmp.parquet",
            "_a=b.parquet",
            "x/.b.parquet",
        ] {
            assert!(!data(hidden, None), "{hidden}");
        }
        assert!(data("_tmp/b.parquet", Some("_*/*.parquet")));
        assert!(!data("_tmp/.b.parquet", Some("_*/*.parquet")));
        assert!(!data("_tmp/b.parquet", Some("*/*.parquet")));
    }

    #[test]
    fn folders_say_keys_and_values_and_files_do_not() {
        let found: Vec<_> = partitions("x/k=1/y/_l=a=b/c=d.parquet".split('/')).collect();
        assert_eq!(found, [("k", "1"), ("_l", "a=b")]);
    }

    #[test]
    fn what_may_hold_rows_is_counted_when_it_is_left_out() {
        let mut left_out = LeftOut::default();
        for name in ["a.jpg", "README.md", "LICENSE"] {
            left_out.add(name);
        }
        assert_eq!(left_out.said(), None);
        left_out.add("x.AVRO");
        assert_eq!(left_out.said().unwrap(), "1 .avro file");
        for name in ["a.csv", "b.CSV", "c.json"] {
            left_out.add(name);
        }
        assert_eq!(
            left_out.said().unwrap(),
            "1 .avro, 2 .csv and 1 .json files"
        );
    }
}
