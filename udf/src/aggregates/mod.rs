//! The SQL aggregates that judge answers: names, documentation, arguments, and what of two columns they sum up.
//!
//! The figures are [`crate::metrics`]'s. A row counts where truth and answer are both known; the others are left out, and
//! `left_out` and `confusion` say how many they were. States merge in any order, so that a plan may sum up parts anywhere.

mod answers;
mod left_out;
mod mean;
mod ranked;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BooleanArray, Float64Array};
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, Signature,
    TypeSignature, Volatility,
};

/// What is summed up, and the figure that is read off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    Answers(answers::Figure),
    Ranked(ranked::Figure),
    Brier,
    LeftOut,
}

/// An aggregate over truth and answer or score.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    figure: Figure,
    signature: Signature,
    documentation: Documentation,
}

impl Metric {
    fn new(name: &'static str, figure: Figure, description: &str) -> Self {
        let with = |data_type| TypeSignature::Exact(vec![DataType::Boolean, data_type]);
        let (second, types, meaning, column) = match figure {
            Figure::Answers(_) => (
                "predicted",
                with(DataType::Boolean),
                "BOOLEAN: what was answered.",
                "is_dog",
            ),
            Figure::Ranked(_) | Figure::Brier => (
                "score",
                with(DataType::Float64),
                "The model's score, 0 to 1.",
                "score_dog",
            ),
            Figure::LeftOut => (
                "answer",
                TypeSignature::OneOf([DataType::Boolean, DataType::Float64].map(with).into()),
                "BOOLEAN: what was answered, or the model's score.",
                "score_dog",
            ),
        };
        let example = format!(
            "```sql\nSELECT collection, {name}(truth, {column}) FROM 'labelled/' GROUP BY collection;\n```"
        );
        let section = DocSection {
            include: true,
            label: "Evaluation Functions",
            description: None,
        };
        let documentation =
            Documentation::builder(section, description, format!("{name}(truth, {second})"))
                .with_sql_example(example)
                .with_argument("truth", "BOOLEAN: whether the category holds.")
                .with_argument(second, meaning)
                .build();
        Self {
            name,
            figure,
            signature: Signature::new(types, Volatility::Immutable),
            documentation,
        }
    }
}

/// One of each name: that says all.
impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Metric {}

impl Hash for Metric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for Metric {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.figure {
            Figure::Answers(figure) => figure.data_type(),
            Figure::Ranked(_) | Figure::Brier => DataType::Float64,
            Figure::LeftOut => DataType::Int64,
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!(
                "{}(DISTINCT ...) is not defined: every row counts",
                self.name
            );
        }
        Ok(match self.figure {
            Figure::Answers(figure) => Box::new(answers::Answers::new(figure)),
            Figure::Ranked(figure) => Box::new(ranked::Ranked::new(self.name, figure)),
            Figure::Brier => Box::new(mean::Brier::default()),
            Figure::LeftOut => Box::new(left_out::LeftOut::default()),
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(match self.figure {
            Figure::Answers(_) => answers::state_fields(args.name),
            Figure::Ranked(_) => ranked::state_fields(args.name),
            Figure::Brier => mean::state_fields(args.name),
            Figure::LeftOut => left_out::state_fields(args.name),
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// All of them, made once: their documentation is asked for by reference.
static ALL: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
    use answers::Figure as Of;
    [
        (
            "precision",
            Figure::Answers(Of::Precision),
            "Share of the rows answered yes that are true. NULL when none was. Rows where truth or answer is NULL are left out.",
        ),
        (
            "recall",
            Figure::Answers(Of::Recall),
            "Share of the true rows that were answered yes. NULL when none is true. Rows where truth or answer is NULL are left out.",
        ),
        (
            "f1",
            Figure::Answers(Of::F1),
            "Harmonic mean of precision and recall. NULL when no row is true or answered yes. Rows where truth or answer is NULL are left out.",
        ),
        (
            "balanced_accuracy",
            Figure::Answers(Of::BalancedAccuracy),
            "Mean of the shares of true rows answered yes and of false rows answered no. NULL unless there are both. Rows where truth or answer is NULL are left out.",
        ),
        (
            "confusion",
            Figure::Answers(Of::Counts),
            "STRUCT<true_positive, false_positive, false_negative, true_negative, left_out> of BIGINT: rows by truth and answer; left out are those where one of them is NULL.",
        ),
        (
            "average_precision",
            Figure::Ranked(ranked::Figure::AveragePrecision),
            "Area under the curve of precision over recall, as a sum over the distinct scores. NULL when no row is true. Rows where truth or score is NULL are left out.",
        ),
        (
            "roc_auc",
            Figure::Ranked(ranked::Figure::RocAuc),
            "Probability that a true row has a higher score than a false one, ties counting half. NULL unless there are both. Rows where truth or score is NULL are left out.",
        ),
        (
            "brier",
            Figure::Brier,
            "Mean squared difference of score and truth, 0 the best. NULL without rows; scores must lie within 0 to 1. Rows where truth or score is NULL are left out.",
        ),
        (
            "left_out",
            Figure::LeftOut,
            "BIGINT: rows where truth or answer is NULL, which the other aggregates leave out.",
        ),
    ]
    .into_iter()
    .map(|(name, figure, description)| {
        Arc::new(AggregateUDF::new_from_impl(Metric::new(
            name,
            figure,
            description,
        )))
    })
    .collect()
});

/// All aggregates that SQL has.
pub(crate) fn all() -> Vec<Arc<AggregateUDF>> {
    ALL.clone()
}

/// The two arguments of an aggregate over scores.
fn truth_and_scores<'a>(
    name: &str,
    values: &'a [Arc<dyn Array>],
) -> Result<(&'a BooleanArray, &'a Float64Array)> {
    match values {
        [truth, scores] => Ok((truth.as_boolean(), scores.as_primitive::<Float64Type>())),
        _ => exec_err!("{name} takes truth and score"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::all;

    #[test]
    fn names_are_unique_and_documented_with_an_example() {
        let names: HashSet<_> = all().iter().map(|f| f.name().to_string()).collect();
        assert_eq!(names.len(), all().len());
        for function in all() {
            let doc = function.documentation().unwrap();
            assert!(doc.syntax_example.starts_with(function.name()));
            let example = doc.sql_example.as_deref().unwrap();
            assert!(example.contains(&format!("{}(truth", function.name())));
        }
    }
}
