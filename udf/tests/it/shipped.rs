//! Plans that were written to bytes and read again, as a distributed engine does, are the same and give the same.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, TableReference, plan_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Extension, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec,
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use futures::FutureExt;
use parquet::arrow::ArrowWriter;
use picsift_udf::{Corrections, EngineOptions, InferCodec};

use crate::fake::Fake;
use crate::tables::images;

/// Every form of query that the other tests have.
const QUERIES: [&str; 16] = [
    "SELECT id, classify(image, 'red') FROM t",
    "SELECT id FROM t WHERE classify(image, 'red') AND id < 20",
    "SELECT id, classify(image, 'red') FROM t WHERE classify(image, 'blue') ORDER BY classify_score(image, 'red'), id LIMIT 5",
    "SELECT id, CASE WHEN id < 10 THEN classify(image, 'red') ELSE id < 20 END FROM t",
    "SELECT id, id < 9 OR classify(image, 'red') FROM t",
    "SELECT classify_label(image, ['red', 'blue']) AS label, count(*) FROM t GROUP BY label ORDER BY label",
    "SELECT a.id FROM t a JOIN t b ON a.id = b.id AND classify(a.image, 'red') ORDER BY a.id",
    "SELECT id FROM t WHERE id IN (SELECT id FROM t WHERE classify(image, 'blue')) ORDER BY id",
    "SELECT id, ask(image, 'What?'), ask_classes(image, 'What?') FROM t ORDER BY id DESC LIMIT 3",
    "SELECT id, classify_json(image, ['red', 'green']), classify_labels(image, ['blue']) FROM t ORDER BY id",
    "SELECT try_classify(image, 'red')['score'], image_info(image)['width'] FROM t ORDER BY id",
    "SELECT encode(md5(load_image(image)), 'hex') FROM t ORDER BY id",
    "SELECT id, embed(image) FROM t ORDER BY id",
    "SELECT id FROM t WHERE similarity(image, 'blue') > 0.5 ORDER BY similarity(image, 'red') DESC, id LIMIT 7",
    "SELECT id, row_number() OVER (ORDER BY classify_score(image, 'red'), id) FROM t ORDER BY id",
    "SELECT red FROM (SELECT DISTINCT classify(image, 'red') AS red FROM t UNION ALL SELECT classify(image, 'blue') FROM t WHERE id = 1) ORDER BY red",
];

/// A session with a Parquet table `t`: tables in memory cannot be shipped.
pub(crate) async fn session(folder: &std::path::Path) -> Fake {
    let fake = Fake::new(1);
    let path = folder.join("t.parquet");
    if !path.exists() {
        let batches = {
            let source = Fake::new(1);
            source.add_table("t", &images(30));
            source.run("SELECT * FROM t").await.0
        };
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batches[0].schema(), None).unwrap();
        for batch in &batches {
            writer.write(batch).unwrap();
        }
        writer.close().unwrap();
    }
    fake.context
        .register_parquet("t", path.to_str().unwrap(), Default::default())
        .await
        .unwrap();
    fake
}

/// The plan without what DataFusion's scan keeps to itself.
fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
    let text = displayable(plan.as_ref()).indent(true).to_string();
    let lines = text.lines().map(|line| match line.find("DataSourceExec") {
        Some(at) => &line[..at],
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes a table in memory as its name, which the reader looks up.
struct Names(SessionContext);

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl LogicalExtensionCodec for Names {
    fn try_decode(&self, _: &[u8], _: &[LogicalPlan], _: &TaskContext) -> Result<Extension> {
        plan_err!("tables only")
    }

    fn try_encode(&self, _: &Extension, _: &mut Vec<u8>) -> Result<()> {
        plan_err!("tables only")
    }

    fn try_decode_table_provider(
        &self,
        _: &[u8],
        table: &TableReference,
        _: SchemaRef,
        _: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let catalog = self.0.catalog("datafusion").unwrap();
        let schema = catalog.schema("public").unwrap();
        let table = schema.table(table.table()).now_or_never().unwrap()?;
        Ok(table.unwrap())
    }

    fn try_encode_table_provider(
        &self,
        _: &TableReference,
        _: Arc<dyn TableProvider>,
        _: &mut Vec<u8>,
    ) -> Result<()> {
        Ok(())
    }
}

impl Fake {
    /// Asserts that the query's optimized plan is the same after it was written and read; every query of the tests goes
    /// through here.
    pub(crate) fn survives_the_way(&self, frame: &DataFrame, query: &str) {
        let plan = frame.clone().into_optimized_plan().unwrap();
        if plan.display_indent().to_string().contains("EmptyRelation") {
            // DataFusion does not write its columns, so that nothing above it can be read.
            return;
        }
        let codec = InferCodec::new(Arc::clone(&self.engine))
            .with_logical(Arc::new(Names(self.context.clone())));
        let bytes = logical_plan_to_bytes_with_extension_codec(&plan, &codec).unwrap();
        let context = self.context.task_ctx();
        let read = logical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec).unwrap();
        assert_eq!(without_fetch(&read), without_fetch(&plan), "{query}");
    }
}

/// The plan without the limit of its scans, which DataFusion does not write; the limit's own node is.
fn without_fetch(plan: &LogicalPlan) -> String {
    let text = plan.display_indent().to_string();
    let lines = text.lines().map(|line| match line.find(", fetch=") {
        Some(at) if line.contains("TableScan") => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_survives_the_way() {
    let folder = tempfile::tempdir().unwrap();
    for query in QUERIES {
        let here = session(folder.path()).await;
        let there = session(folder.path()).await;
        let (send, receive) = (
            InferCodec::new(Arc::clone(&here.engine)),
            InferCodec::new(Arc::clone(&there.engine)),
        );
        let expected = pretty_format_batches(&here.run(query).await.0)
            .unwrap()
            .to_string();

        let frame = here.context.sql(query).await.unwrap();
        let logical = frame.clone().into_optimized_plan().unwrap();
        let bytes = logical_plan_to_bytes_with_extension_codec(&logical, &send).unwrap();
        let read = logical_plan_from_bytes_with_extension_codec(
            &bytes,
            &there.context.task_ctx(),
            &receive,
        )
        .unwrap();
        assert_eq!(
            read.display_indent().to_string(),
            logical.display_indent().to_string(),
            "{query}"
        );

        let physical = frame.create_physical_plan().await.unwrap();
        let bytes =
            physical_plan_to_bytes_with_extension_codec(Arc::clone(&physical), &send).unwrap();
        let read = physical_plan_from_bytes_with_extension_codec(
            &bytes,
            &there.context.task_ctx(),
            &receive,
        )
        .unwrap();
        assert_eq!(shown(&read), shown(&physical), "{query}");
        let batches = collect(read, there.context.task_ctx()).await.unwrap();
        let found = pretty_format_batches(&batches).unwrap().to_string();
        assert_eq!(found, expected, "{query}");
        assert!(there.encoded() > 0 || query.contains("md5"), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_not_gathered_yet_survives_too() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (session(folder.path()).await, session(folder.path()).await);
    let plan = here
        .context
        .sql("SELECT id, classify(image, 'red') AS red FROM t ORDER BY id")
        .await
        .unwrap()
        .into_unoptimized_plan();
    let send = InferCodec::new(Arc::clone(&here.engine));
    let receive = InferCodec::new(Arc::clone(&there.engine));
    let bytes = logical_plan_to_bytes_with_extension_codec(&plan, &send).unwrap();
    let read =
        logical_plan_from_bytes_with_extension_codec(&bytes, &there.context.task_ctx(), &receive)
            .unwrap();
    let frame = there.context.execute_logical_plan(read).await.unwrap();
    let batches = frame.collect().await.unwrap();
    assert_eq!(batches.iter().map(|b| b.num_rows()).sum::<usize>(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_plan_are_an_error() {
    let fake = Fake::with_images(1);
    let codec = InferCodec::new(Arc::clone(&fake.engine));
    for bytes in [&b""[..], b"nonsense", b"picsift.infer.1:\xff\xff"] {
        let context = fake.context.task_ctx();
        assert!(LogicalExtensionCodec::try_decode(&codec, bytes, &[], &context).is_err());
    }
}

/// Corrections are this process's: a plan that went elsewhere without them would answer otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_corrections_stays_here() {
    let folder = tempfile::tempdir().unwrap();
    drop(session(folder.path()).await);
    let one = ("a.jpg".to_string(), "red".to_string(), true);
    let fake = Fake::with(
        1,
        EngineOptions {
            corrections: Some(Arc::new(Corrections::new([one]))),
            ..EngineOptions::default()
        },
    );
    let path = folder.path().join("t.parquet");
    fake.context
        .register_parquet("t", path.to_str().unwrap(), Default::default())
        .await
        .unwrap();
    let frame = fake.context.sql(QUERIES[0]).await.unwrap();
    let codec = InferCodec::new(Arc::clone(&fake.engine));
    let logical = frame.clone().into_optimized_plan().unwrap();
    let error = logical_plan_to_bytes_with_extension_codec(&logical, &codec).unwrap_err();
    assert!(error.to_string().contains("corrections"), "{error}");
    let physical = frame.create_physical_plan().await.unwrap();
    let error = physical_plan_to_bytes_with_extension_codec(physical, &codec).unwrap_err();
    assert!(error.to_string().contains("corrections"), "{error}");
}
