//! The aggregates that judge answers: figures, NULL rules, and that parts merge to the whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use picsift_udf::{Engine, EngineOptions, register_all};
use proptest::prelude::*;

fn session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    let context = SessionContext::new_with_config(config);
    let engine = Engine::new(EngineOptions {
        decode_threads: 1,
        ..EngineOptions::default()
    });
    register_all(&context, &Arc::new(engine.unwrap())).unwrap();
    context
}

type Row = (i64, Option<bool>, Option<bool>, Option<f64>);

fn batch(rows: &[Row]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        (
            "part",
            Arc::new(rows.iter().map(|r| Some(r.0)).collect::<Int64Array>()),
        ),
        (
            "truth",
            Arc::new(rows.iter().map(|r| r.1).collect::<BooleanArray>()),
        ),
        (
            "answer",
            Arc::new(rows.iter().map(|r| r.2).collect::<BooleanArray>()),
        ),
        (
            "score",
            Arc::new(rows.iter().map(|r| r.3).collect::<Float64Array>()),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// Registers the rows as table `t`, cut into partitions.
fn register(context: &SessionContext, partitions: &[&[Row]]) {
    let batches: Vec<_> = partitions.iter().map(|rows| vec![batch(rows)]).collect();
    let table = MemTable::try_new(batch(&[]).schema(), batches).unwrap();
    context.deregister_table("t").unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
}

const ALL: &str = "precision(truth, answer) AS precision, recall(truth, answer) AS recall, f1(truth, answer) AS f1, \
    balanced_accuracy(truth, answer) AS accuracy, average_precision(truth, score) AS ap, roc_auc(truth, score) AS auc, \
    brier(truth, score) AS brier, left_out(truth, score) AS unscored, confusion(truth, answer) AS confusion";

async fn text(context: &SessionContext, query: &str) -> Result<String, String> {
    let frame = context.sql(query).await.map_err(|e| e.to_string())?;
    let batches = frame.collect().await.map_err(|e| e.to_string())?;
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_groups_with_nulls_left_out_and_counted() {
    let context = session(2);
    let rows = [
        (1, Some(true), Some(true), Some(0.75)),
        (1, Some(false), Some(true), Some(0.5)),
        (1, Some(true), Some(false), Some(0.25)),
        (1, None, Some(true), Some(0.9)),
        (1, Some(true), None, None),
        (2, Some(false), Some(false), Some(0.5)),
        (3, None, None, None),
    ];
    register(&context, &[&rows]);
    let query = format!("SELECT part, {ALL} FROM t GROUP BY part ORDER BY part");
    let expected = "
| part | precision | recall | f1  | accuracy | ap                 | auc | brier  | unscored | confusion |
| 1    | 0.5       | 0.5    | 0.5 | 0.25     | 0.8333333333333333 | 0.5 | 0.2917 | 2        | {true_positive: 1, false_positive: 1, false_negative: 1, true_negative: 0, left_out: 2} |
";
    let found = text(&context, &query).await.unwrap();
    let cells = |line: &str| {
        let cells = line.split('|').map(|cell| cell.trim().to_string());
        cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    let lines: Vec<_> = found.lines().collect();
    let wanted = cells(expected.trim().lines().last().unwrap());
    let first = cells(lines[3]);
    assert_eq!(first[..6], wanted[..6]);
    assert_eq!(first[8..], wanted[8..]);
    assert!((first[7].parse::<f64>().unwrap() - 0.875 / 3.0).abs() < 1e-15);
    // No true row: nothing to recall or rank. No row at all: nothing.
    assert_eq!(
        cells(lines[4]),
        [
            "2",
            "0.25",
            "0",
            "{true_positive: 0, false_positive: 0, false_negative: 0, true_negative: 1, left_out: 0}"
        ]
    );
    assert_eq!(
        cells(lines[5]),
        [
            "3",
            "1",
            "{true_positive: 0, false_positive: 0, false_negative: 0, true_negative: 0, left_out: 1}"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_figure_is_refused() {
    let context = session(2);
    register(&context, &[&[(1, Some(true), Some(true), Some(1.5))]]);
    for (query, part) in [
        (
            "SELECT brier(truth, score) FROM t",
            "1.5 is not within 0 to 1",
        ),
        ("SELECT roc_auc(truth, 'NaN'::double) FROM t", "NaN"),
        (
            "SELECT precision(DISTINCT truth, answer) FROM t",
            "every row counts",
        ),
        ("SELECT precision(truth) FROM t", "precision"),
    ] {
        let error = text(&context, query).await.unwrap_err();
        assert!(error.contains(part), "{query}: {error}");
    }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let answer = || proptest::option::weighted(0.9, any::<bool>());
    // Few values, so that there are ties.
    let score = proptest::option::weighted(0.9, (0..20_i32).prop_map(|n| f64::from(n) / 19.0));
    proptest::collection::vec((0..3_i64, answer(), answer(), score), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// However the rows are cut into partitions, partial states merge to what one pass gives.
    #[test]
    fn parts_merge_to_the_whole(rows in rows(), cuts in proptest::collection::vec(0..200_usize, 0..6)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[Row]> = cuts.windows(2).map(|cut| &rows[cut[0]..cut[1]]).collect();
        // A sum of squares may differ in its last digit with the order.
        let query = format!("SELECT part, {} FROM t GROUP BY part ORDER BY part", ALL.replace("brier(truth, score)", "round(brier(truth, score), 12)"));
        let whole = format!("SELECT 0 AS part, {} FROM t", ALL.replace("brier(truth, score)", "round(brier(truth, score), 12)"));
        let found: [Vec<String>; 2] = [vec![&rows[..]], parts].map(|parts| {
            let context = session(parts.len().max(1));
            register(&context, &parts);
            runtime.block_on(async {
                let plan = text(&context, &format!("EXPLAIN {query}")).await.unwrap();
                assert!(parts.len() < 2 || plan.contains("mode=Partial"), "{plan}");
                vec![text(&context, &query).await.unwrap(), text(&context, &whole).await.unwrap()]
            })
        });
        prop_assert_eq!(&found[0], &found[1]);
    }
}
