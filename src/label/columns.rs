//! Which columns a job writes: the table's, the answers', and which of them become folders.

use arrow::datatypes::{Schema, SchemaRef};
use picsift_udf::{AddedColumns, Labelling, ModelHandle, is_binary, output_schema};
use picsift_vision::CategorySpec;
use picsift_vision::categories::JobCategory;

use super::embedded;
use super::options::LabelOptions;
use crate::error::AppError;
use crate::output::huggingface;

/// The columns of a job's output.
pub struct OutputColumns {
    /// The categories in the order of their columns.
    pub categories: Vec<JobCategory>,
    /// They as the model is asked about them.
    pub labelling: Labelling,
    /// Names of the added columns.
    pub added: AddedColumns,
    /// Schema of a labelled batch: the table's columns and metadata, then the added columns.
    pub schema: SchemaRef,
    /// Columns that become folders.
    pub partition_by: Vec<String>,
    /// Columns that are left out.
    pub dropped: Vec<String>,
}

impl OutputColumns {
    /// The columns of a table with these `categories`, whose images are in the column `image`.
    ///
    /// # Errors
    /// When the model does not know a category, names clash, or a column cannot be a folder.
    pub fn new(
        model: &ModelHandle,
        categories: Vec<JobCategory>,
        options: &LabelOptions,
        table: &SchemaRef,
        image: &str,
    ) -> Result<Self, AppError> {
        let specs: Vec<_> = specs(&categories);
        let labelling =
            Labelling::new(model, &specs, options.categories.threshold).map_err(AppError::Plan)?;
        let names: Vec<_> = categories.iter().map(|c| c.column.clone()).collect();
        let corrected = options.corrections.is_some();
        let embedded = options.embedding.then_some(model);
        let added = AddedColumns::new(&names, table, corrected, embedded);
        let added = match options.answered_by {
            false => added,
            true => added.and_then(|added| added.with_answered_by(labelling.names(), table)),
        };
        let added = added.map_err(AppError::Plan)?;
        let schema = output_schema(table, &added);
        let dropped = match options.keep_images {
            true => Vec::new(),
            false => vec![image.to_string()],
        };
        let partition_by = partition_columns(&options.partition_by, &schema, &added)?;
        let folders = partition_by.iter().filter(|name| **name != added.label);
        let absent: Vec<String> = folders.chain(&dropped).cloned().collect();
        let schema = huggingface::with_features(&schema, &added.fields(), &absent);
        let schema = match options.embed {
            true => embedded::schema(&schema, image, &absent),
            false => schema,
        };
        Ok(Self {
            categories,
            labelling,
            added,
            schema,
            partition_by,
            dropped,
        })
    }

    /// The categories as a query asks for them.
    pub fn specs(&self) -> Vec<CategorySpec> {
        specs(&self.categories)
    }
}

fn specs(categories: &[JobCategory]) -> Vec<CategorySpec> {
    categories
        .iter()
        .map(|category| category.spec.clone())
        .collect()
}

fn partition_columns(
    asked: &[String],
    schema: &Schema,
    added: &AddedColumns,
) -> Result<Vec<String>, AppError> {
    let added_names: Vec<_> = added
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let mut columns = Vec::new();
    for name in asked {
        // 'label' means the answer even where the table's own column of that name made it move aside.
        let name = if name == "label" { &added.label } else { name };
        let Some((_, field)) = schema.column_with_name(name) else {
            let table: Vec<_> = schema
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .filter(|n| !added_names.iter().any(|a| a == n))
                .collect();
            return Err(AppError::Usage(format!(
                "--partition-by: there is no column '{name}'; the columns are {}, and label",
                table.join(", ")
            )));
        };
        if added_names.contains(name) && *name != added.label {
            return Err(AppError::Usage(format!(
                "--partition-by: '{name}' is an answer; only the table's own columns and 'label' can be folders"
            )));
        }
        if field.data_type().is_nested() || is_binary(field.data_type()) {
            return Err(AppError::Usage(format!(
                "--partition-by: column '{name}' is {}, which cannot be a folder's name",
                field.data_type()
            )));
        }
        if columns.contains(name) {
            return Err(AppError::Usage(format!(
                "--partition-by: '{name}' is given twice"
            )));
        }
        columns.push(name.clone());
    }
    Ok(columns)
}
