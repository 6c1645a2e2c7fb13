//! The images of many rows that need not be opened, found out together.
//!
//! Of a reference whose file has not changed all answers may be kept. One look for each would cost more than the answer: so a
//! batch of rows is looked up at once, on one thread, and what is left goes its own way ([`super::ImagePipeline::process`]).

use std::sync::Arc;

use picsift_vision::Answer;

use crate::pipeline::base::{Folder, Placed};
use crate::pipeline::checked::Digest;
use crate::pipeline::image_column::ImageSource;
use crate::pipeline::outcome::RowError;
use crate::pipeline::persistent_cache::{Before, blocking};
use crate::pipeline::{End, ImageOutputs, ImagePipeline, QuestionSet, RequestedOutputs};

/// What is known of an image before it is opened.
pub(crate) enum Known {
    /// All that is requested.
    Outputs(ImageOutputs),
    /// What its reference gave before, which may have changed since.
    Before(Before),
    /// Nothing: there is no need to look again.
    Nothing,
}

impl ImagePipeline {
    /// What is known of each of these images, of which all this is requested; `None` for an image of which nobody looked.
    ///
    /// # Errors
    /// [`End`] where answers that follow from kept ones cannot be made.
    pub(crate) async fn known(
        &self,
        images: &[&Placed],
        requested: &RequestedOutputs,
    ) -> Result<Vec<Option<Known>>, End> {
        let nobody = || images.iter().map(|_| None).collect();
        let Some(asked) = &requested.answers else {
            return Ok(nobody());
        };
        let Some(kept) = &asked.kept else {
            return Ok(nobody());
        };
        if requested.bytes || requested.info {
            return Ok(nobody());
        }
        let (kept, engine) = (Arc::clone(kept), Arc::clone(&self.engine));
        let references: Vec<Option<(String, Folder)>> = images
            .iter()
            .map(|placed| match &placed.image {
                ImageSource::Reference(text) => Some((text.clone(), placed.folder.clone())),
                ImageSource::Bytes(_) => None,
            })
            .collect();
        if references.iter().all(Option::is_none) {
            return Ok(nobody());
        }
        let looked = blocking(move || {
            let addresses: Vec<Option<String>> = references
                .iter()
                .map(|reference| {
                    let (text, folder) = reference.as_ref()?;
                    let address = picsift_images::resolve(text, folder.as_deref());
                    address.ok().map(String::from)
                })
                .collect();
            let before = kept.before(&addresses);
            let unchanged = engine.unchanged_files(&references, &before);
            let known = addresses.into_iter().zip(before).zip(unchanged);
            known
                .map(|((a, b), c)| (a.is_some(), b, c))
                .collect::<Vec<_>>()
        });
        let Some(looked) = looked.await else {
            return Ok(nobody());
        };
        let mut known = Vec::with_capacity(images.len());
        for (placed, (has_address, before, unchanged)) in images.iter().zip(looked) {
            known.push(match before {
                Some(before) if unchanged => {
                    let digest = placed.digest.as_ref();
                    Some(Known::Outputs(self.unopened(before, digest, asked).await?))
                }
                Some(before) => Some(Known::Before(before)),
                None => has_address.then_some(Known::Nothing),
            });
        }
        Ok(known)
    }

    /// The answers about an image that is as it was.
    async fn unopened(
        &self,
        before: Before,
        digest: Option<&Digest>,
        asked: &QuestionSet,
    ) -> Result<ImageOutputs, End> {
        let answers = self.reused(before, digest);
        let answers = match (answers, &asked.compared) {
            (Ok(answers), Some(compared)) => compared.answers(&answers).await?,
            (answers, _) => answers,
        };
        let outputs = ImageOutputs {
            answers: Some(answers),
            ..ImageOutputs::default()
        };
        self.note(&outputs);
        Ok(outputs)
    }

    /// The kept answers about an image that is as it was, if it is what its table says.
    ///
    /// # Errors
    /// The row's failure, where it has another digest.
    pub(super) fn reused(
        &self,
        before: Before,
        digest: Option<&Digest>,
    ) -> Result<Arc<[Answer]>, RowError> {
        if let Some(digest) = digest {
            digest.check(&before.content)?;
        }
        self.note_reuse();
        self.stats.note_judged(&before.content, before.similarity);
        Ok(before.answers)
    }
}
