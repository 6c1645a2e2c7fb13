//! Rows by chance, and what both models say of their images.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float32Array, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type, UInt32Type};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use picsift_udf::{InferenceQuota, Lessons, Losses, RunStats, lessons};
use picsift_vision::CategorySpec;
use serde::{Deserialize, Serialize};

use super::CheapModel;
use crate::batches;
use crate::cascade::draw::{Draw, Place};
use crate::error::AppError;
use crate::input::files::InputFile;
use crate::input::select::Rows;
use crate::label::prepare::PreparedJob;
use crate::options::ModelOptions;
use crate::tables::plain;

/// The rows of a job that are left, as [`crate::label::active::ActiveRun`] has them.
pub(super) type Left = [(usize, Vec<(InputFile, Rows)>)];

/// What both models say of a row, for each category that something is promised of; `None` where they say nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampledRow {
    /// Scores of the cheap model.
    pub cheap: Vec<Option<f32>>,
    /// Scores of the dear model.
    pub dear: Vec<Option<f32>>,
}

/// How many rows there are, and some of them by chance, in the order of the draw. No image is read but for a predicate that asks.
///
/// # Errors
/// When the input cannot be read.
pub(super) async fn draw(
    job: &PreparedJob,
    left: &Left,
    most: Option<usize>,
    seed: u64,
) -> Result<(u64, Vec<Place>), AppError> {
    let mut draw = Draw::new(seed);
    let mut may_take = most.unwrap_or(usize::MAX);
    for (source, files) in left {
        if may_take == 0 {
            break;
        }
        let source = &job.tables.sources[*source];
        let mut places = job.places_of(source, files.clone()).await?;
        while may_take > 0 {
            let Some(batch) = places.try_next().await.map_err(AppError::Run)? else {
                break;
            };
            let files = batch.column(0).as_primitive::<UInt32Type>().values();
            let rows = batch.column(1).as_primitive::<Int64Type>().values();
            for (file, row) in files.iter().zip(rows).take(may_take) {
                draw.push((*file, *row as u64));
            }
            may_take -= batch.num_rows().min(may_take);
        }
    }
    Ok(draw.finish())
}

/// What both models say of the images of these rows, of each file in its order. Of a category that the cheap model is yet to be taught it
/// says nothing.
///
/// # Errors
/// When rows cannot be read or a model not be had.
pub(super) async fn ask(
    job: &PreparedJob,
    cheap: &CheapModel,
    left: &Left,
    places: &[Place],
) -> Result<Vec<SampledRow>, AppError> {
    let own = job.columns.specs();
    let promised: Vec<usize> = cheap.promised().collect();
    let known: Vec<bool> = promised
        .iter()
        .map(|&place| !cheap.to_teach(place))
        .collect();
    let of_cheap = Wanted::scores("cheap", &cheap.options.cheap, &cheap.specs, {
        let both = promised.iter().zip(&known);
        both.filter(|(_, known)| **known).map(|(place, _)| *place)
    });
    let of_dear = Wanted::scores("dear", &job.options.model, &own, promised.iter().copied());
    let width = of_cheap.categories.len();
    let mut asked = Vec::with_capacity(places.len());
    for batch in read(job, left, places, &[of_cheap, of_dear]).await? {
        let columns = batch.columns().iter();
        let columns: Vec<&Float32Array> = columns
            .map(|column| column.as_primitive::<Float32Type>())
            .collect();
        let (cheap, dear) = columns.split_at(width);
        let of =
            |column: &Float32Array, row: usize| column.is_valid(row).then(|| column.value(row));
        for row in 0..batch.num_rows() {
            let mut scores = cheap.iter().map(|column| of(column, row));
            let cheap = known.iter().map(|known| match known {
                true => scores.next().flatten(),
                false => None,
            });
            asked.push(SampledRow {
                cheap: cheap.collect(),
                dear: dear.iter().map(|column| of(column, row)).collect(),
            });
        }
    }
    Ok(asked)
}

/// The cheap model's embeddings of the images of these rows, in the order of [`ask`]; `None` of an image that has none.
///
/// # Errors
/// As [`ask`].
pub(super) async fn embed(
    job: &PreparedJob,
    cheap: &CheapModel,
    left: &Left,
    places: &[Place],
) -> Result<Vec<Option<Vec<f32>>>, AppError> {
    let wanted = Wanted {
        embedding: Some(EMBEDDING.to_string()),
        ..Wanted::scores("cheap", &cheap.options.cheap, &[], std::iter::empty())
    };
    let mut all = Vec::with_capacity(places.len());
    for batch in read(job, left, places, &[wanted]).await? {
        let lists = batch.column(0).as_fixed_size_list();
        for row in 0..batch.num_rows() {
            all.push(lists.is_valid(row).then(|| {
                let list = lists.value(row);
                list.as_primitive::<Float32Type>().values().to_vec()
            }));
        }
    }
    Ok(all)
}

/// The column of embeddings.
const EMBEDDING: &str = "picsift_embedding";

/// What one of the models is asked, and the columns that come of it.
struct Wanted<'a> {
    model: &'a ModelOptions,
    embedding: Option<String>,
    categories: Vec<(CategorySpec, String)>,
}

impl<'a> Wanted<'a> {
    fn scores(
        which: &str,
        model: &'a ModelOptions,
        specs: &[CategorySpec],
        places: impl Iterator<Item = usize>,
    ) -> Self {
        let categories =
            places.map(|place| (specs[place].clone(), format!("picsift_{which}_{place}")));
        Self {
            model,
            embedding: None,
            categories: categories.collect(),
        }
    }

    fn columns(&self) -> impl Iterator<Item = &String> {
        let names = self.categories.iter().map(|(_, name)| name);
        self.embedding.iter().chain(names)
    }
}

/// What is wanted of the images of these rows, a column each.
async fn read(
    job: &PreparedJob,
    left: &Left,
    places: &[Place],
    wanted: &[Wanted<'_>],
) -> Result<Vec<RecordBatch>, AppError> {
    let mut by_file: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (file, row) in places {
        by_file.entry(*file).or_default().push(*row);
    }
    let mut all = Vec::new();
    for (source, files) in left {
        let chosen = files.iter().filter_map(|(file, _)| {
            let mut rows = by_file.remove(&file.id)?;
            rows.sort_unstable();
            Some((file.clone(), Rows::Only(rows.into())))
        });
        let chosen: Vec<_> = chosen.collect();
        if chosen.is_empty() {
            continue;
        }
        let source = &job.tables.sources[*source];
        let rows = job.chosen_rows(source, &chosen).await?;
        let (mut state, mut plan) = rows.into_parts();
        // What a sample costs is no part of what the rows cost; it is bounded by itself.
        state
            .config_mut()
            .set_extension(Arc::new(RunStats::default()));
        state
            .config_mut()
            .set_extension(Arc::new(Losses::default()));
        state
            .config_mut()
            .set_extension(Arc::new(InferenceQuota::default()));
        for one in wanted {
            let asked = Lessons {
                image: job.tables.image.clone(),
                base: source.base.clone(),
                digest: job.options.digest.clone(),
                model: one.model.name.clone(),
                load: one.model.load,
                embedding: one.embedding.clone(),
                categories: one.categories.clone(),
            };
            plan = lessons(&job.inference.engine, plan, &asked).map_err(AppError::Plan)?;
        }
        let columns = wanted.iter().flat_map(Wanted::columns);
        let columns: Vec<_> = columns.map(|name| plain(name)).collect();
        let frame = DataFrame::new(state, plan);
        let frame = frame.select(columns).map_err(AppError::Plan)?;
        let mut stream = batches::stream(frame).await.map_err(AppError::Run)?;
        while let Some(batch) = stream.try_next().await.map_err(AppError::Run)? {
            all.push(batch);
        }
    }
    Ok(all)
}
