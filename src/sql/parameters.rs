//! Values for `$1`, `$2` and so on, put into a statement as literals of its syntax tree, so that they are typed as if written there.
//!
//! A function over images looks at its constants while a query is planned, which a value that comes later could not be.

use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, TimezoneInfo, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::AppError;

/// Most bytes of values in a statement, each counted wherever it stands.
const MOST_BOUND: usize = 64 << 20;

/// A value for a placeholder.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameter {
    /// NULL.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// A whole number, in decimal digits.
    Integer(i128),
    /// DOUBLE; a finite number.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes, such as those of an image.
    Bytes(Vec<u8>),
    /// TIMESTAMP, as ISO 8601 has it.
    Timestamp(String),
    /// DATE, as ISO 8601 has it.
    Date(String),
}

impl Parameter {
    /// Bytes that it takes where it stands.
    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Boolean(_) | Self::Integer(_) | Self::Float(_) => 16,
            Self::Text(text) | Self::Timestamp(text) | Self::Date(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    fn literal(&self) -> Expr {
        let value = |value: Value| {
            Expr::Value(ValueWithSpan {
                value,
                span: Span::empty(),
            })
        };
        let text = |text: &String| value(Value::SingleQuotedString(text.clone()));
        let cast = |expr: Expr, data_type| Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(expr),
            data_type,
            array: false,
            format: None,
        };
        match self {
            Self::Null => value(Value::Null),
            Self::Boolean(truth) => value(Value::Boolean(*truth)),
            Self::Integer(number) => value(Value::Number(number.to_string(), false)),
            // Written so that it is no decimal number of the engine's.
            Self::Float(number) => cast(
                value(Value::Number(format!("{number:?}"), false)),
                DataType::Double(datafusion::sql::sqlparser::ast::ExactNumberInfo::None),
            ),
            Self::Text(given) => text(given),
            Self::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                value(Value::HexStringLiteral(hex))
            }
            Self::Timestamp(given) => {
                cast(text(given), DataType::Timestamp(None, TimezoneInfo::None))
            }
            Self::Date(given) => cast(text(given), DataType::Date),
        }
    }
}

/// Puts `values` in the places of a statement's placeholders: `$1` is the first. Gives how many bytes that were.
///
/// # Errors
/// [`AppError::Usage`] for a placeholder without a value and a value without a placeholder, and for more than 64 MiB of values.
pub(super) fn bind(statement: &mut Statement, values: &[Parameter]) -> Result<usize, AppError> {
    let mut binder = Binder {
        values,
        bound: 0,
        used: vec![false; values.len()],
    };
    let done = binder.statement(statement);
    if binder.bound > MOST_BOUND {
        return Err(AppError::Usage(format!(
            "the values of the statement's parameters take more than {MOST_BOUND} bytes where they stand; give large ones once"
        )));
    }
    if let ControlFlow::Break(name) = done {
        return Err(AppError::Usage(format!(
            "the statement has the parameter {name}, and {} given; they are counted from $1",
            match values.len() {
                0 => "no value is".to_string(),
                1 => "one value is".to_string(),
                several => format!("{several} values are"),
            }
        )));
    }
    match binder.used.iter().position(|used| !used) {
        Some(place) => Err(AppError::Usage(format!(
            "a value is given for ${}, which the statement does not have",
            place + 1
        ))),
        None => Ok(binder.bound),
    }
}

/// Gives the `?` of a statement, as JDBC writes placeholders, the numbers in which they stand: `$1` and so on.
///
/// # Errors
/// [`AppError::Usage`] for a statement that has placeholders of both kinds.
pub(crate) fn numbered(statement: &mut Statement) -> Result<(), AppError> {
    let mut names = Names::default();
    let _ = names.statement(statement);
    if names.marks > 0 && !names.named.is_empty() {
        return Err(AppError::Usage(
            "the statement has parameters as ? and as $1; write all of one kind".to_string(),
        ));
    }
    Ok(())
}

/// How many values a statement wants: the highest number of its placeholders.
pub(crate) fn count(statement: &Statement) -> usize {
    let mut names = Names::default();
    let _ = names.statement(&mut statement.clone());
    let numbers = names.named.iter().filter_map(|name| number(name));
    numbers.max().unwrap_or(0)
}

fn number(placeholder: &str) -> Option<usize> {
    placeholder.strip_prefix('$')?.parse().ok()
}

/// Collects placeholders and numbers those without a name.
#[derive(Default)]
struct Names {
    marks: usize,
    named: Vec<String>,
}

impl Names {
    fn statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        match statement {
            Statement::Statement(inner) => inner.visit(self),
            Statement::Explain(explained) => self.statement(&mut explained.statement),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl VisitorMut for Names {
    type Break = ();

    // Before its parts: in the order in which they stand.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(ValueWithSpan {
            value: Value::Placeholder(name),
            ..
        }) = expr
        {
            match name.as_str() {
                "?" => {
                    self.marks += 1;
                    *name = format!("${}", self.marks);
                }
                _ => self.named.push(name.clone()),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Replaces placeholders; breaks at the first that has no value or is one too many.
struct Binder<'a> {
    values: &'a [Parameter],
    /// Bytes of values so far.
    bound: usize,
    used: Vec<bool>,
}

impl Binder<'_> {
    fn statement(&mut self, statement: &mut Statement) -> ControlFlow<String> {
        match statement {
            Statement::Statement(inner) => inner.visit(self),
            Statement::Explain(explained) => self.statement(&mut explained.statement),
            Statement::CopyTo(copy) => match &mut copy.source {
                CopyToSource::Query(query) => query.visit(self),
                CopyToSource::Relation(_) => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

impl VisitorMut for Binder<'_> {
    type Break = String;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        let Expr::Value(ValueWithSpan {
            value: Value::Placeholder(name),
            ..
        }) = expr
        else {
            return ControlFlow::Continue(());
        };
        let place = number(name).and_then(|number| number.checked_sub(1));
        match place.and_then(|place| Some((place, self.values.get(place)?))) {
            None => ControlFlow::Break(name.clone()),
            Some((place, value)) => {
                self.bound += value.size();
                if self.bound > MOST_BOUND {
                    return ControlFlow::Break(name.clone());
                }
                self.used[place] = true;
                *expr = value.literal();
                ControlFlow::Continue(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn bound(text: &str, values: &[Parameter]) -> Result<String, String> {
        let mut statement = parse(text).unwrap().pop().unwrap().statement;
        bind(&mut statement, values).map_err(|error| error.to_string())?;
        Ok(statement.to_string())
    }

    #[test]
    fn values_stand_where_they_are_asked_for_and_stay_values() {
        let sly = Parameter::Text("x' OR '1'='1".to_string());
        assert_eq!(
            bound(
                "SELECT * FROM t WHERE a = $1 AND b > $2 OR c = $1",
                &[sly, Parameter::Integer(-3)]
            )
            .unwrap(),
            "SELECT * FROM t WHERE a = 'x'' OR ''1''=''1' AND b > -3 OR c = 'x'' OR ''1''=''1'"
        );
        assert_eq!(
            bound(
                "EXPLAIN SELECT classify($1, 'dog')",
                &[Parameter::Bytes(vec![0, 255])]
            )
            .unwrap(),
            "EXPLAIN SELECT classify(X'00ff', 'dog')"
        );
    }

    #[test]
    fn values_that_stand_too_often_are_refused_before_they_are_written() {
        let many = format!("SELECT $1{}", ", $1".repeat(99));
        let value = |size| [Parameter::Text("x".repeat(size))];
        assert!(bound(&many, &value(100)).is_ok());
        let said = bound(&many, &value(1 << 20)).unwrap_err();
        assert!(said.contains("more than 67108864 bytes"), "{said}");
    }

    #[test]
    fn question_marks_are_numbered_as_they_stand() {
        let mut statement = parse("SELECT classify(image, ?) FROM t WHERE a = ? LIMIT ?")
            .unwrap()
            .pop()
            .unwrap()
            .statement;
        numbered(&mut statement).unwrap();
        assert_eq!(
            statement.to_string(),
            "SELECT classify(image, $1) FROM t WHERE a = $2 LIMIT $3"
        );
        let mut both = parse("SELECT ?, $1").unwrap().pop().unwrap().statement;
        assert!(numbered(&mut both).is_err());
        assert_eq!(count(&parse("SELECT $2, $1").unwrap()[0].statement), 2);
    }

    #[test]
    fn values_and_places_must_fit() {
        let error = bound("SELECT $2", &[Parameter::Null]).unwrap_err();
        assert!(
            error.contains("$2") && error.contains("one value"),
            "{error}"
        );
        let error = bound("SELECT 1", &[Parameter::Null]).unwrap_err();
        assert!(error.contains("$1"), "{error}");
    }
}
