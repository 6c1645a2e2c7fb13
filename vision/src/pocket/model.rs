//! Both networks behind [`Model`], each read when it is first needed.

use crate::classes::{answered, classes, embedding, finite};
use crate::coco_ssd::{Detector, surest, union};
use crate::efficientnet::{Classifier, Seen};
use crate::error::VisionError;
use crate::model::{Answer, Job, Model, Question};
use crate::wordnet::ClassList;

use super::NAME;
use super::score::{Classified, score};
use super::views::{Parts, Squares};

/// Both networks, as far as they were needed.
#[derive(Default)]
pub(super) struct Pocket {
    classifier: Option<Classifier>,
    detector: Option<Detector>,
}

/// What a job is for each network: its square, and the things asked of the detector.
struct Asked {
    classifier: Option<Vec<u8>>,
    detector: Option<Vec<u16>>,
}

/// What the networks said of one image, as far as they were asked.
#[derive(Default)]
struct Said {
    seen: Option<Seen>,
    presences: Option<Vec<f32>>,
    /// The things that the presences are of.
    things: Vec<u16>,
}

/// Number of classes before COCO's.
fn first_thing() -> u16 {
    ClassList::ImageNet.count()
}

/// A question's classes of the classifier, and its things.
fn split(classes: &[u16]) -> (&[u16], Vec<u16>) {
    let (classes, things) = classes.split_at(classes.partition_point(|&c| c < first_thing()));
    (
        classes,
        things.iter().map(|thing| thing - first_thing()).collect(),
    )
}

/// Checks a job, and cuts its views up.
fn asked(job: &Job) -> Result<Asked, VisionError> {
    let count = first_thing() + ClassList::Coco.count();
    let mut things = Vec::new();
    for question in job.questions.iter() {
        if *question != Question::Embedding {
            things.push(split(classes(NAME, question, count)?).1);
        }
    }
    let parts = Parts::of(&job.questions);
    let squares = Squares { views: &job.views };
    let wrong = || VisionError::ImageSize {
        model: NAME.to_owned(),
        expected: "one of 224 x 224, one of 300 x 300, or two of 300 x 300, as its questions need,"
            .to_owned(),
        actual: format!(
            "{} x {} x {}",
            job.views.count(),
            job.views.side,
            job.views.side
        ),
    };
    let (classifier, detector) = (squares.classifier(), squares.detector());
    let shows_one = classifier.is_some() || detector.is_some();
    if !shows_one || (parts.detector && detector.is_none()) {
        return Err(wrong());
    }
    Ok(Asked {
        classifier: match parts.classifier {
            true => Some(classifier.ok_or_else(wrong)?),
            false => None,
        },
        detector: parts
            .detector
            .then(|| union(things.iter().map(Vec::as_slice))),
    })
}

impl Pocket {
    fn said(&mut self, jobs: &[&Job], asked: &[Asked]) -> Result<Vec<Said>, VisionError> {
        let mut said: Vec<Said> = jobs.iter().map(|_| Said::default()).collect();
        let crops: Vec<_> = asked.iter().map(|job| job.classifier.as_deref()).collect();
        if crops.iter().any(Option::is_some) {
            let classifier = match &mut self.classifier {
                Some(classifier) => classifier,
                none => none.insert(Classifier::read(NAME)?),
            };
            let squares: Vec<_> = crops.iter().copied().flatten().collect();
            let mut rows = classifier.see(&squares)?.into_iter();
            for (said, _) in said
                .iter_mut()
                .zip(&crops)
                .filter(|(_, crop)| crop.is_some())
            {
                said.seen = rows.next();
            }
        }
        let things = union(asked.iter().filter_map(|job| job.detector.as_deref()));
        if !things.is_empty() {
            let detector = match &mut self.detector {
                Some(detector) => detector,
                none => none.insert(Detector::read(NAME)?),
            };
            let wanted = jobs.iter().zip(asked).enumerate();
            let (places, squares): (Vec<_>, Vec<_>) = wanted
                .filter(|(_, (_, asked))| asked.detector.is_some())
                .filter_map(|(place, (job, _))| {
                    let squares = Squares { views: &job.views };
                    Some((place, squares.detector()?))
                })
                .unzip();
            let rows = detector.presences(&squares, &things)?;
            for (place, row) in places.into_iter().zip(rows) {
                said[place].presences = Some(row);
                said[place].things.clone_from(&things);
            }
        }
        Ok(said)
    }
}

impl Model for Pocket {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        let count = first_thing() + ClassList::Coco.count();
        answered(
            NAME,
            jobs,
            asked,
            |jobs, asked| self.said(jobs, asked),
            |job, said| {
                let seen = said.seen.as_ref();
                if let Some(seen) = seen {
                    finite(NAME, &seen.probabilities)?;
                }
                finite(NAME, said.presences.as_deref().unwrap_or_default())?;
                let one = |question: &Question| {
                    if *question == Question::Embedding {
                        return embedding(NAME, seen.map_or(&[], |seen| &seen.features));
                    }
                    let (classes, things) = split(classes(NAME, question, count)?);
                    let classified = match (seen, classes) {
                        (Some(seen), [_, ..]) => {
                            Some(Classified::of(&seen.probabilities, classes, &things)?)
                        }
                        _ => None,
                    };
                    let detected = match (&said.presences, &things[..]) {
                        (Some(presences), [_, ..]) => {
                            Some(surest(presences, &said.things, &things))
                        }
                        _ => None,
                    };
                    Ok(Answer::Score(score(classified, detected)))
                };
                job.questions.iter().map(one).collect()
            },
        )
    }
}
