//! One image from its bytes or reference to what was requested of it, where no earlier run and no neighbour knows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use picsift_images::{Fetch, Fetched, Geometry, Prepared, similarity_hash};
use picsift_vision::{InputGeometry, RgbImage};

use crate::pipeline::budget::MemoryPermit;
use crate::pipeline::carried::Carried;
use crate::pipeline::checked::Digest;
use crate::pipeline::image_column::ImageSource;
use crate::pipeline::known::Known;
use crate::pipeline::memory_cache::{Answers, Content};
use crate::pipeline::origin::ReferenceOrigin;
use crate::pipeline::outcome::RowError;
use crate::pipeline::persistent_cache::{Before, blocking};
use crate::pipeline::quota::QuotaPermit;

use super::{
    End, ImageOutputs, ImagePipeline, Named, PipelineError, QuestionSet, RequestedOutputs,
};

impl ImagePipeline {
    pub(super) async fn fetch_and_infer(
        &self,
        image: Named<'_>,
        requested: &RequestedOutputs,
        reserved: QuotaPermit<'_>,
    ) -> Result<ImageOutputs, End> {
        let failed = |error: RowError| ImageOutputs {
            bytes: requested.bytes.then(|| Err(error.clone())),
            info: requested.info.then(|| Err(error.clone())),
            answers: requested.answers.is_some().then_some(Err(error)),
        };
        let address = address(&image.source, image.origin, requested);
        let folder = image.origin.folder();
        let opened = self.open(image, requested, address.as_deref());
        let (image, mut held) = match opened.await {
            Ok(Opened::Image(fetched, held)) => (fetched, held),
            Ok(Opened::Known(answers)) => {
                return Ok(ImageOutputs {
                    answers: Some(Ok(answers)),
                    ..ImageOutputs::default()
                });
            }
            Err(error) => return Ok(failed(error.beside(folder))),
        };
        let bytes = image.bytes;
        let mut outputs = ImageOutputs {
            bytes: requested.bytes.then(|| Ok(bytes.clone())),
            ..ImageOutputs::default()
        };
        if requested.info {
            let info = self.engine.pool().info(bytes.clone()).await;
            outputs.info = Some(info.map_err(RowError::from));
        }
        let Some(asked) = &requested.answers else {
            return Ok(outputs);
        };
        let predicted = match self.answers(bytes, asked, held.as_mut(), reserved).await {
            Ok(predicted) => predicted,
            Err(PipelineError::Row(error)) => {
                outputs.answers = Some(Err(error));
                return Ok(outputs);
            }
            Err(PipelineError::All(end)) => return Err(end),
        };
        if let (Some(kept), Some(address), Some(version)) = (&asked.kept, address, &image.version) {
            kept.keep_reference(address, version, predicted.content, predicted.similarity)
                .await;
        }
        outputs.answers = Some(Ok(predicted.answers));
        Ok(outputs)
    }

    /// The encoded image with what of the budget it holds, or the answers of one that is known not to have changed.
    async fn open(
        &self,
        image: Named<'_>,
        requested: &RequestedOutputs,
        address: Option<&str>,
    ) -> Result<Opened, RowError> {
        let Named {
            source: image,
            origin,
            digest,
            known,
            carried,
        } = image;
        let ImageSource::Reference(reference) = &image else {
            let fetched = self.engine.load(image, origin).await?;
            self.check(digest.as_ref(), &fetched.bytes).await?;
            // They are counted with their batch.
            self.stats.note_bytes(fetched.bytes.len(), None);
            return Ok(Opened::Image(fetched, None));
        };
        let before = match known {
            Some(Known::Before(before)) => Some(before),
            Some(Known::Outputs(_) | Known::Nothing) => None,
            None => self.before(requested, address).await,
        };
        let came = carried.filter(|_| !self.cheap).and_then(Carried::take);
        // Of an image that is known nothing will be read, most likely.
        let guess = match (&before, &came) {
            (_, Some((fetched, _))) => fetched.bytes.len(),
            (Some(_), None) => 0,
            (None, None) => self.fetched_bytes.load(Ordering::Relaxed),
        };
        let mut held = match &self.budget {
            Some(budget) => Some(budget.hold(guess.max(1)).await),
            None => None,
        };
        if let Some((fetched, _)) = came {
            // It was checked and counted when it was fetched.
            return match before {
                Some(before) if fetched.version.as_ref() == Some(&before.version) => {
                    Ok(Opened::Known(self.reused(before, digest.as_ref())?))
                }
                _ => Ok(Opened::Image(fetched, held)),
            };
        }
        let started = Instant::now();
        let place = || place(reference, origin);
        let fetched = match before {
            None => {
                let loaded = self.engine.load(image.clone(), origin).await;
                let came = loaded.as_ref().map(|fetched| fetched.bytes.len());
                self.stats
                    .note_fetch(place, came.map_err(|error| error.kind()));
                loaded?
            }
            Some(before) => {
                let folder = origin.folder();
                let fetch = (self.engine).load_if_changed(reference, folder, &before.version);
                let fetch = fetch.await;
                let came = fetch.as_ref().map(|fetch| match fetch {
                    Fetch::Changed(fetched) => fetched.bytes.len(),
                    Fetch::Unchanged => 0,
                });
                self.stats
                    .note_fetch(place, came.map_err(|error| error.kind()));
                match fetch? {
                    Fetch::Changed(fetched) => fetched,
                    Fetch::Unchanged => {
                        return Ok(Opened::Known(self.reused(before, digest.as_ref())?));
                    }
                }
            }
        };
        let size = fetched.bytes.len();
        self.stats.note_bytes(size, Some(started.elapsed()));
        // A mean that follows what comes, a sixteenth of the way each time.
        let mean = self.fetched_bytes.load(Ordering::Relaxed);
        let mean = mean - mean / 16 + size / 16;
        self.fetched_bytes.store(mean.max(1), Ordering::Relaxed);
        if let Some(held) = &mut held {
            held.resize(size);
        }
        self.check(digest.as_ref(), &fetched.bytes).await?;
        if let Some(carried) = carried.filter(|_| self.cheap) {
            carried.leave(&fetched);
        }
        Ok(Opened::Image(fetched, held))
    }

    /// What the reference at this address gave, where nobody has looked yet.
    async fn before(&self, requested: &RequestedOutputs, address: Option<&str>) -> Option<Before> {
        let asked = requested.answers.as_ref()?;
        let kept = asked
            .kept
            .as_ref()
            .filter(|_| !requested.bytes && !requested.info)?;
        let (kept, address) = (Arc::clone(kept), Some(address?.to_string()));
        let looked = blocking(move || kept.before(&[address]).pop()?);
        looked.await?
    }

    /// Compares an image with the digest that its table has of it.
    async fn check(&self, digest: Option<&Digest>, bytes: &Bytes) -> Result<(), RowError> {
        let Some(digest) = digest else {
            return Ok(());
        };
        digest.check(&self.engine.pool().hash(bytes.clone()).await?)
    }

    async fn answers(
        &self,
        bytes: Bytes,
        asked: &QuestionSet,
        held: Option<&mut MemoryPermit>,
        reserved: QuotaPermit<'_>,
    ) -> Result<Prediction, PipelineError> {
        let Some(model) = &self.model else {
            return Err(PipelineError::Row(RowError::model(
                "refused",
                "there is no model to ask",
            )));
        };
        let content: Content = self.engine.pool().hash(bytes.clone()).await?;
        let predicted = |answers: Answers, similarity| Prediction {
            answers,
            content,
            similarity,
        };
        let place = match self.engine.answers().find(content, asked.id).await {
            Ok(answers) => {
                self.note_reuse();
                self.stats.note_judged(&content, None);
                return Ok(predicted(answers, None));
            }
            Err(place) => place,
        };
        let found = match &asked.kept {
            Some(kept) => Some(kept.find(content).await),
            None => None,
        };
        if let Some(found) = &found
            && let Some(answers) = found.all()
        {
            self.note_reuse();
            self.stats.note_judged(&content, found.similarity);
            let _ = place.insert(Arc::clone(&answers));
            return Ok(predicted(answers, found.similarity));
        }
        let open = asked.kept.as_ref().zip(found.as_ref());
        let open = open.map(|(kept, found)| kept.open(found));
        // Before the reservation is taken: how long a model takes to load is not of the time that a run may ask.
        let started = model.started().await;
        let service = started.map_err(|error| PipelineError::All(End::Lost(error)))?;
        reserved
            .take()
            .map_err(|end| PipelineError::All(end.into()))?;
        let questions = match &open {
            Some(open) => Arc::clone(&open.questions),
            None => Arc::clone(&asked.questions),
        };
        let preprocessor = service.preprocessor();
        let inputs = preprocessor.inputs(&questions);
        let inputs = inputs.unwrap_or_else(|| vec![service.info().input]);
        let geometries: Vec<Geometry> = inputs.iter().copied().map(geometry).collect();
        let Prepared {
            value: (views, similarity),
            decode_time,
        } = self
            .engine
            .pool()
            .prepare_each(bytes, geometries, move |pixels| {
                let similarity = pixels.first().map_or(0, similarity_hash);
                let images = pixels.into_iter().map(|pixels| RgbImage {
                    width: pixels.width,
                    height: pixels.height,
                    data: pixels.data,
                });
                let views = preprocessor.views_of(inputs.into_iter().zip(images).collect());
                (views, similarity)
            })
            .await?;
        self.stats.note_decoded(decode_time);
        self.stats.note_judged(&content, Some(similarity));
        let views = views?;
        if let Some(held) = held {
            // The encoded image is gone by now.
            held.resize(views.data.len());
        }
        let started = Instant::now();
        let _turn = match self.engine.share() {
            Some(share) => Some(model.turn(share).await),
            None => None,
        };
        let answers = service.submit(views, questions).await;
        self.note_asked(started.elapsed());
        let new = answers.map_err(|error| match error.ends_all() {
            true => PipelineError::All(End::Lost(error)),
            false => PipelineError::Row(error.into()),
        })?;
        let answers = match (&asked.kept, open, found) {
            (Some(kept), Some(open), Some(found)) => {
                kept.keep(content, open, new.clone(), similarity).await;
                let all = found.with(new.into_iter());
                all.ok_or_else(|| RowError::model("refused", "the model left a question open"))?
            }
            _ => Answers::from(new),
        };
        // The cache may have no room for it; then the next one asks again.
        let _ = place.insert(Arc::clone(&answers));
        Ok(predicted(answers, Some(similarity)))
    }
}

/// Where an image is, as an audit has it: without credentials, and of one that its reference holds only that.
fn place(reference: &str, origin: ReferenceOrigin<'_>) -> String {
    match picsift_images::resolve(reference, origin.folder()) {
        Ok(url) => picsift_images::shown(url.as_str()),
        Err(_) => picsift_images::shown(reference),
    }
}

/// What identifies a reference of a table whose answers are kept.
fn address(
    image: &ImageSource,
    origin: ReferenceOrigin<'_>,
    requested: &RequestedOutputs,
) -> Option<String> {
    requested.answers.as_ref()?.kept.as_ref()?;
    match (image, origin) {
        (ImageSource::Bytes(_), _) | (_, ReferenceOrigin::Person) => None,
        (ImageSource::Reference(reference), origin) => {
            let address = picsift_images::resolve(reference, origin.folder());
            address.ok().map(String::from)
        }
    }
}

/// What came of opening an image.
enum Opened {
    Image(Fetched, Option<MemoryPermit>),
    Known(Answers),
}

/// The answers about an image, and what is known of it now.
struct Prediction {
    answers: Answers,
    content: Content,
    similarity: Option<u64>,
}

fn geometry(input: InputGeometry) -> Geometry {
    match input {
        InputGeometry::CentreCrop { short_side, size } => Geometry::CentreCrop { short_side, size },
        InputGeometry::Within { side } => Geometry::Within { side },
        // A model of the second kind says itself what it needs; of all pixels it can make anything.
        InputGeometry::Full | InputGeometry::PerQuestion => Geometry::Full,
    }
}
