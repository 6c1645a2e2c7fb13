//! What callers notice of the service, with models that do as the test says.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use picsift_vision::{
    Answer, BatchAdvice, Category, Generation, InputGeometry, Job, Loaded, Model, ModelInfo,
    Preprocessor, Question, Questions, RgbImage, Service, ServiceOptions, Views, VisionError,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

struct NoQuestions;

impl Questions for NoQuestions {
    fn category(&self, _: &Category) -> Result<Question, VisionError> {
        Ok(Question::Classes([].into()))
    }

    fn open(&self, _: &str, _: Generation) -> Result<Question, VisionError> {
        Err(VisionError::CannotTalk {
            model: "test".to_owned(),
        })
    }
}

impl Preprocessor for NoQuestions {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        Views::square("test", image, 1)
    }
}

struct Scripted<F>(F);

impl<F: FnMut(&[Job]) -> Vec<Result<Vec<Answer>, VisionError>> + Send> Model for Scripted<F> {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        (self.0)(jobs)
    }
}

/// A model that answers as `model` does.
pub(crate) fn loaded<F>(model: F) -> Loaded
where
    F: FnMut(&[Job]) -> Vec<Result<Vec<Answer>, VisionError>> + Send + 'static,
{
    let info = ModelInfo {
        name: "test".to_owned(),
        revision: "1".to_owned(),
        licence: None,
        device: "cpu".to_owned(),
        dtype: "f32",
        crops: None,
        input: InputGeometry::CentreCrop {
            short_side: 1,
            size: 1,
        },
        default_threshold: 0.5,
        can_talk: false,
    };
    Loaded {
        info,
        questions: Arc::new(NoQuestions),
        preprocessor: Arc::new(NoQuestions),
        model: Box::new(Scripted(model)),
        batch: BatchAdvice::default(),
    }
}

fn start<F>(options: ServiceOptions, model: F) -> Result<Service, VisionError>
where
    F: FnMut(&[Job]) -> Vec<Result<Vec<Answer>, VisionError>> + Send + 'static,
{
    Service::start(loaded(model), options)
}

pub(crate) fn options(max_images: usize, max_views: usize, queue: usize) -> ServiceOptions {
    ServiceOptions {
        batch: Some(BatchAdvice {
            max_images,
            max_views,
        }),
        queue: Some(queue),
    }
}

/// Views that carry a number: `views` of one pixel, the number in the first byte.
pub(crate) fn image(number: u8, views: u32) -> Views {
    let mut data = vec![0; views as usize * 3];
    data[0] = number;
    Views {
        side: 1,
        grid: (1, views),
        data,
    }
}

pub(crate) fn question(class: u16) -> Question {
    Question::Classes([class].into())
}

/// Answers each question with image number * 100 + class.
pub(crate) fn echo(jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
    let answer = |job: &Job, question: &Question| match question {
        Question::Classes(classes) => {
            Answer::Score(f32::from(job.views.data[0]) * 100.0 + f32::from(classes[0]))
        }
        _ => unreachable!(),
    };
    jobs.iter()
        .map(|job| Ok(job.questions.iter().map(|q| answer(job, q)).collect()))
        .collect()
}

/// A model that reports the numbers of each batch, then waits for a sign before it answers.
struct Gate {
    batches: UnboundedReceiver<Vec<u8>>,
    go: Sender<()>,
}

impl Gate {
    async fn next(&mut self) -> Vec<u8> {
        self.batches.recv().await.unwrap()
    }
}

fn gated(options: ServiceOptions) -> (Service, Gate) {
    let (report, batches) = unbounded_channel();
    let (go, sign) = channel();
    let service = start(options, move |jobs| {
        report
            .send(jobs.iter().map(|job| job.views.data[0]).collect())
            .unwrap();
        sign.recv().unwrap();
        echo(jobs)
    });
    (service.unwrap(), Gate { batches, go })
}

pub(crate) type Pending = JoinHandle<Result<Vec<Answer>, VisionError>>;

/// Submits in order: each job is in the queue before the next one is sent.
pub(crate) async fn submit(service: &Service, number: u8, views: u32) -> Pending {
    let service = service.clone();
    let pending = tokio::spawn(async move {
        service
            .submit(image(number, views), [question(0)].into())
            .await
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    pending
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_questions() {
    let service = start(ServiceOptions::default(), echo).unwrap();
    let jobs = (0..50_u8).map(|number| {
        let service = service.clone();
        async move {
            let questions = [question(3), question(1), question(2)].into();
            let answers = service.submit(image(number, 1), questions).await.unwrap();
            let base = f32::from(number) * 100.0;
            assert_eq!(
                answers,
                [base + 3.0, base + 1.0, base + 2.0].map(Answer::Score)
            );
        }
    });
    let mut tasks = tokio::task::JoinSet::from_iter(jobs);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(service.stats().images, 50);
    assert!(service.stats().batches <= 50);
}

#[tokio::test]
async fn what_is_queued_runs_together_within_the_limits() {
    let (service, mut gate) = gated(options(3, 10, 16));
    let mut pending = vec![submit(&service, 0, 1).await];
    // A lone job does not wait for others.
    assert_eq!(gate.next().await, [0]);
    for (number, views) in [(1, 1), (2, 1), (3, 1), (4, 6), (5, 6), (6, 20), (7, 1)] {
        pending.push(submit(&service, number, views).await);
    }
    // Three by count, two that cost too much together, one that alone costs more than a batch may.
    for expected in [vec![1, 2, 3], vec![4], vec![5], vec![6], vec![7]] {
        gate.go.send(()).unwrap();
        assert_eq!(gate.next().await, expected);
    }
    gate.go.send(()).unwrap();
    for (number, pending) in pending.into_iter().enumerate() {
        let answers = pending.await.unwrap().unwrap();
        assert_eq!(answers, [Answer::Score(number as f32 * 100.0)]);
    }
    assert_eq!(service.stats().batches, 6);
    assert_eq!(service.stats().images, 8);
}

#[tokio::test]
async fn a_full_queue_makes_the_caller_wait_and_a_caller_that_leaves_is_skipped() {
    let (service, mut gate) = gated(options(1, 10, 1));
    let running = submit(&service, 1, 1).await;
    assert_eq!(gate.next().await, [1]);
    let leaving = submit(&service, 2, 1).await;
    let waiting = submit(&service, 3, 1).await;
    assert!(!leaving.is_finished() && !waiting.is_finished());
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());

    gate.go.send(()).unwrap();
    running.await.unwrap().unwrap();
    // The second job was withdrawn, so the model sees the third next.
    assert_eq!(gate.next().await, [3]);
    gate.go.send(()).unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(service.stats().images, 2);
}

#[tokio::test]
async fn a_panic_is_the_error_of_its_batch_and_the_service_goes_on() {
    let service = start(ServiceOptions::default(), |jobs| {
        assert!(jobs[0].views.data[0] != 13, "thirteen is too much");
        echo(jobs)
    })
    .unwrap();
    let ask = |number| service.submit(image(number, 1), [question(0)].into());
    let error = ask(13).await.unwrap_err().to_string();
    assert!(error.contains("thirteen is too much"), "{error}");
    assert_eq!(ask(1).await.unwrap(), [Answer::Score(100.0)]);
    assert_eq!(service.stats().panics, 1);
}

/// A gated model whose device holds `room` views at once.
fn cramped(room: usize) -> (Service, Gate) {
    let (report, batches) = unbounded_channel();
    let (go, sign) = channel();
    let service = start(options(8, 8, 64), move |jobs| {
        report
            .send(jobs.iter().map(|job| job.views.data[0]).collect())
            .unwrap();
        sign.recv().unwrap();
        if jobs.iter().map(|job| job.views.count()).sum::<usize>() <= room {
            return echo(jobs);
        }
        let out_of_memory = |job: &Job| VisionError::OutOfMemory {
            model: "test".to_owned(),
            device: "cpu".to_owned(),
            views: job.views.count(),
        };
        jobs.iter().map(|job| Err(out_of_memory(job))).collect()
    });
    (service.unwrap(), Gate { batches, go })
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_halved_and_later_ones_stay_small() {
    let (service, mut gate) = cramped(2);
    let mut pending = vec![submit(&service, 0, 1).await];
    assert_eq!(gate.next().await, [0]);
    // The sixth image does not fit even by itself.
    for number in 1..=9 {
        let views = if number == 6 { 3 } else { 1 };
        pending.push(submit(&service, number, views).await);
    }
    for expected in [
        vec![1, 2, 3, 4, 5, 6],
        vec![1, 2, 3, 4],
        vec![1, 2],
        vec![3, 4],
        vec![5],
        vec![6],
        vec![7, 8],
        vec![9],
    ] {
        gate.go.send(()).unwrap();
        assert_eq!(gate.next().await, expected);
    }
    gate.go.send(()).unwrap();
    for (number, pending) in pending.into_iter().enumerate() {
        let answers = pending.await.unwrap();
        if number == 6 {
            let error = answers.unwrap_err().to_string();
            assert!(error.contains("ran out of memory"), "{error}");
        } else {
            assert_eq!(answers.unwrap(), [Answer::Score(number as f32 * 100.0)]);
        }
    }
    let stats = service.stats();
    assert_eq!((stats.images, stats.batches, stats.halved), (10, 9, 2));
}

#[tokio::test]
async fn a_caller_that_leaves_is_skipped_when_its_batch_is_tried_again() {
    let (service, mut gate) = cramped(2);
    let first = submit(&service, 0, 1).await;
    assert_eq!(gate.next().await, [0]);
    let mut pending = Vec::new();
    for number in 1..=4 {
        pending.push(submit(&service, number, 1).await);
    }
    gate.go.send(()).unwrap();
    assert_eq!(gate.next().await, [1, 2, 3, 4]);
    for leaving in [1, 3] {
        pending[leaving].abort();
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    gate.go.send(()).unwrap();
    assert_eq!(gate.next().await, [1, 3]);
    gate.go.send(()).unwrap();
    first.await.unwrap().unwrap();
    for (index, pending) in pending.into_iter().enumerate() {
        match pending.await {
            Ok(answers) => assert_eq!(
                answers.unwrap(),
                [Answer::Score((index + 1) as f32 * 100.0)]
            ),
            Err(left) => assert!(left.is_cancelled() && [1, 3].contains(&index)),
        }
    }
    assert_eq!(service.stats().images, 3);
}

#[tokio::test]
async fn only_the_images_that_did_not_fit_are_asked_again() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let model = {
        let seen = Arc::clone(&seen);
        let mut first = true;
        move |jobs: &[Job]| {
            let numbers: Vec<u8> = jobs.iter().map(|job| job.views.data[0]).collect();
            // The first batch is one image that keeps the model busy while the others arrive.
            if std::mem::take(&mut first) {
                std::thread::sleep(Duration::from_millis(100));
            }
            let mut results = echo(jobs);
            if jobs.len() > 1 {
                for (result, number) in results.iter_mut().zip(&numbers) {
                    if number % 2 == 1 {
                        *result = Err(VisionError::OutOfMemory {
                            model: "test".to_owned(),
                            device: "cpu".to_owned(),
                            views: 1,
                        });
                    }
                }
            }
            seen.lock().unwrap().push(numbers);
            results
        }
    };
    let service = start(ServiceOptions::default(), model).unwrap();
    let mut pending = Vec::new();
    for number in 0..4 {
        pending.push(submit(&service, number, 1).await);
    }
    for pending in pending {
        pending.await.unwrap().unwrap();
    }
    assert_eq!(
        *seen.lock().unwrap(),
        [vec![0], vec![1, 2, 3], vec![1, 3], vec![1], vec![3]]
    );
}

#[tokio::test]
async fn a_batch_is_as_large_as_the_model_advises() {
    let (service, _gate) = gated(ServiceOptions::default());
    assert_eq!(service.batch(), BatchAdvice::default());
    let (service, _gate) = gated(options(2, 3, 1));
    assert_eq!(service.batch().max_views, 3);
}

#[tokio::test]
async fn a_model_that_miscounts_is_an_error_and_not_a_shifted_answer() {
    let service = start(ServiceOptions::default(), |_| Vec::new()).unwrap();
    let lost = service.submit(image(1, 1), [question(0)].into()).await;
    assert!(matches!(
        lost,
        Err(VisionError::AnswerCount { what: "jobs", .. })
    ));

    let service = start(ServiceOptions::default(), |jobs| {
        jobs.iter().map(|_| Ok(Vec::new())).collect()
    })
    .unwrap();
    let lost = service.submit(image(1, 1), [question(0)].into()).await;
    assert!(matches!(
        lost,
        Err(VisionError::AnswerCount {
            what: "questions",
            ..
        })
    ));
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle() {
    struct Farewell(Arc<Mutex<Option<tokio::sync::oneshot::Sender<()>>>>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            let _ = self.0.lock().unwrap().take().unwrap().send(());
        }
    }
    let (dropped, ended) = tokio::sync::oneshot::channel();
    let farewell = Farewell(Arc::new(Mutex::new(Some(dropped))));
    let service = start(ServiceOptions::default(), move |jobs| {
        let _held = &farewell;
        echo(jobs)
    })
    .unwrap();
    let clone = service.clone();
    drop(service);
    clone
        .submit(image(1, 1), [question(0)].into())
        .await
        .unwrap();
    drop(clone);
    tokio::time::timeout(Duration::from_secs(5), ended)
        .await
        .expect("the model is dropped with its thread")
        .unwrap();
}

#[test]
fn options_of_zero_are_refused_by_name() {
    for (option, options) in [
        ("max_images", options(0, 1, 1)),
        ("max_views", options(1, 0, 1)),
        ("queue", options(1, 1, 0)),
    ] {
        let error = start(options, echo).unwrap_err().to_string();
        assert!(error.contains(option), "{error}");
    }
}

#[tokio::test]
async fn a_lost_device_is_one_error_for_what_waits_and_for_what_comes() {
    let (report, mut batches) = unbounded_channel();
    let (go, sign) = channel::<()>();
    let service = start(options(2, 10, 16), move |jobs| {
        report.send(jobs.len()).unwrap();
        sign.recv().unwrap();
        let lost = VisionError::DeviceLost {
            model: "test".to_owned(),
            device: "cuda:0".to_owned(),
            reason: "ERROR_ILLEGAL_ADDRESS".to_owned(),
        };
        match jobs[0].views.data[0] {
            0 => echo(jobs),
            _ => jobs.iter().map(|_| Err(lost.clone())).collect(),
        }
    });
    let service = service.unwrap();
    let first = submit(&service, 0, 1).await;
    assert_eq!(batches.recv().await, Some(1));
    let mut pending = Vec::new();
    for number in 1..8 {
        pending.push(submit(&service, number, 1).await);
    }
    go.send(()).unwrap();
    assert_eq!(batches.recv().await, Some(2));
    go.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
    for pending in pending {
        let error = pending.await.unwrap().unwrap_err();
        assert!(matches!(error, VisionError::DeviceLost { .. }), "{error}");
    }
    let later = service.submit(image(9, 1), [question(0)].into()).await;
    let error = later.unwrap_err();
    assert!(
        error.ends_all() && error.to_string().contains("cuda:0"),
        "{error}"
    );
    assert_eq!(service.stats().batches, 2);
}
