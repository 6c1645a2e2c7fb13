//! What the Tab key completes: paths inside quotes; elsewhere words of SQL, functions, tables and settings.

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};

use crate::sql::Session;

/// Words that queries over tables begin and go on with.
const KEYWORDS: [&str; 51] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "USING",
    "ON",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DISTINCT",
    "UNION ALL",
    "WITH",
    "VALUES",
    "CREATE TABLE",
    "CREATE VIEW",
    "CREATE EXTERNAL TABLE",
    "DROP TABLE",
    "DROP VIEW",
    "INSERT INTO",
    "COPY",
    "STORED AS PARQUET",
    "PARTITIONED BY",
    "LOCATION",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "DESCRIBE",
    "SUMMARIZE",
    "SHOW TABLES",
    "SHOW FUNCTIONS",
    "SHOW ALL",
    "SET",
    "RESET",
    "DESC",
];

/// What the editor knows of SQL: what a word may become.
#[derive(Helper, Hinter, Highlighter, Validator)]
pub(super) struct Statements<'a> {
    session: &'a Session,
    files: FilenameCompleter,
    /// Keywords, functions and settings.
    words: Vec<String>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        let state = session.context().state();
        let mut words: Vec<String> = KEYWORDS.map(str::to_owned).into();
        let settings = state.config_options().entries();
        words.extend(settings.into_iter().map(|entry| entry.key));
        // Names with a sign in them are the engine's own.
        let functions = state
            .scalar_functions()
            .keys()
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys());
        words.extend(
            functions
                .filter(|name| name.chars().all(is_of_word))
                .map(|name| format!("{name}(")),
        );
        words.sort_unstable();
        words.dedup();
        Self {
            session,
            files: FilenameCompleter::new(),
            words,
        }
    }

    /// Tables and views that the session made.
    fn tables(&self) -> Vec<String> {
        let context = self.session.context();
        let catalogs = context.catalog_names().into_iter();
        catalogs
            .filter_map(|name| context.catalog(&name)?.schema("public"))
            .flat_map(|schema| schema.table_names())
            .collect()
    }
}

impl Completer for Statements<'_> {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..pos];
        if before.matches('\'').count() % 2 == 1 {
            return self.files.complete_path(line, pos);
        }
        let start = before.rfind(|c| !is_of_word(c)).map_or(0, |at| {
            at + before[at..].chars().next().map_or(1, char::len_utf8)
        });
        let tables = self.tables();
        let found = candidates(&before[start..], self.words.iter().chain(&tables));
        Ok((start, found))
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

/// The words that begin like `begun`, in whatever letters; keywords in those that were begun with.
fn candidates<'a>(begun: &str, words: impl Iterator<Item = &'a String>) -> Vec<Pair> {
    if begun.is_empty() {
        return Vec::new();
    }
    let small = begun.chars().all(|c| !c.is_uppercase());
    let found = words.filter(|word| {
        word.get(..begun.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(begun))
    });
    found
        .map(|word| match small {
            true if KEYWORDS.contains(&word.as_str()) => word.to_lowercase(),
            _ => word.clone(),
        })
        .map(|word| Pair {
            display: word.clone(),
            replacement: word,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn words_are_completed_in_the_letters_that_were_begun() {
        let words = ["SELECT", "SET", "classify(", "photos"].map(str::to_owned);
        let of = |begun: &str| -> Vec<String> {
            let found = candidates(begun, words.iter());
            found.into_iter().map(|pair| pair.replacement).collect()
        };
        assert_eq!(of("se"), ["select", "set"]);
        assert_eq!(of("SEL"), ["SELECT"]);
        assert_eq!(of("Cla"), ["classify("]);
        assert_eq!(of("pho"), ["photos"]);
        assert!(of("").is_empty() && of("é").is_empty());
    }
}
