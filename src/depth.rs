//! How deep the expressions and queries of a SQL text would be, counted before anything is built of them.
//!
//! The parser bounds what nests by parentheses. Chains (`1 + 1 + ...`, `a OR b OR ...`, UNION after UNION) nest too, one level each, in
//! what is made of them; planning takes time with their square, and a stack ends. So they are counted here, on the text's tokens. Whether
//! the text is SQL is the parser's to say.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::AppError;

/// Deepest that a statement may be.
const DEEPEST: usize = 1000;

/// Refuses a text in which a statement is deeper than any that a person writes.
///
/// # Errors
/// [`AppError::Usage`] with what would be right.
pub(crate) fn check(sql: &str) -> Result<(), AppError> {
    // What is no SQL is said by its parser.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else {
        return Ok(());
    };
    match deepest(&tokens) > DEEPEST {
        true => Err(AppError::Usage(format!(
            "a statement of the SQL chains or nests more than {DEEPEST} operators; write long lists as x IN (...), and many tables \
             as one folder or glob"
        ))),
        false => Ok(()),
    }
}

/// A text between two parentheses, as far as it was read.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    /// Operators of the part that is being read.
    operators: usize,
    /// The deepest operand of that part.
    operand: usize,
    /// The deepest part before it.
    part: usize,
    /// Queries that are chained, and tables that are joined.
    queries: usize,
    /// Whether a comma joins tables here.
    is_from: bool,
}

impl Level {
    fn end_part(&mut self) {
        self.part = self.part.max(self.operators + self.operand);
        (self.operators, self.operand) = (0, 0);
    }

    fn depth(mut self) -> usize {
        self.end_part();
        self.part + self.queries
    }
}

fn deepest(tokens: &[Token]) -> usize {
    let mut levels = vec![Level::default()];
    let mut deepest = 0;
    for token in tokens {
        let Some(level) = levels.last_mut() else {
            levels.push(Level::default());
            continue;
        };
        match token {
            Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Period => {}
            Token::LParen => levels.push(Level::default()),
            Token::RParen => {
                let inner = level.depth() + 1;
                levels.pop();
                match levels.last_mut() {
                    Some(outer) => outer.operand = outer.operand.max(inner),
                    None => deepest = deepest.max(inner),
                }
            }
            Token::SemiColon => {
                deepest = deepest.max(levels.drain(..).map(Level::depth).sum());
            }
            Token::Comma if level.is_from => level.queries += 1,
            Token::Comma => level.end_part(),
            Token::Word(word) => match word.keyword {
                Keyword::FROM => {
                    level.end_part();
                    level.is_from = true;
                }
                Keyword::SELECT
                | Keyword::WHERE
                | Keyword::GROUP
                | Keyword::HAVING
                | Keyword::ORDER
                | Keyword::LIMIT
                | Keyword::VALUES => {
                    level.end_part();
                    level.is_from = false;
                }
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => {
                    level.end_part();
                    level.queries += 1;
                }
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE => level.end_part(),
                Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::XOR
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::BETWEEN
                | Keyword::DIV
                | Keyword::CASE
                | Keyword::COLLATE
                | Keyword::AT => level.operators += 1,
                _ => {}
            },
            // Signs are operators, whichever they are.
            _ => level.operators += 1,
        }
    }
    deepest.max(levels.into_iter().map(Level::depth).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_every_kind_are_bounded_and_lists_are_none() {
        let many = |part: &str, between: &str| vec![part; 2000].join(between);
        for deep in [
            format!("SELECT {}", many("1", "+")),
            format!("SELECT {}", many("a", " || ")),
            format!("SELECT 1 WHERE {}", many("a = 1", " OR ")),
            format!("SELECT x{}", "::int".repeat(2000)),
            format!("SELECT x{}", "[1]".repeat(2000)),
            format!("SELECT x{}", " IS NULL".repeat(2000)),
            format!("SELECT {}1", "- ".repeat(2000)),
            many("SELECT 1", " UNION ALL "),
            format!("SELECT 1 FROM {}", many("t", ", ")),
            format!("SELECT 1 FROM {}", many("t", " JOIN ")),
            // A chain inside of a chain, forty times.
            format!(
                "SELECT {}1{}",
                "(1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+1+".repeat(40),
                ")".repeat(40)
            ),
            format!("SELECT 1; SELECT {}", many("1", "*")),
        ] {
            assert!(check(&deep).is_err(), "{}", &deep[..60]);
        }
        for flat in [
            format!("SELECT {}", many("1", ", ")),
            format!("SELECT x IN ({})", many("'a'", ", ")),
            format!("VALUES {}", many("(1, 2)", ", ")),
            format!("SELECT CASE {} END", many("WHEN a = 1 AND b THEN 2", " ")),
            many("SELECT 1 + 1 FROM t", "; "),
            format!("SELECT {}", vec!["1"; 900].join("+")),
            "not ' SQL".to_string(),
        ] {
            assert!(check(&flat).is_ok(), "{}", &flat[..9]);
        }
    }
}
