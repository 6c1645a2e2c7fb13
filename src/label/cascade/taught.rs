//! Categories that the cheap model does not know by itself: it is taught what the dear one says of the first sample.
//!
//! The second sample, by which thresholds are found, teaches nothing, so that what they promise holds of a head like of any other score.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picsift_udf::EngineError;
use picsift_vision::learn::{Examples, FEWEST, Labels, teach_one};
use picsift_vision::{Head, heads};

use super::CheapModel;
use super::sample::SampledRow;
use crate::disk;
use crate::error::AppError;

/// Teaches what is to be taught by these rows with their embeddings. The rows get, as the cheap model's scores, what heads say that they took
/// no part in.
///
/// # Errors
/// [`AppError::Usage`] where a category has too few rows of either kind.
pub(super) async fn teach(
    cheap: &CheapModel,
    rows: &mut [SampledRow],
    embeddings: &[Option<Vec<f32>>],
) -> Result<CheapModel, AppError> {
    let mut taught = cheap.clone();
    let Some(model) = cheap.model.head_model() else {
        return Ok(taught);
    };
    let promised: Vec<usize> = cheap.promised().collect();
    for (at, place) in promised.into_iter().enumerate() {
        if !cheap.to_teach(place) {
            continue;
        }
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
        let (called, model) = (name.clone(), model.clone());
        let learnt = disk::blocking(move || {
            let learnt = teach_one(&called, &model, &examples, &Labels::new(truth, None));
            learnt.map_err(|error| AppError::Engine(EngineError::Model(error)))
        });
        let Some((head, said)) = learnt.await? else {
            return Err(AppError::Usage(format!(
                "--cascade {} does not know '{name}', and among {} rows by chance are too few pictures to teach it: at least {FEWEST} that \
                 the dear model says yes to, and as many that it does not; teach it with picsift teach and give --heads",
                cheap.options.cheap.name,
                of.len()
            )));
        };
        for (row, said) in of.into_iter().zip(said) {
            rows[row].cheap[at] = Some(said);
        }
        taught.specs[place].category.head = Some(head);
    }
    Ok(taught)
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
