//! Categories that the cheap model does not know by itself, or knows worse: it is taught what the dear one says of the first sample.
//!
//! The second sample, by which thresholds are found, teaches nothing, so that what they promise holds of a head like of any other score.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picsift_udf::EngineError;
use picsift_vision::learn::{Examples, FEWEST, Labels, teach_one};
use picsift_vision::{Head, heads};

use super::CheapModel;
use super::calibrate::{Asking, judged as judged_rows};
use super::sample::SampledRow;
use crate::cascade::draw::Place;
use crate::cascade::size;
use crate::disk;
use crate::error::AppError;
use crate::label::prepare::PreparedJob;

/// The smallest part of the rows that a taught score leaves open, against the cheap model's own, for it to take that one's place.
const BETTER: f64 = 0.8;

/// How many times the rows that taught the dear model would be asked about, before more of them are tried.
const WORTH: f64 = 4.0;

/// Largest part of all rows that teaches.
const MOST_PART: usize = 8;

/// What was taught by the first rows of the draw.
struct Lesson {
    cheap: CheapModel,
    /// The rows, with what heads that they took no part in say of them in the place of the cheap model's scores.
    rows: Vec<SampledRow>,
    /// Share of them that is left open.
    open: f64,
}

/// Teaches what is to be taught by the first `first` places, and by twice as many as long as that pays: while the rows that are left open
/// are many more than those that taught, and the last that were added spared more than they cost. What is decided here is decided by rows
/// that no threshold is found by. How many rows taught; the known ones get scores as `Lesson` has them.
///
/// # Errors
/// [`AppError::Usage`] where a category has too few rows of either kind to be taught; as [`Asking::ask`].
pub(super) async fn learn(
    asking: &mut Asking<'_>,
    places: &[Place],
    known: &mut Vec<SampledRow>,
    mut first: usize,
) -> Result<(CheapModel, usize), AppError> {
    let (job, cheap) = (asking.job, asking.cheap);
    let mut embeddings = asking.embed(&places[..first]).await?;
    let mut lesson = teach(job, cheap, &known[..first], &embeddings).await?;
    loop {
        let more = first * 2;
        let affordable = cheap
            .options
            .max_asked
            .is_none_or(|most| more as u64 <= most / 2);
        let worth = lesson.open * places.len() as f64 > WORTH * first as f64;
        if !affordable || !worth || more > places.len() / MOST_PART {
            break;
        }
        asking.ask(&places[..more], known).await?;
        embeddings.extend(asking.embed(&places[first..more]).await?);
        let next = teach(job, cheap, &known[..more], &embeddings).await?;
        let spared = (lesson.open - next.open) * places.len() as f64;
        let paid = spared > (more - first) as f64;
        (lesson, first) = (next, more);
        if !paid {
            break;
        }
    }
    known.splice(..first, lesson.rows);
    Ok((lesson.cheap, first))
}

/// Teaches by these rows with their embeddings what the cheap model does not know, and what it then knows much better than by itself.
async fn teach(
    job: &PreparedJob,
    cheap: &CheapModel,
    rows: &[SampledRow],
    embeddings: &[Option<Vec<f32>>],
) -> Result<Lesson, AppError> {
    let (mut taught, mut rows) = (cheap.clone(), rows.to_vec());
    for (at, place) in cheap.promised().enumerate() {
        let must = cheap.to_teach(place);
        // What somebody has taught it is as they want it.
        let Some(model) = cheap
            .head_model()
            .filter(|_| must || cheap.specs[place].category.head.is_none())
        else {
            continue;
        };
        let mut examples = Examples::new(model.width);
        let (mut of, mut truth) = (Vec::new(), Vec::new());
        for (row, embedding) in embeddings.iter().enumerate() {
            if let (Some(embedding), Some(said)) = (embedding, rows[row].dear[at])
                && examples.push_vector(embedding)
            {
                of.push(row);
                truth.push(said);
            }
        }
        let name = cheap.specs[place].category.name.clone();
        let called = name.clone();
        let learnt = disk::blocking(move || {
            let learnt = teach_one(&called, &model, &examples, &Labels::new(truth, None));
            learnt.map_err(|error| AppError::Engine(EngineError::Model(error)))
        });
        let Some((head, said)) = learnt.await? else {
            if !must {
                continue;
            }
            return Err(AppError::Usage(format!(
                "--cascade {} does not know '{name}', and among {} rows by chance are too few pictures to teach it: at least {FEWEST} that \
                 the dear model says yes to, and as many that it does not; teach it with picsift teach and give --heads",
                cheap.options.cheap.name,
                of.len()
            )));
        };
        let mut judged = rows.clone();
        judged.iter_mut().for_each(|row| row.cheap[at] = None);
        for (row, said) in of.into_iter().zip(said) {
            judged[row].cheap[at] = Some(said);
        }
        let promise = &cheap.promises[place];
        let open = |rows: &[SampledRow]| size::unsure(&judged_rows(job, rows, at, place), promise);
        if must || open(&judged) <= BETTER * open(&rows) {
            rows = judged;
            taught.taught[place] = true;
            taught.specs[place].category.head = Some(head);
        }
    }
    Ok(Lesson {
        open: left_open(job, &taught, &rows),
        cheap: taught,
        rows,
    })
}

/// Share of the rows of which some category is left open by thresholds that keep the promises just on them.
fn left_open(job: &PreparedJob, cheap: &CheapModel, rows: &[SampledRow]) -> f64 {
    let bands = cheap
        .promised()
        .enumerate()
        .map(|(at, place)| size::band(&judged_rows(job, rows, at, place), &cheap.promises[place]));
    let bands: Vec<(f32, f32)> = bands.collect();
    let open = rows.iter().filter(|row| {
        let mut each = row.cheap.iter().zip(&bands);
        each.any(|(score, (low, high))| score.is_none_or(|score| score >= *low && score < *high))
    });
    open.count() as f64 / rows.len().max(1) as f64
}

/// A head as text, for journals and manifests.
pub(super) fn write(head: &Head) -> Option<String> {
    let bytes = heads::to_bytes(std::slice::from_ref(head), "a cascade's first sample")?;
    Some(STANDARD.encode(bytes))
}

/// The head of such a text.
pub(super) fn read(text: &str) -> Option<Head> {
    let bytes = STANDARD.decode(text).ok()?;
    heads::parse(&bytes).ok()?.into_iter().next()
}
