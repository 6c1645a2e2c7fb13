//! Random queries over a model with known answers give what evaluating them row by row gives, and ask each image once.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use crate::fake::{Fake, png};

/// A boolean expression over a row.
#[derive(Debug, Clone)]
enum Test {
    Constant(Option<bool>),
    Below(i64),
    /// Whether image column 0 or 1 has a channel of at least half.
    Shows(usize, usize),
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    Case(Box<Test>, Box<Test>, Box<Test>),
    Coalesce(Box<Test>, Box<Test>),
    IsNull(Box<Test>),
    /// Equality with another.
    Same(Box<Test>, Box<Test>),
}

const COLUMNS: [&str; 2] = ["image", "other"];
const COLOURS: [&str; 3] = ["red", "green", "blue"];

/// A row: its number and the colours of its images.
type Row = (i64, [Option<[u8; 3]>; 2]);

impl Test {
    fn sql(&self) -> String {
        match self {
            Self::Constant(None) => "CAST(NULL AS BOOLEAN)".to_string(),
            Self::Constant(Some(value)) => value.to_string(),
            Self::Below(bound) => format!("(id < {bound})"),
            Self::Shows(column, colour) => {
                format!("classify({}, '{}')", COLUMNS[*column], COLOURS[*colour])
            }
            Self::Not(a) => format!("(NOT {})", a.sql()),
            Self::And(a, b) => format!("({} AND {})", a.sql(), b.sql()),
            Self::Or(a, b) => format!("({} OR {})", a.sql(), b.sql()),
            Self::Case(when, then, otherwise) => format!(
                "(CASE WHEN {} THEN {} ELSE {} END)",
                when.sql(),
                then.sql(),
                otherwise.sql()
            ),
            Self::Coalesce(a, b) => format!("coalesce({}, {})", a.sql(), b.sql()),
            Self::IsNull(a) => format!("({} IS NULL)", a.sql()),
            Self::Same(a, b) => format!("({} = {})", a.sql(), b.sql()),
        }
    }

    /// SQL's value, NULL as `None`.
    fn value(&self, row: &Row) -> Option<bool> {
        match self {
            Self::Constant(value) => *value,
            Self::Below(bound) => Some(row.0 < *bound),
            Self::Shows(column, colour) => row.1[*column].map(|rgb| rgb[*colour] >= 128),
            Self::Not(a) => a.value(row).map(|a| !a),
            Self::And(a, b) => match (a.value(row), b.value(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.value(row), b.value(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::Case(when, then, otherwise) => match when.value(row) {
                Some(true) => then.value(row),
                _ => otherwise.value(row),
            },
            Self::Coalesce(a, b) => a.value(row).or_else(|| b.value(row)),
            Self::IsNull(a) => Some(a.value(row).is_none()),
            Self::Same(a, b) => Some(a.value(row)? == b.value(row)?),
        }
    }
}

fn test() -> impl Strategy<Value = Test> {
    let leaf = prop_oneof![
        1 => prop::option::of(any::<bool>()).prop_map(Test::Constant),
        3 => (0..40_i64).prop_map(Test::Below),
        5 => (0..2_usize, 0..3_usize).prop_map(|(column, colour)| Test::Shows(column, colour)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let inner = inner.prop_map(Box::new).boxed();
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            1 => inner.clone().prop_map(Test::Not),
            3 => two.clone().prop_map(|(a, b)| Test::And(a, b)),
            3 => two.clone().prop_map(|(a, b)| Test::Or(a, b)),
            2 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| Test::Case(a, b, c)),
            1 => two.clone().prop_map(|(a, b)| Test::Coalesce(a, b)),
            1 => inner.prop_map(Test::IsNull),
            1 => two.prop_map(|(a, b)| Test::Same(a, b)),
        ]
    })
}

#[derive(Debug, Clone)]
struct Query {
    selected: Vec<Test>,
    filter: Option<Test>,
    /// Whether the columns come from a subquery, so that the filter stands above them.
    nested: bool,
    limit: Option<usize>,
}

fn query() -> impl Strategy<Value = Query> {
    (
        prop::collection::vec(test(), 0..3),
        prop::option::weighted(0.8, test()),
        any::<bool>(),
        prop::option::weighted(0.3, 0..12_usize),
    )
        .prop_map(|(selected, filter, nested, limit)| Query {
            selected,
            filter,
            nested,
            limit,
        })
}

impl Query {
    fn sql(&self) -> String {
        let mut columns = String::new();
        let mut names = String::new();
        for (index, test) in self.selected.iter().enumerate() {
            let _ = write!(columns, ", {} AS c{index}", test.sql());
            let _ = write!(names, ", c{index}");
        }
        let mut sql = if self.nested {
            format!("SELECT id{names} FROM (SELECT *{columns} FROM t)")
        } else {
            format!("SELECT id{columns} FROM t")
        };
        if let Some(filter) = &self.filter {
            let _ = write!(sql, " WHERE {}", filter.sql());
        }
        sql.push_str(" ORDER BY id");
        if let Some(limit) = self.limit {
            let _ = write!(sql, " LIMIT {limit}");
        }
        sql
    }

    fn expected(&self, rows: &[Row]) -> Vec<(i64, Vec<Option<bool>>)> {
        rows.iter()
            .filter(|row| match &self.filter {
                None => true,
                Some(filter) => filter.value(row) == Some(true),
            })
            .take(self.limit.unwrap_or(usize::MAX))
            .map(|row| {
                let values = self.selected.iter().map(|test| test.value(row));
                (row.0, values.collect())
            })
            .collect()
    }
}

/// Forty rows whose images differ, some of them NULL.
fn rows() -> Vec<Row> {
    (0..40_u8)
        .map(|i| {
            let channel = |bit: u8| if (i >> bit) & 1 == 1 { 200 + i } else { 20 + i };
            let image = (i % 7 != 3).then(|| [channel(0), channel(1), channel(2)]);
            let other = (i % 5 != 1).then(|| [channel(3), channel(1), channel(0) / 2 + 60]);
            (i64::from(i), [image, other])
        })
        .collect()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let images = |column: usize| -> ArrayRef {
        let images = rows.iter().map(|row| row.1[column].map(png));
        Arc::new(BinaryArray::from_iter(images))
    };
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let columns = [("id", ids), ("image", images(0)), ("other", images(1))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap()
}

fn values(batches: &[RecordBatch]) -> Vec<(i64, Vec<Option<bool>>)> {
    let mut all = Vec::new();
    for batch in batches {
        let ids = batch.column(0).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let values = batch.columns()[1..].iter().map(|column| {
                let column = column.as_boolean();
                column.is_valid(row).then(|| column.value(row))
            });
            all.push((ids.value(row), values.collect()));
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn results_are_those_of_evaluating_row_by_row(query in query()) {
        let rows = rows();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (found, encoded) = runtime.block_on(async {
            let fake = Fake::new(1);
            fake.context.register_batch("t", batch(&rows)).unwrap();
            let (batches, encoded) = fake.run(&query.sql()).await;
            (values(&batches), encoded)
        });
        prop_assert_eq!(found, query.expected(&rows), "{}", query.sql());
        let images = rows.iter().flat_map(|row| &row.1).flatten().count();
        prop_assert!(encoded <= images, "{} of {} images for {}", encoded, images, query.sql());
    }
}
