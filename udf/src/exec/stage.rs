//! One inference group of the operator on one batch: which rows are asked what, and the columns that come of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use picsift_images::shown;
use picsift_vision::{Answer, Embedding, Question};

use crate::functions::kernel::Kernel;
use crate::functions::labelling::RowPrediction;
use crate::pipeline::base::{Base, Images, Placed};
use crate::pipeline::corrections::Corrections;
use crate::pipeline::image_key::ImageKey;
use crate::pipeline::known::Known;
use crate::pipeline::origin::ReferenceOrigin;
use crate::pipeline::outcome::{FailedImage, Outcome, RowError};
use crate::pipeline::quota::Exhausted;
use crate::pipeline::{End, ImageOutputs, ImagePipeline, Named, RequestedOutputs};
use crate::plan::call::{Call, CompiledQuestions};
use crate::plan::inference_group::InferenceGroup;
use crate::settings::OnError;

use super::order::StageStats;

/// Column masks that are remembered: guards give a handful, unless a query is written to give more.
const MOST_MASKS: usize = 256;

/// A group while it runs in one stream.
pub(crate) struct Stage {
    group: InferenceGroup<Arc<dyn PhysicalExpr>>,
    /// Place of the first answer in the operator's schema.
    pub(crate) first: usize,
    pipeline: ImagePipeline,
    /// All questions of all columns, each once.
    questions: Vec<Question>,
    /// For each column, where its answers stand in `questions`.
    places: Vec<Vec<usize>>,
    /// The masks that were made, by the columns that they request.
    masks: Mutex<HashMap<Vec<bool>, Arc<ColumnMask>>>,
    pub(crate) stage_stats: Arc<StageStats>,
}

/// Some of the columns, and what they request of an image.
#[derive(Debug)]
struct ColumnMask {
    requested: RequestedOutputs,
    /// For each question of the stage, its place among those asked.
    places: Vec<Option<usize>>,
}

/// The columns of a stage for a batch.
pub(crate) struct Answered {
    pub(crate) columns: Vec<ArrayRef>,
    /// The first row that could not be asked, with why.
    pub(crate) exhausted: Option<(usize, Exhausted)>,
}

/// A row's images and what was wanted of it.
type Row = Option<(Arc<ColumnMask>, ImageOutputs)>;

impl Stage {
    pub(crate) fn new(
        group: InferenceGroup<Arc<dyn PhysicalExpr>>,
        first: usize,
        pipeline: ImagePipeline,
        stage_stats: Arc<StageStats>,
    ) -> Self {
        let (mut questions, mut places): (Vec<Question>, Vec<Vec<usize>>) = Default::default();
        let mut known: HashMap<&Question, usize> = HashMap::new();
        for column in &group.columns {
            let own = column.call.questions().iter().map(|question| {
                *known.entry(question).or_insert_with(|| {
                    questions.push(question.clone());
                    questions.len() - 1
                })
            });
            places.push(own.collect());
        }
        drop(known);
        Self {
            group,
            first,
            pipeline,
            questions,
            places,
            masks: Mutex::default(),
            stage_stats,
        }
    }

    /// The operator's columns that must be there before this stage runs.
    pub(crate) fn reads(&self) -> Vec<usize> {
        let expressions = self.group.expressions();
        expressions
            .flat_map(collect_columns)
            .map(|column| column.index())
            .collect()
    }

    /// The columns that it makes.
    pub(crate) fn makes(&self) -> std::ops::Range<usize> {
        self.first..self.first + self.group.columns.len()
    }

    /// Asks about the rows of a batch; `row` names the batch's row in an error.
    ///
    /// # Errors
    /// Where an image failed and a call's `on_error` is `fail`; where a guard or image cannot be evaluated; whatever
    /// `on_error` says, where the model answers nothing more.
    pub(crate) async fn run(
        &self,
        batch: &RecordBatch,
        row: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<Answered> {
        let masks = self.masks(batch)?;
        let (images, names) = self.images(batch, &masks)?;
        let keys = self.keys(&images, &names).await;
        let (mut rows, exhausted) = self.look(images, masks).await?;
        for (place, outputs) in rows.iter_mut().enumerate() {
            if let Some((_, outputs)) = outputs {
                self.pipeline.tell(outputs, names[place].as_deref());
            }
            self.check(outputs, || match &names[place] {
                Some(name) => format!("row {} ({name})", row(place)),
                None => format!("row {}", row(place)),
            })?;
            if let Some((
                _,
                ImageOutputs {
                    answers: Some(Err(error)),
                    ..
                },
            )) = outputs
            {
                error.reference = names[place].as_deref().map(|name| shown(name).into());
            }
        }
        let columns = (0..self.group.columns.len())
            .map(|column| self.column(column, &rows, &keys))
            .collect::<Result<_>>()?;
        Ok(Answered { columns, exhausted })
    }

    /// For each row the columns that are asked for it; `None` where none is.
    fn masks(&self, batch: &RecordBatch) -> Result<Vec<Option<Arc<ColumnMask>>>> {
        let rows = batch.num_rows();
        let columns = &self.group.columns;
        if columns.iter().all(|column| column.guard.is_none()) {
            let all = self.mask(vec![true; columns.len()]);
            return Ok(vec![Some(all); rows]);
        }
        let mut wanted = vec![vec![true; columns.len()]; rows];
        for (index, column) in columns.iter().enumerate() {
            let Some(guard) = &column.guard else { continue };
            let holds = guard.evaluate(batch)?.into_array(rows)?;
            let holds = holds.as_boolean();
            for (row, wanted) in wanted.iter_mut().enumerate() {
                wanted[index] = holds.is_valid(row) && holds.value(row);
            }
        }
        Ok(wanted
            .into_iter()
            .map(|wanted| wanted.contains(&true).then(|| self.mask(wanted)))
            .collect())
    }

    fn mask(&self, columns: Vec<bool>) -> Arc<ColumnMask> {
        let mut made = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mask) = made.get(&columns) {
            return Arc::clone(mask);
        }
        let (mut requested, mut asked) = (RequestedOutputs::default(), Vec::new());
        let mut places = vec![None; self.questions.len()];
        for (index, column) in self.group.columns.iter().enumerate() {
            if !columns[index] {
                continue;
            }
            match column.call.function.kernel() {
                Kernel::Bytes(_) => requested.bytes = true,
                Kernel::Info(_) => requested.info = true,
                Kernel::Scores(_) | Kernel::Texts(_) | Kernel::Embeddings(..) => {}
            }
            for &place in &self.places[index] {
                if places[place].is_none() {
                    places[place] = Some(asked.len());
                    asked.push(self.questions[place].clone());
                }
            }
        }
        if !asked.is_empty() {
            requested.answers = Some(self.pipeline.questions(asked.into()));
        }
        let mask = Arc::new(ColumnMask { requested, places });
        if made.len() >= MOST_MASKS {
            made.clear();
        }
        made.insert(columns, Arc::clone(&mask));
        mask
    }

    /// The images of the rows that are asked, and what the table calls them; no others' are evaluated.
    fn images(&self, batch: &RecordBatch, masks: &[Option<Arc<ColumnMask>>]) -> Result<Images> {
        let rows = batch.num_rows();
        let asked: Vec<bool> = masks.iter().map(Option::is_some).collect();
        if asked.iter().all(|asked| *asked) {
            let column = self.group.image.evaluate(batch)?.into_array(rows)?;
            return self.base().images(&column);
        }
        let count = asked.iter().filter(|asked| **asked).count();
        if count == 0 {
            return Ok((vec![None; rows], vec![None; rows]));
        }
        let selected = arrow::compute::filter_record_batch(batch, &asked.clone().into())?;
        let column = self.group.image.evaluate(&selected)?.into_array(count)?;
        let (images, names) = self.base().images(&column)?;
        let mut found = images.into_iter().zip(names);
        let spread = asked.into_iter().map(|asked| match asked {
            true => found.next().unwrap_or_default(),
            false => (None, None),
        });
        Ok(spread.unzip())
    }

    /// Where the references belong: the same for all columns, or they were not in one group.
    fn base(&self) -> &Base {
        let first = self.group.columns.first();
        first.map_or(&Base::Here, |column| &column.call.spec.base)
    }

    /// What is known of the rows' images without opening them; rows that request the same are looked up together.
    async fn known(
        &self,
        images: &[Option<Placed>],
        masks: &[Option<Arc<ColumnMask>>],
    ) -> std::result::Result<Vec<Option<Known>>, End> {
        let mut known: Vec<Option<Known>> = images.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..images.len()).collect();
        while let Some(mask) = left.iter().find_map(|&row| masks[row].as_ref()) {
            let same = |row: &usize| {
                masks[*row]
                    .as_ref()
                    .is_some_and(|other| Arc::ptr_eq(other, mask))
            };
            let (rows, others): (Vec<_>, Vec<_>) = left.iter().copied().partition(same);
            let placed = rows
                .iter()
                .filter_map(|&row| Some((row, images[row].as_ref()?)));
            let (rows, placed): (Vec<_>, Vec<_>) = placed.unzip();
            let found = self.pipeline.known(&placed, &mask.requested).await?;
            for (row, found) in rows.into_iter().zip(found) {
                known[row] = found;
            }
            left = others;
        }
        Ok(known)
    }

    async fn look(
        &self,
        images: Vec<Option<Placed>>,
        masks: Vec<Option<Arc<ColumnMask>>>,
    ) -> Result<(Vec<Row>, Option<(usize, Exhausted)>)> {
        let mut rows: Vec<Row> = images.iter().map(|_| None).collect();
        let mut exhausted: Option<(usize, Exhausted)> = None;
        let cold = self.pipeline.is_cold();
        let started = Instant::now();
        let known = self.known(&images, &masks).await.map_err(lost)?;
        let mut looks: FuturesUnordered<_> = images
            .into_iter()
            .zip(masks)
            .zip(known)
            .enumerate()
            .filter_map(|(place, ((image, mask), known))| {
                let (image, mask) = (image?, mask?);
                if let Some(Known::Outputs(outputs)) = known {
                    rows[place] = Some((mask, outputs));
                    return None;
                }
                Some((place, image, mask, known))
            })
            .map(|(place, placed, mask, known)| async move {
                let origin = ReferenceOrigin::Query(placed.folder.as_ref());
                let image = Named {
                    source: placed.image,
                    origin,
                    digest: placed.digest,
                    known,
                };
                let outputs = self.pipeline.process(image, &mask.requested).await;
                (place, mask, outputs)
            })
            .collect();
        let count = looks.len();
        while let Some((place, mask, outputs)) = looks.next().await {
            match outputs {
                Ok(outputs) => rows[place] = Some((mask, outputs)),
                Err(End::Exhausted(end)) => {
                    if exhausted.is_none_or(|(first, _)| place < first) {
                        exhausted = Some((place, end));
                    }
                }
                Err(end) => return Err(lost(end)),
            }
        }
        // A batch that waited for a model to be loaded says nothing of what images cost.
        if !cold && count > 0 {
            self.stage_stats.note_cost(count, started.elapsed());
        }
        Ok((rows, exhausted))
    }

    /// An error where an image failed and a call that wanted it stops for that.
    fn check(&self, row: &Row, name: impl Fn() -> String) -> Result<()> {
        let Some((_, outputs)) = row else {
            return Ok(());
        };
        for column in &self.group.columns {
            let call = &column.call;
            if call.spec.on_error != OnError::Fail || call.function.tells_errors() {
                continue;
            }
            let error = match call.function.kernel() {
                Kernel::Bytes(_) => outputs.bytes.as_ref().and_then(|b| b.as_ref().err()),
                Kernel::Info(_) => outputs.info.as_ref().and_then(|i| i.as_ref().err()),
                Kernel::Scores(_) | Kernel::Texts(_) | Kernel::Embeddings(..) => {
                    outputs.answers.as_ref().and_then(|a| a.as_ref().err())
                }
            };
            if let Some(error) = error {
                return Err(DataFusionError::External(Box::new(FailedImage {
                    name: name(),
                    error: error.clone(),
                })));
            }
        }
        Ok(())
    }

    /// What corrections call each row's image; empty where there are none.
    async fn keys(
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
    fn column(&self, column: usize, rows: &[Row], keys: &[Option<ImageKey>]) -> Result<ArrayRef> {
        let call = &self.group.columns[column].call;
        let each = rows.iter().map(|row| row.as_ref());
        match call.function.kernel() {
            Kernel::Bytes(kernel) => {
                let values: Vec<_> = each.map(|row| row?.1.bytes.clone()).collect();
                kernel(&values)
            }
            Kernel::Info(kernel) => {
                let values: Vec<_> = each.map(|row| row?.1.info.clone()).collect();
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
                        RowPrediction::new(scores, overrides.unwrap_or_default())
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
        (mask, outputs): &(Arc<ColumnMask>, ImageOutputs),
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

/// The end of a run as the error of a query.
fn lost(end: End) -> DataFusionError {
    match end {
        End::Exhausted(end) => DataFusionError::External(Box::new(end)),
        End::Lost(error) => DataFusionError::External(Box::new(error)),
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
