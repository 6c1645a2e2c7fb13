//! The columns of a stage: of each row's outputs, and what people said of it, the values of each call.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::common::{DataFusionError, Result};
use picsift_vision::{Answer, Embedding};

use super::stage::{Looked, Row, Stage};
use crate::functions::kernel::Kernel;
use crate::functions::labelling::RowPrediction;
use crate::pipeline::base::Placed;
use crate::pipeline::corrections::Corrections;
use crate::pipeline::image_key::ImageKey;
use crate::pipeline::outcome::{Outcome, RowError};
use crate::plan::call::{Call, CompiledQuestions};

impl Stage {
    /// What corrections call each row's image; empty where there are none.
    pub(super) async fn keys(
        &self,
        images: &[Option<Placed>],
        names: &[Option<String>],
    ) -> Vec<Option<ImageKey>> {
        let Some(corrections) = self.corrections() else {
            return Vec::new();
        };
        let mut keys = Vec::with_capacity(names.len());
        for (image, name) in images.iter().zip(names) {
            // Bytes are hashed only where a correction may mean them.
            keys.push(match name.is_some() || corrections.has_digests() {
                true => {
                    let image = image.as_ref().map(|placed| &placed.image);
                    self.pipeline.key(name.as_deref(), image).await
                }
                false => None,
            });
        }
        keys
    }

    /// What people said of images: the same for all columns, as it is the engine's.
    fn corrections(&self) -> Option<&Arc<Corrections>> {
        self.group.columns.first()?.call.corrections.as_ref()
    }

    /// A column's values for the rows, whose corrections have these keys.
    pub(super) fn column(
        &self,
        column: usize,
        rows: &[Row],
        keys: &[Option<ImageKey>],
    ) -> Result<ArrayRef> {
        let call = &self.group.columns[column].call;
        let each = rows.iter().map(|row| row.as_ref());
        match call.function.kernel() {
            Kernel::Bytes(kernel) => {
                let values: Vec<_> = each.map(|row| row?.outputs.bytes.clone()).collect();
                kernel(&values)
            }
            Kernel::Info(kernel) => {
                let values: Vec<_> = each.map(|row| row?.outputs.info.clone()).collect();
                kernel(&values)
            }
            Kernel::Scores(kernel) => {
                let CompiledQuestions::Labelling(labelling) = &call.compiled else {
                    return Err(unplanned(call));
                };
                let overrides = |place: usize| {
                    let corrections = self.corrections()?;
                    let key = keys.get(place)?.as_ref()?;
                    Some(corrections.said(key.as_str(), labelling.names()))
                };
                let values: Vec<RowPrediction> = each
                    .enumerate()
                    .map(|(place, row)| {
                        let scores =
                            row.and_then(|row| self.select_answers(column, row, Answer::score));
                        // Unrequested rows are NULL.
                        let overrides = scores.as_ref().and_then(|_| overrides(place));
                        let cheap = row.filter(|row| !row.by_cheap.is_empty());
                        let cheap = cheap.map(|row| {
                            let places = self.places[column].iter();
                            places.map(|&place| row.by_cheap[place]).collect()
                        });
                        RowPrediction::new(scores, overrides.unwrap_or_default())
                            .with_cheap(cheap.unwrap_or_default())
                    })
                    .collect();
                kernel(labelling, &values)
            }
            Kernel::Texts(kernel) => {
                let values: Vec<Outcome<String>> = each
                    .map(|row| {
                        let texts = self.select_answers(column, row?, |answer| {
                            answer.text().map(str::to_owned)
                        });
                        texts.map(|texts| texts.map(|texts| texts.concat()))
                    })
                    .collect();
                kernel(&values)
            }
            Kernel::Embeddings(kernel, width) => {
                let values: Vec<Outcome<Embedding>> = each
                    .map(|row| {
                        let one =
                            self.select_answers(column, row?, |answer| answer.embedding().cloned());
                        one.map(|one| one?.into_iter().next().ok_or_else(other_answer))
                    })
                    .collect();
                kernel(&values, width)
            }
        }
    }

    /// A row's answers to one column's questions; `None` where it was not asked them.
    fn select_answers<T>(
        &self,
        column: usize,
        Looked { mask, outputs, .. }: &Looked,
        value: impl Fn(&Answer) -> Option<T>,
    ) -> Outcome<Vec<T>> {
        let answers = match outputs.answers.as_ref()? {
            Ok(answers) => answers,
            Err(error) => return Some(Err(error.clone())),
        };
        let mut values = Vec::with_capacity(self.places[column].len());
        for &place in &self.places[column] {
            let answer = answers.get(mask.places[place]?);
            match answer.and_then(&value) {
                Some(value) => values.push(value),
                None => return Some(Err(other_answer())),
            }
        }
        Some(Ok(values))
    }
}

fn other_answer() -> RowError {
    RowError::model(
        "refused",
        "the model gave another kind of answer than it was asked for",
    )
}

fn unplanned(call: &Call) -> DataFusionError {
    datafusion::common::internal_datafusion_err!(
        "{} was planned without categories",
        call.function.name()
    )
}
