//! From a script to its statements, in the words of other programs too.
//!
//! Owns what people type that DataFusion's grammar has otherwise: `COPY ... TO 'x' (FORMAT parquet, ...)`, `SUMMARIZE x`,
//! `FROM read_parquet('x')`. It becomes what that grammar has; what a statement does is decided elsewhere. Tokens keep their places, so
//! that an error still points to what was typed.

use std::convert::Infallible;
use std::ops::ControlFlow;

use datafusion::common::DataFusionError;
use datafusion::sql::parser::{CopyToSource, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{self, VisitMut};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::depth;
use crate::error::AppError;

/// Functions of other programs that give the table at a path, which here the path alone does.
const READERS: [&str; 8] = [
    "read_parquet",
    "parquet_scan",
    "read_csv",
    "read_csv_auto",
    "read_json",
    "read_json_auto",
    "read_ndjson",
    "read_images",
];

/// A statement that is not planned yet.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(super) statement: Statement,
    /// Whether not its rows are asked for but what its columns hold.
    pub(super) summarize: bool,
}

impl Parsed {
    /// The statement whose rows are asked for; `None` where what its columns hold is.
    pub(crate) fn rows(self) -> Option<Statement> {
        (!self.summarize).then_some(self.statement)
    }
}

impl From<Statement> for Parsed {
    fn from(statement: Statement) -> Self {
        Self {
            statement,
            summarize: false,
        }
    }
}

/// The statements of a script: all are parsed before one runs, for a slip at its end must not show after an hour.
///
/// # Errors
/// [`AppError::Plan`] for what is no SQL.
pub(crate) fn parse(script: &str) -> Result<Vec<Parsed>, AppError> {
    // A file may begin with the line that makes it executable.
    let script = match script.strip_prefix("#!") {
        Some(rest) => rest.split_once('\n').map_or("", |(_, script)| script),
        None => script,
    };
    depth::check(script)?;
    let tokens = Tokenizer::new(&GenericDialect {}, script).tokenize_with_location();
    let tokens = tokens.map_err(|error| wrong(script, ParserError::from(error).into()))?;
    let mut parsed = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let tokens: Vec<TokenWithSpan> = tokens
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .cloned()
            .collect();
        let tokens = without_readers(tokens);
        let (tokens, summarize) = match tokens.split_first() {
            None => continue,
            Some((first, rest)) if is_word(first, "SUMMARIZE") => (summarized(first, rest), true),
            Some((first, _)) if is_word(first, "COPY") => (copied(tokens), false),
            Some(_) => (tokens, false),
        };
        let statements = DFParserBuilder::new(tokens)
            .build()
            .and_then(|mut parser| parser.parse_statements());
        let statements = statements
            .map_err(|error| wrong(script, error))?
            .into_iter();
        parsed.extend(statements.map(|statement| Parsed {
            statement,
            summarize,
        }));
    }
    Ok(parsed)
}

/// What is said of a script that is no SQL; of one with a path that is not in quotes, that too.
fn wrong(script: &str, error: DataFusionError) -> AppError {
    let error = AppError::Plan(error);
    match bare_path(script) {
        Some(path) => AppError::Usage(format!("{error}; a path stands in quotes: FROM '{path}'")),
        None => error,
    }
}

/// A path that is all of a script, or stands without quotes where a table does.
fn bare_path(script: &str) -> Option<&str> {
    let words: Vec<&str> = script.split_whitespace().collect();
    let found = match words.as_slice() {
        [alone] => alone.trim_matches([';', '\'', '"']),
        words => words.windows(2).find_map(|pair| {
            let is_before = ["FROM", "JOIN", "DESCRIBE", "SUMMARIZE"]
                .iter()
                .any(|word| pair[0].eq_ignore_ascii_case(word));
            (is_before && !pair[1].contains(['\'', '"', '(']))
                .then(|| pair[1].trim_matches([';', ')']))
        })?,
    };
    found.contains('/').then_some(found)
}

/// Shows every query of a statement to `visitor`.
pub(super) fn visit_queries<V>(statement: &mut Statement, visitor: &mut V)
where
    V: ast::VisitorMut<Break = Infallible>,
{
    let _: ControlFlow<Infallible> = match statement {
        Statement::Statement(inner) => inner.visit(visitor),
        Statement::Explain(explain) => {
            visit_queries(&mut explain.statement, visitor);
            ControlFlow::Continue(())
        }
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => query.visit(visitor),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    };
}

/// The tokens with `'x'` for every `read_parquet('x')`.
fn without_readers(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut made = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let Some((first, behind)) = rest.split_first() {
        match behind {
            [open, path, close, ..]
                if READERS.iter().any(|reader| is_word(first, reader))
                    && open.token == Token::LParen
                    && matches!(path.token, Token::SingleQuotedString(_))
                    && close.token == Token::RParen =>
            {
                made.push(path.clone());
                rest = &behind[3..];
            }
            _ => {
                made.push(first.clone());
                rest = behind;
            }
        }
    }
    made
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Keywords that stand where `at` does.
fn keywords(at: &TokenWithSpan, words: &[&str]) -> Vec<TokenWithSpan> {
    let made = |word: &&str| TokenWithSpan::new(Token::make_keyword(word), at.span);
    words.iter().map(made).collect()
}

/// What is summarised, as a query: a query itself, or the table of a name or path.
fn summarized(first: &TokenWithSpan, rest: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let is_query = rest.first().is_some_and(|next| {
        let begins = ["SELECT", "FROM", "WITH", "VALUES"];
        next.token == Token::LParen || begins.iter().any(|word| is_word(next, word))
    });
    let mut tokens = match is_query {
        true => Vec::new(),
        false => keywords(first, &["FROM"]),
    };
    tokens.extend_from_slice(rest);
    tokens
}

/// `COPY x TO 'y' (FORMAT parquet, PARTITION_BY (a, b), COMPRESSION zstd, OVERWRITE)` as `COPY x TO 'y' STORED AS parquet PARTITIONED BY
/// (a, b) OPTIONS (compression zstd, overwrite 'true')`; any other COPY as it is.
fn copied(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut depth = 0_usize;
    let target = tokens.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && is_word(token, "TO")
    });
    let Some(at) = target else { return tokens };
    let mut open = at + 2;
    if tokens.get(open).is_some_and(|token| is_word(token, "WITH")) {
        open += 1;
    }
    let (Some(first), Some(last)) = (tokens.get(open), tokens.last()) else {
        return tokens;
    };
    if first.token != Token::LParen || last.token != Token::RParen {
        return tokens;
    }
    let mut made = tokens[..at + 2].to_vec();
    let mut options: Vec<TokenWithSpan> = Vec::new();
    for item in items(&tokens[open + 1..tokens.len() - 1]) {
        let Some((key, value)) = item.split_first() else {
            continue;
        };
        let value = match value.first() {
            Some(sign) if sign.token == Token::Eq => &value[1..],
            _ => value,
        };
        if is_word(key, "FORMAT") {
            made.extend(keywords(key, &["STORED", "AS"]));
            made.extend(value.iter().map(|token| match &token.token {
                Token::SingleQuotedString(name) => {
                    TokenWithSpan::new(Token::make_word(name, None), token.span)
                }
                _ => token.clone(),
            }));
        } else if is_word(key, "PARTITION_BY") {
            made.extend(keywords(key, &["PARTITIONED", "BY"]));
            let is_list = value.first().is_some_and(|one| one.token == Token::LParen);
            let [before, behind] = [Token::LParen, Token::RParen]
                .map(|sign| (!is_list).then(|| TokenWithSpan::new(sign, key.span)));
            made.extend(before);
            made.extend_from_slice(value);
            made.extend(behind);
        } else {
            if !options.is_empty() {
                options.push(TokenWithSpan::new(Token::Comma, key.span));
            }
            options.push(match own_name(key) {
                Some(name) => TokenWithSpan::new(Token::SingleQuotedString(name.into()), key.span),
                None => key.clone(),
            });
            match value {
                // A word alone is switched on.
                [] => options.push(TokenWithSpan::new(
                    Token::SingleQuotedString("true".to_owned()),
                    key.span,
                )),
                value => options.extend_from_slice(value),
            }
        }
    }
    if !options.is_empty() {
        made.extend(keywords(first, &["OPTIONS"]));
        made.push(first.clone());
        made.append(&mut options);
        made.push(last.clone());
    }
    made
}

/// The engine's name of an option that other programs call otherwise.
fn own_name(key: &TokenWithSpan) -> Option<&'static str> {
    let names = [
        ("HEADER", "has_header"),
        ("DELIM", "delimiter"),
        ("SEP", "delimiter"),
        ("CODEC", "compression"),
    ];
    let found = names.iter().find(|(theirs, _)| is_word(key, theirs));
    found.map(|(_, ours)| *ours)
}

/// What stands between the commas that are in no parentheses of their own.
fn items(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let (mut depth, mut begun, mut found) = (0_usize, 0, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 => {
                found.push(&tokens[begun..at]);
                begun = at + 1;
            }
            _ => {}
        }
    }
    found.push(&tokens[begun..]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(script: &str) -> Vec<String> {
        let parsed = parse(script).unwrap();
        parsed
            .into_iter()
            .map(|one| match one.summarize {
                true => format!("summary of {}", one.statement),
                false => one.statement.to_string(),
            })
            .collect()
    }

    #[test]
    fn what_other_programs_say_is_understood() {
        for (typed, meant) in [
            (
                "COPY (SELECT a, (b) FROM t) TO 'o/' (FORMAT parquet, PARTITION_BY (a, b), OVERWRITE)",
                "COPY (SELECT a, (b) FROM t) TO 'o/' STORED AS PARQUET PARTITIONED BY (a, b) OPTIONS ('OVERWRITE' 'true')",
            ),
            (
                "COPY t TO 'x.csv' WITH (FORMAT 'csv', HEADER false, COMPRESSION = gzip)",
                "COPY t TO 'x.csv' STORED AS CSV OPTIONS ('has_header' 'false', COMPRESSION gzip)",
            ),
            (
                "COPY t TO 'x' (PARTITION_BY label);",
                "COPY t TO 'x' PARTITIONED BY (label)",
            ),
            (
                "SELECT * FROM read_parquet('a b/*.parquet') AS t",
                "SELECT * FROM 'a b/*.parquet' AS t",
            ),
            ("DESCRIBE Read_CSV('t.csv')", "DESCRIBE 't.csv'"),
            (
                "COPY (SELECT 1) TO 'x.parquet' STORED AS PARQUET OPTIONS (compression snappy)",
                "COPY (SELECT 1) TO 'x.parquet' STORED AS PARQUET OPTIONS (compression snappy)",
            ),
        ] {
            assert_eq!(shown(typed), shown(meant), "{typed}");
        }
        assert_eq!(shown("SUMMARIZE 'photos/'"), ["summary of FROM 'photos/'"]);
        assert_eq!(
            shown("SELECT ';' ; ; summarize select 1;"),
            ["SELECT ';'", "summary of SELECT 1"]
        );
        assert!(shown("SELECT * FROM range(1, 2)")[0].contains("range(1, 2)"));
    }

    #[test]
    fn an_error_points_to_what_was_typed() {
        let said = |script| parse(script).unwrap_err().to_string();
        assert!(said("SELECT 1;\n  SELEC 2").contains("Line: 2, Column: 3"));
        let wrong = said("COPY t TO 'x' (FORMAT parquet, nothing to see)");
        assert!(wrong.contains("Column: 43"), "{wrong}");
    }

    #[test]
    fn a_path_without_quotes_is_said() {
        for (script, path) in [
            ("photos/", Some("photos/")),
            ("'photos/';", Some("photos/")),
            ("FROM photos/*.jpg", Some("photos/*.jpg")),
            ("SELECT * FROM photos/ LIMIT 2;", Some("photos/")),
            ("SELECT 1 / 2 FROM t WHER x", None),
            ("FROM 'photos/' WHER x", None),
            ("SELCT", None),
        ] {
            let said = parse(script).unwrap_err().to_string();
            let hint = path.map(|path| format!("; a path stands in quotes: FROM '{path}'"));
            match hint {
                Some(hint) => assert!(said.ends_with(&hint), "{said}"),
                None => assert!(!said.contains("stands in quotes"), "{said}"),
            }
        }
    }
}
