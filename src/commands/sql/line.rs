//! What a line that a person typed asks of the shell.

use super::pictures::Drawing;

/// Tables and views that a session made.
const TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables \
                      WHERE table_schema <> 'information_schema' ORDER BY table_name";

/// What a line asks of the shell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Nothing,
    /// To end.
    Leave,
    /// What there is to type.
    Help,
    /// Statements to run.
    Script(String),
    /// A line for each column of a row, or a table again; `None` is the other of both.
    Expanded(Option<bool>),
    /// Whether the time of a statement is said; `None` is the other of both.
    Timing(Option<bool>),
    /// Pictures below results.
    Images(Images),
    /// A file for results, or the terminal again.
    Output(Option<String>),
    /// What is no command.
    Unknown(String),
}

/// What is asked of pictures.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Images {
    /// That they are shown if they were not, and the other way round.
    Other,
    /// Whether they are shown.
    Shown(bool),
    /// That they are shown in this way.
    By(Drawing),
}

impl Line {
    /// What `line` asks.
    pub(super) fn of(line: &str) -> Self {
        let line = line.trim();
        let word = line.trim_end_matches(';').trim_end();
        let (command, rest) = match word.split_once(char::is_whitespace) {
            Some((command, rest)) => (command, Some(rest.trim())),
            None => (word, None),
        };
        let command = command.to_ascii_lowercase();
        match (command.as_str(), rest) {
            ("", None) => Self::Nothing,
            ("\\q" | "exit" | "quit", None) => Self::Leave,
            ("\\?" | "\\h" | "help", None) => Self::Help,
            ("\\d", None) => Self::Script(TABLES.to_owned()),
            ("\\d", Some(table)) => Self::Script(format!("DESCRIBE {table}")),
            ("\\o", rest) => Self::Output(rest.map(unquoted)),
            ("\\x", None) => Self::Expanded(None),
            ("\\timing", None) => Self::Timing(None),
            ("\\x" | "\\timing", Some(rest)) => match (rest, command.as_str()) {
                ("on", "\\x") => Self::Expanded(Some(true)),
                ("off", "\\x") => Self::Expanded(Some(false)),
                ("on", _) => Self::Timing(Some(true)),
                ("off", _) => Self::Timing(Some(false)),
                _ => Self::Unknown(word.to_owned()),
            },
            ("\\images", None) => Self::Images(Images::Other),
            ("\\images", Some(rest)) => match (rest, Drawing::named(rest)) {
                (_, Some(drawing)) => Self::Images(Images::By(drawing)),
                ("on", _) => Self::Images(Images::Shown(true)),
                ("off", _) => Self::Images(Images::Shown(false)),
                _ => Self::Unknown(word.to_owned()),
            },
            _ if word.starts_with('\\') => Self::Unknown(word.to_owned()),
            _ => Self::Script(line.to_owned()),
        }
    }

    /// Whether the shell takes the input as it is: a command, nothing, or text whose last statement is ended.
    pub(super) fn is_complete(input: &str) -> bool {
        let input = input.trim();
        input.ends_with(';') || !matches!(Self::of(input), Self::Script(text) if text == input)
    }
}

/// A path, which may stand in quotes as in SQL.
fn unquoted(path: &str) -> String {
    let inner = path.strip_prefix('\'').and_then(|p| p.strip_suffix('\''));
    inner.unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Drawing, Images, Line, TABLES};

    #[test]
    fn people_leave_and_ask_for_help_by_the_words_of_other_shells() {
        for (line, expected) in [
            ("exit", Line::Leave),
            ("QUIT;", Line::Leave),
            ("\\q", Line::Leave),
            ("help", Line::Help),
            (" ; ", Line::Nothing),
            ("\\d", Line::Script(TABLES.to_owned())),
            (
                "\\d 'photos/'",
                Line::Script("DESCRIBE 'photos/'".to_owned()),
            ),
            ("\\x", Line::Expanded(None)),
            ("\\x on;", Line::Expanded(Some(true))),
            ("\\timing off", Line::Timing(Some(false))),
            ("\\x sideways", Line::Unknown("\\x sideways".to_owned())),
            ("\\o 'a b.csv'", Line::Output(Some("a b.csv".to_owned()))),
            ("\\o", Line::Output(None)),
            ("\\images", Line::Images(Images::Other)),
            ("\\images off;", Line::Images(Images::Shown(false))),
            ("\\images sixel", Line::Images(Images::By(Drawing::Sixel))),
            ("\\images ascii", Line::Unknown("\\images ascii".to_owned())),
            ("\\y", Line::Unknown("\\y".to_owned())),
            ("SELECT 1;", Line::Script("SELECT 1;".to_owned())),
        ] {
            assert_eq!(Line::of(line), expected, "{line}");
        }
    }

    #[test]
    fn a_statement_ends_with_its_semicolon() {
        let is_complete = Line::is_complete;
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT 1\nFROM x"));
        assert!(is_complete("SELECT 1;  "));
        assert!(is_complete("\\q") && is_complete("exit") && is_complete("\\d t"));
        assert!(!is_complete("exits"));
        assert!(is_complete("  "));
    }
}
