//! Tables of small pictures, and queries over them whose images are counted.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::sanity_checker::SanityCheckPlan;
use datafusion::physical_plan::execution_plan::InvariantLevel;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use crate::fake::{Fake, png};
use crate::stock;

/// The colour of image `i`: red where even, blue where divisible by three, and no two alike.
pub(crate) fn colour(i: usize) -> [u8; 3] {
    let even = if i.is_multiple_of(2) { 250 } else { 5 };
    let blue = if i.is_multiple_of(3) { 200 } else { 50 };
    [
        even,
        (i % 128) as u8,
        u8::wrapping_add(blue, (i / 128) as u8),
    ]
}

/// A table of `id` and `image`, in the partitions' order; `None` is a NULL image.
pub(crate) fn table(rows: &[(i64, Option<Vec<u8>>)], partitions: usize) -> MemTable {
    let batch = |rows: &[(i64, Option<Vec<u8>>)]| {
        let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let images = BinaryArray::from_iter(rows.iter().map(|row| row.1.as_deref()));
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("image", Arc::new(images))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap()
    };
    let schema = batch(&[]).schema();
    let share = rows.len().div_ceil(partitions).max(1);
    let mut parts: Vec<Vec<RecordBatch>> = rows
        .chunks(share)
        .map(|part| part.chunks(64).map(batch).collect())
        .collect();
    parts.resize(partitions, Vec::new());
    MemTable::try_new(schema, parts).unwrap()
}

pub(crate) fn images(count: usize) -> Vec<(i64, Option<Vec<u8>>)> {
    (0..count)
        .map(|i| (i as i64, Some(png(colour(i)))))
        .collect()
}

/// How many rows there are in all.
pub(crate) fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// What DataFusion checks of plans, order and distribution among it, holds of this one.
fn is_sane(plan: &Arc<dyn ExecutionPlan>, config: &ConfigOptions) {
    SanityCheckPlan::new()
        .optimize(Arc::clone(plan), config)
        .unwrap();
    plan.apply(|node| {
        node.check_invariants(InvariantLevel::Executable)?;
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
}

impl Fake {
    /// With a table `t` of so many images, ids 0 and up.
    pub(crate) fn with_images(count: usize) -> Self {
        let fake = Self::new(1);
        fake.add_table("t", &images(count));
        stock::register(&fake);
        fake
    }

    pub(crate) fn add_table(&self, name: &str, rows: &[(i64, Option<Vec<u8>>)]) {
        self.context
            .register_table(name, Arc::new(table(rows, 1)))
            .unwrap();
    }

    /// Changes a setting of the session: `name = value`.
    pub(crate) async fn set(&self, setting: &str) {
        self.context.sql(&format!("SET {setting}")).await.unwrap();
    }

    /// The result of a query and how many images the model was shown for it.
    pub(crate) async fn run(&self, query: &str) -> (Vec<RecordBatch>, usize) {
        let before = self.encoded();
        let frame = self.context.sql(query).await.unwrap();
        if !query.contains("stock_red") {
            self.survives_the_way(&frame, query);
        }
        let plan = frame.clone().create_physical_plan().await.unwrap();
        is_sane(&plan, frame.task_ctx().session_config().options());
        let batches = frame.collect().await.unwrap();
        (batches, self.encoded() - before)
    }

    /// The physical plan of a query as EXPLAIN shows it.
    pub(crate) async fn explained(&self, query: &str) -> String {
        let frame = self.context.sql(query).await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }

    /// The result as text and the number of images.
    pub(crate) async fn text(&self, query: &str) -> (String, usize) {
        let (batches, images) = self.run(query).await;
        (pretty_format_batches(&batches).unwrap().to_string(), images)
    }
}
