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
use picsift_vision::Question;

use crate::functions::kernel::Kernel;
use crate::pipeline::base::{Base, Images, Placed};
use crate::pipeline::budget::Budget;
use crate::pipeline::carried::Carried;
use crate::pipeline::known::Known;
use crate::pipeline::origin::ReferenceOrigin;
use crate::pipeline::outcome::FailedImage;
use crate::pipeline::quota::Exhausted;
use crate::pipeline::{End, ImageOutputs, ImagePipeline, Named, RequestedOutputs};
use crate::plan::call::Cut;
use crate::plan::inference_group::InferenceGroup;
use crate::settings::OnError;

use super::cheap::Cheap;
use super::order::StageStats;

/// Column masks that are remembered: guards give a handful, unless a query is written to give more.
const MOST_MASKS: usize = 256;

/// A group while it runs in one stream.
pub(crate) struct Stage {
    pub(super) group: InferenceGroup<Arc<dyn PhysicalExpr>>,
    /// Place of the first answer in the operator's schema.
    pub(crate) first: usize,
    pub(super) pipeline: ImagePipeline,
    /// The cheap model that is asked first, where there is one.
    pub(super) cheap: Option<Cheap>,
    /// All questions of all columns, each once.
    pub(super) questions: Vec<Question>,
    /// For each column, where its answers stand in `questions`.
    pub(super) places: Vec<Vec<usize>>,
    /// The masks that were made, by the columns that they request.
    masks: Mutex<HashMap<Vec<bool>, Arc<ColumnMask>>>,
    pub(crate) stage_stats: Arc<StageStats>,
}

/// Some of the columns, and what they request of an image.
#[derive(Debug)]
pub(super) struct ColumnMask {
    pub(super) requested: RequestedOutputs,
    /// For each question of the stage, its place among those asked.
    pub(super) places: Vec<Option<usize>>,
    /// What the cheap model is asked before, by the same places; `None` where it decides nothing of them.
    pub(super) cheap: Option<Arc<ColumnMask>>,
}

/// The columns of a stage for a batch.
pub(crate) struct Answered {
    pub(crate) columns: Vec<ArrayRef>,
    /// The first row that could not be asked, with why.
    pub(crate) exhausted: Option<(usize, Exhausted)>,
}

/// What came of a row's image, and what was wanted of it.
pub(super) struct Looked {
    pub(super) mask: Arc<ColumnMask>,
    pub(super) outputs: ImageOutputs,
    /// For each question of the stage whether the cheap model answered it; empty where it answered none.
    pub(super) by_cheap: Vec<bool>,
}

pub(super) type Row = Option<Looked>;

/// The masks of rows; `None` of a row of which nothing is asked.
pub(super) type Masks = Vec<Option<Arc<ColumnMask>>>;

impl Stage {
    pub(crate) fn new(
        group: InferenceGroup<Arc<dyn PhysicalExpr>>,
        first: usize,
        pipeline: ImagePipeline,
        cheap: Option<(ImagePipeline, Arc<Budget>)>,
        stage_stats: Arc<StageStats>,
    ) -> Self {
        let (mut questions, mut places): (Vec<Question>, Vec<Vec<usize>>) = Default::default();
        let mut cuts: Vec<Option<Cut>> = Vec::new();
        let mut known: HashMap<&Question, Vec<usize>> = HashMap::new();
        for column in &group.columns {
            let own = column.call.questions().iter().enumerate();
            let own = own.map(|(index, question)| {
                let cheap = column.call.cheap.as_ref();
                let cut = cheap.and_then(|cheap| cheap.cuts.get(index)?.clone());
                // Of two categories that are one question each may have a band of its own.
                let same = known.entry(question).or_default();
                if let Some(place) = same.iter().find(|&&place| cuts[place] == cut) {
                    return *place;
                }
                questions.push(question.clone());
                cuts.push(cut);
                same.push(questions.len() - 1);
                questions.len() - 1
            });
            places.push(own.collect());
        }
        drop(known);
        let audit = group.cascade().map_or(0.0, |cascade| cascade.audit);
        let cheap = cheap.map(|(pipeline, carried)| Cheap::new(pipeline, carried, cuts, audit));
        Self {
            cheap,
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
        let cold = self.pipeline.is_cold()
            || (self.cheap.as_ref()).is_some_and(|cheap| cheap.pipeline.is_cold());
        let started = Instant::now();
        let Found {
            mut rows,
            exhausted,
            asked,
        } = match &self.cheap {
            Some(cheap) => self.cascaded(cheap, images, masks).await?,
            None => self.look(&self.pipeline, images, masks, &[]).await?,
        };
        // A batch that waited for a model to be loaded says nothing of what images cost.
        if !cold && asked > 0 {
            self.stage_stats.note_cost(asked, started.elapsed());
        }
        for (place, found) in rows.iter_mut().enumerate() {
            if let Some(found) = found {
                self.pipeline.tell(&found.outputs, names[place].as_deref());
            }
            self.check(found, || match &names[place] {
                Some(name) => format!("row {} ({name})", row(place)),
                None => format!("row {}", row(place)),
            })?;
            if let Some(found) = found
                && let Some(Err(error)) = &mut found.outputs.answers
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
    fn masks(&self, batch: &RecordBatch) -> Result<Masks> {
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
        let cheap = self.cheap.as_ref().and_then(|cheap| cheap.mask(&places));
        let mask = Arc::new(ColumnMask {
            requested,
            places,
            cheap,
        });
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
        pipeline: &ImagePipeline,
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
            let found = pipeline.known(&placed, &mask.requested).await?;
            for (row, found) in rows.into_iter().zip(found) {
                known[row] = found;
            }
            left = others;
        }
        Ok(known)
    }

    /// What a pipeline finds out about the images; what was fetched of them is `carried` from the first of two to the second.
    pub(super) async fn look(
        &self,
        pipeline: &ImagePipeline,
        images: Vec<Option<Placed>>,
        masks: Masks,
        carried: &[Carried],
    ) -> Result<Found> {
        let mut rows: Vec<Row> = images.iter().map(|_| None).collect();
        let mut exhausted: Option<(usize, Exhausted)> = None;
        let known = self.known(pipeline, &images, &masks).await.map_err(lost)?;
        let mut looks: FuturesUnordered<_> = images
            .into_iter()
            .zip(masks)
            .zip(known)
            .enumerate()
            .filter_map(|(place, ((image, mask), known))| {
                let (image, mask) = (image?, mask?);
                if let Some(Known::Outputs(outputs)) = known {
                    rows[place] = Some(Looked::new(mask, outputs));
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
                    carried: carried.get(place),
                };
                let outputs = pipeline.process(image, &mask.requested).await;
                (place, mask, outputs)
            })
            .collect();
        let asked = looks.len();
        while let Some((place, mask, outputs)) = looks.next().await {
            match outputs {
                Ok(outputs) => rows[place] = Some(Looked::new(mask, outputs)),
                Err(End::Exhausted(end)) => {
                    if exhausted.is_none_or(|(first, _)| place < first) {
                        exhausted = Some((place, end));
                    }
                }
                Err(end) => return Err(lost(end)),
            }
        }
        Ok(Found {
            rows,
            exhausted,
            asked,
        })
    }

    /// An error where an image failed and a call that wanted it stops for that.
    fn check(&self, row: &Row, name: impl Fn() -> String) -> Result<()> {
        let Some(Looked { outputs, .. }) = row else {
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
}

impl Looked {
    pub(super) fn new(mask: Arc<ColumnMask>, outputs: ImageOutputs) -> Self {
        Self {
            mask,
            outputs,
            by_cheap: Vec::new(),
        }
    }
}

/// What was found out about the rows of a batch.
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// The first row that could not be asked, with why.
    pub(super) exhausted: Option<(usize, Exhausted)>,
    /// Rows of which something had to be found out.
    pub(super) asked: usize,
}

/// The end of a run as the error of a query.
fn lost(end: End) -> DataFusionError {
    match end {
        End::Exhausted(end) => DataFusionError::External(Box::new(end)),
        End::Lost(error) => DataFusionError::External(Box::new(error)),
    }
}
