//! What a client's statements may do: read, and set what is about its own answers.
//!
//! A statement is looked at as it was written, before anything of it is planned, as planning a SET already sets. What passes here can
//! still only name tables of the server's catalog, whose session knows no path (see `catalog`), and its plan is verified once more to
//! change nothing.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArguments, ObjectNamePart, Visit, Visitor,
};

use super::quotas::Quotas;
use super::refusal::Refusal;

/// Most bytes of a statement.
pub(super) const MOST_SQL: usize = 1 << 20;

/// Most tokens of an answer in words that a client may ask for.
const MOST_TOKENS: u64 = 1024;

/// What a client may choose.
#[derive(Debug)]
pub(super) struct Rules {
    /// The models that may be asked.
    pub(super) models: Vec<String>,
    pub(super) quotas: Quotas,
}

impl Rules {
    /// Whether a statement may run.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] with what it may not do.
    pub(super) fn check(&self, statement: &Statement) -> Result<(), Refusal> {
        let Statement::Statement(inner) = statement else {
            return Err(refused(match statement {
                Statement::CopyTo(_) => "COPY",
                Statement::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
                // It shows where files are.
                Statement::Explain(_) => "EXPLAIN",
                Statement::Reset(reset) => return self.reset(&reset.to_string()),
                _ => "this statement",
            }));
        };
        match inner.as_ref() {
            ast::Statement::Query(query) => functions(query),
            ast::Statement::Set(ast::Set::SingleAssignment {
                variable, values, ..
            }) => self.set(&variable.to_string(), values),
            ast::Statement::ShowTables { .. }
            | ast::Statement::ShowColumns { .. }
            | ast::Statement::ShowFunctions { .. }
            | ast::Statement::ShowVariable { .. }
            | ast::Statement::ExplainTable { .. } => Ok(()),
            other => {
                let text = other.to_string();
                let word = text.split(' ').next().unwrap_or("this statement");
                Err(refused(word))
            }
        }
    }

    fn reset(&self, statement: &str) -> Result<(), Refusal> {
        let name = statement.rsplit(' ').next().unwrap_or_default();
        match is_own(&name.to_ascii_lowercase()) {
            true => Ok(()),
            false => Err(refused("RESET of this setting")),
        }
    }

    fn set(&self, name: &str, values: &[Expr]) -> Result<(), Refusal> {
        let name = name.to_ascii_lowercase();
        let [value] = values else {
            return Err(refused("SET of a list"));
        };
        let value = match value {
            Expr::Value(value) => match &value.value {
                ast::Value::SingleQuotedString(text) | ast::Value::DoubleQuotedString(text) => {
                    text.clone()
                }
                other => other.to_string(),
            },
            other => other.to_string(),
        };
        self.setting(&name, &value)
    }

    /// Whether a setting may have this value.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] with what it may be.
    pub(super) fn setting(&self, name: &str, value: &str) -> Result<(), Refusal> {
        if !is_own(name) {
            return Err(Refusal::Forbidden(format!(
                "'{}' is the server's to set; a client sets {}",
                picsift_images::escaped(name),
                OWN.join(", ")
            )));
        }
        if value.eq_ignore_ascii_case("default") {
            return Ok(());
        }
        let bounded = |most: f64, what: &str| match value.parse::<f64>() {
            Ok(number) if number <= most => Ok(()),
            _ => Err(Refusal::Forbidden(format!(
                "{name} is at most {most} {what} here"
            ))),
        };
        match name {
            "picsift.model" if !self.models.iter().any(|model| model == value) => {
                Err(Refusal::Forbidden(format!(
                    "there is no model '{}' here; there is {}",
                    picsift_images::escaped(value),
                    self.models.join(", ")
                )))
            }
            "picsift.max_images" => bounded(self.quotas.images as f64, "images"),
            "picsift.max_seconds" => bounded(self.quotas.time.as_secs_f64(), "seconds"),
            "picsift.max_tokens" => bounded(MOST_TOKENS as f64, "tokens"),
            _ => Ok(()),
        }
    }
}

/// The settings that a client may have values of its own for.
const OWN: [&str; 8] = [
    "picsift.model",
    "picsift.threshold",
    "picsift.prompt_style",
    "picsift.max_tokens",
    "picsift.temperature",
    "picsift.on_error",
    "picsift.max_images",
    "picsift.max_seconds",
];

fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

pub(super) fn refused(what: &str) -> Refusal {
    Refusal::Forbidden(format!(
        "{what} is not allowed here: queries, SHOW, DESCRIBE and SET are"
    ))
}

/// Aggregates that hold all that they have seen. As a window's, each row would have a copy of what came before it.
const GATHERERS: [&str; 2] = ["array_agg", "string_agg"];

/// Refuses functions by which a client would say where files lie, or take memory with the square of its rows.
fn functions(query: &ast::Query) -> Result<(), Refusal> {
    struct Calls;

    impl Visitor for Calls {
        type Break = &'static str;

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<&'static str> {
            let Expr::Function(call) = expr else {
                return ControlFlow::Continue(());
            };
            let last = call.name.0.last();
            let name = last.and_then(ObjectNamePart::as_ident);
            let is = |known: &str| name.is_some_and(|name| name.value.eq_ignore_ascii_case(known));
            if call.over.is_some() && GATHERERS.iter().any(|gatherer| is(gatherer)) {
                return ControlFlow::Break(
                    "array_agg and string_agg take no OVER here: group the rows, and join the groups with them",
                );
            }
            match &call.args {
                FunctionArguments::List(list) if is("load_image") && list.args.len() > 1 => {
                    ControlFlow::Break(
                        "load_image takes no folder here: references belong to the folder of their table",
                    )
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }

    match query.visit(&mut Calls) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(why) => Err(Refusal::Forbidden(why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    fn rules() -> Rules {
        Rules {
            models: vec!["shapes".to_string(), "siglip".to_string()],
            quotas: Quotas::default(),
        }
    }

    fn check(sql: &str) -> Result<(), Refusal> {
        let statements = parse(sql).unwrap();
        statements
            .into_iter()
            .try_for_each(|statement| rules().check(&statement.rows().unwrap()))
    }

    #[test]
    fn queries_and_settings_about_answers_pass() {
        for sql in [
            "SELECT classify(image, 'dog') FROM photos.refs",
            "WITH a AS (SELECT load_image(image) b FROM t) SELECT md5(b) FROM a",
            "VALUES (1)",
            "SELECT string_agg(a, '-'), count(*) OVER () FROM t GROUP BY b",
            "FROM photos",
            "SHOW TABLES",
            "SHOW COLUMNS FROM photos",
            "DESCRIBE photos",
            "SET picsift.threshold = 0.7",
            "SET picsift.model = 'siglip'",
            "SET picsift.max_images = 10",
            "SET PICSIFT.ON_ERROR = 'fail'",
            "RESET picsift.threshold",
        ] {
            assert_eq!(check(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn what_writes_or_looks_elsewhere_is_refused() {
        for sql in [
            "COPY (SELECT 1) TO '/tmp/x.parquet'",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "CREATE TABLE t AS SELECT 1",
            "CREATE VIEW v AS SELECT 1",
            "INSERT INTO t SELECT 1",
            "DELETE FROM t",
            "UPDATE t SET a = 1",
            "DROP TABLE t",
            "TRUNCATE TABLE t",
            "CREATE FUNCTION f() RETURNS INT RETURN 1",
            "CREATE SCHEMA s",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "EXPLAIN SELECT 1",
            "EXPLAIN ANALYZE SELECT 1",
            "SET picsift.model = '/models/mine'",
            "SET picsift.model = 'owner/name@main'",
            "SET picsift.base = '/etc'",
            "SET picsift.heads = '/etc/passwd'",
            "SET picsift.device = 'cuda'",
            "SET picsift.memory_limit = 99999999999",
            "SET picsift.max_images = none",
            "SET picsift.max_images = 99999999999",
            "SET picsift.max_seconds = 1e9",
            "SET picsift.max_seconds = NULL",
            "SET picsift.max_tokens = 100000",
            "SET datafusion.runtime.temp_directory = '/etc'",
            "SET datafusion.execution.target_partitions = 4000",
            "RESET datafusion.execution.target_partitions",
            "SELECT load_image('passwd', '/etc')",
            "SELECT * FROM (SELECT md5(\"load_image\"(a, '/etc')) FROM t)",
            "SELECT string_agg(a, '-') OVER (ORDER BY b) FROM t",
            "SELECT b FROM (SELECT ARRAY_AGG(a) OVER (PARTITION BY c) b FROM t)",
            "SELECT 1; DROP TABLE t",
            "BEGIN",
        ] {
            assert!(
                matches!(check(sql), Err(Refusal::Forbidden(_))),
                "{sql}: {:?}",
                check(sql)
            );
        }
    }
}
