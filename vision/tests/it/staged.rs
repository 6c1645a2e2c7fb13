//! What callers notice of a model whose views are made ready ahead of their batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use picsift_vision::{
    Answer, Job, Model, Service, ServiceOptions, Staged, Stager, Views, VisionError,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::service::{Pending, echo, image, loaded, options, question, submit};

type Results = Vec<Result<Vec<Answer>, VisionError>>;
type Answering = Box<dyn FnMut(&[Job], &[Option<Staged>]) -> Results + Send>;
type Staging = Arc<dyn Fn(&Views) -> Option<Staged> + Send + Sync>;

/// A model that answers and stages as the test says.
struct Stages(Staging);

struct Prepared {
    stage: Staging,
    answer: Answering,
}

impl Stager for Stages {
    fn stage(&self, views: &Views) -> Option<Staged> {
        (self.0)(views)
    }
}

impl Model for Prepared {
    fn answer(&mut self, _: &[Job]) -> Results {
        unreachable!("the service has a stager")
    }

    fn stager(&self) -> Option<Arc<dyn Stager>> {
        Some(Arc::new(Stages(Arc::clone(&self.stage))))
    }

    fn answer_staged(&mut self, jobs: &[Job], staged: &[Option<Staged>]) -> Results {
        (self.answer)(jobs, staged)
    }
}

fn start(
    options: ServiceOptions,
    stage: impl Fn(&Views) -> Option<Staged> + Send + Sync + 'static,
    answer: impl FnMut(&[Job], &[Option<Staged>]) -> Results + Send + 'static,
) -> Service {
    let mut loaded = loaded(echo);
    loaded.model = Box::new(Prepared {
        stage: Arc::new(stage),
        answer: Box::new(answer),
    });
    Service::start(loaded, options).unwrap()
}

/// The number of an image, as what is made ready of it.
fn number(views: &Views) -> Option<Staged> {
    Some(Box::new(views.data[0]))
}

/// A model that stages numbers, reports those of each batch, and waits for a sign; how many it has staged.
fn gated(
    options: ServiceOptions,
) -> (
    Service,
    UnboundedReceiver<Vec<u8>>,
    Sender<()>,
    Arc<AtomicUsize>,
) {
    let (report, batches) = unbounded_channel();
    let (go, sign) = channel::<()>();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let service = start(
        options,
        move |views| {
            counted.fetch_add(1, Ordering::SeqCst);
            number(views)
        },
        move |jobs, staged| {
            let numbers = staged.iter().map(|staged| {
                let staged = staged.as_ref().unwrap().downcast_ref::<u8>();
                *staged.unwrap()
            });
            report.send(numbers.collect()).unwrap();
            sign.recv().unwrap();
            echo(jobs)
        },
    );
    (service, batches, go, count)
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn answered(number: u8, pending: Pending) {
    let answers = pending.await.unwrap().unwrap();
    assert_eq!(answers, [Answer::Score(f32::from(number) * 100.0)]);
}

#[tokio::test]
async fn the_next_batch_is_made_ready_while_one_runs_and_no_more() {
    let (service, mut batches, go, staged) = gated(options(3, 8, 16));
    let mut pending = vec![submit(&service, 0, 1).await];
    assert_eq!(batches.recv().await, Some(vec![0]));
    for number in 1..9 {
        pending.push(submit(&service, number, 1).await);
    }
    // A batch lies ready, and one image more is held by the thread that has no room for it.
    eventually("the next batch is made ready", || {
        staged.load(Ordering::SeqCst) == 5
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(staged.load(Ordering::SeqCst), 5);
    // What waited runs together, in its order, as without the thread.
    for expected in [[1, 2, 3], [4, 5, 6]] {
        go.send(()).unwrap();
        assert_eq!(batches.recv().await, Some(expected.to_vec()));
        let all = usize::from(expected[2]) + 4;
        eventually("and the one after it", || {
            staged.load(Ordering::SeqCst) >= all.min(9)
        })
        .await;
    }
    for _ in 0..2 {
        go.send(()).unwrap();
    }
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
    assert_eq!(staged.load(Ordering::SeqCst), 9);
}

#[tokio::test]
async fn views_that_together_exceed_a_batch_do_not_lie_ready_together() {
    let (service, mut batches, go, staged) = gated(options(8, 10, 16));
    let mut pending = vec![submit(&service, 0, 1).await];
    assert_eq!(batches.recv().await, Some(vec![0]));
    for (number, views) in [(1, 6), (2, 6), (3, 20), (4, 1)] {
        pending.push(submit(&service, number, views).await);
    }
    // The second is staged and has no room beside the first; the third is not begun.
    eventually("two are made ready", || staged.load(Ordering::SeqCst) == 3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(staged.load(Ordering::SeqCst), 3);
    for expected in [1, 2, 3, 4] {
        go.send(()).unwrap();
        assert_eq!(batches.recv().await, Some(vec![expected]));
        // One has been taken, so that the next can lie there.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    go.send(()).unwrap();
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
}

#[tokio::test]
async fn a_caller_that_leaves_what_lies_ready_is_skipped() {
    let (service, mut batches, go, staged) = gated(options(2, 8, 16));
    let first = submit(&service, 0, 1).await;
    assert_eq!(batches.recv().await, Some(vec![0]));
    let leaving = submit(&service, 1, 1).await;
    let staying = submit(&service, 2, 1).await;
    eventually("both lie ready", || staged.load(Ordering::SeqCst) == 3).await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    go.send(()).unwrap();
    assert_eq!(batches.recv().await, Some(vec![2]));
    go.send(()).unwrap();
    answered(0, first).await;
    answered(2, staying).await;
    assert_eq!(service.stats().images, 2);
}

#[tokio::test]
async fn what_cannot_be_made_ready_is_the_batches_own_business() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let service = start(
        ServiceOptions::default(),
        |views| match views.data[0] {
            1 => None,
            2 => panic!("two is too much"),
            _ => number(views),
        },
        move |jobs, staged| {
            let ready = staged.iter().map(Option::is_some);
            told.lock().unwrap().extend(ready);
            echo(jobs)
        },
    );
    for number in 0..4 {
        let asked = service.submit(image(number, 1), [question(0)].into());
        assert_eq!(
            asked.await.unwrap(),
            [Answer::Score(f32::from(number) * 100.0)]
        );
    }
    assert_eq!(*seen.lock().unwrap(), [true, false, false, true]);
}

#[tokio::test]
async fn what_did_not_fit_the_memory_is_still_ready_when_it_is_asked_again() {
    let staged = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&staged);
    let (started, mut running) = unbounded_channel();
    let (go, sign) = channel::<()>();
    let service = start(
        options(4, 4, 16),
        move |views| {
            counted.fetch_add(1, Ordering::SeqCst);
            number(views)
        },
        move |jobs, staged| {
            assert!(staged.iter().all(Option::is_some));
            if started.send(jobs.len()).is_ok() && jobs[0].views.data[0] == 0 {
                sign.recv().unwrap();
            }
            if jobs.len() < 3 {
                return echo(jobs);
            }
            let out = || VisionError::OutOfMemory {
                model: "test".to_owned(),
                device: "cpu".to_owned(),
                views: 1,
            };
            jobs.iter().map(|_| Err(out())).collect()
        },
    );
    let mut pending = vec![submit(&service, 0, 1).await];
    assert_eq!(running.recv().await, Some(1));
    for number in 1..5 {
        pending.push(submit(&service, number, 1).await);
    }
    eventually("all lie ready", || staged.load(Ordering::SeqCst) == 5).await;
    go.send(()).unwrap();
    for expected in [4, 2, 2] {
        assert_eq!(running.recv().await, Some(expected));
    }
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
    assert_eq!(staged.load(Ordering::SeqCst), 5);
    assert_eq!(service.stats().halved, 1);
}

/// What computing an image takes of a device's memory, beside the image itself.
const COMPUTED: usize = 3;

/// An image in a device's memory.
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(used: &Arc<AtomicUsize>) -> Self {
        used.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(used))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A device whose memory holds so many images that are made ready, of which one that is computed takes [`COMPUTED`] more. It reports each
/// batch's pictures and how many of them were made ready, and goes on when it is told to.
fn nearly_full(options: ServiceOptions, room: usize) -> NearlyFull {
    let (report, batches) = unbounded_channel();
    let (go, sign) = channel::<()>();
    let used = Arc::new(AtomicUsize::new(0));
    let count = Arc::new(AtomicUsize::new(0));
    let (there, counted) = (Arc::clone(&used), Arc::clone(&count));
    let memory = Arc::clone(&used);
    let service = start(
        options,
        move |_| {
            let held = Held::new(&there);
            counted.fetch_add(1, Ordering::SeqCst);
            Some(Box::new(held))
        },
        move |jobs, staged| {
            let numbers = jobs.iter().map(|job| job.views.data[0]).collect();
            let ready = staged.iter().filter(|staged| staged.is_some()).count();
            report.send((numbers, ready)).unwrap();
            sign.recv().unwrap();
            if memory.load(Ordering::SeqCst) + COMPUTED * jobs.len() <= room {
                return echo(jobs);
            }
            let out = || VisionError::OutOfMemory {
                model: "test".to_owned(),
                device: "cpu".to_owned(),
                views: 1,
            };
            jobs.iter().map(|_| Err(out())).collect()
        },
    );
    NearlyFull {
        service,
        batches,
        go,
        staged: count,
    }
}

struct NearlyFull {
    service: Service,
    batches: UnboundedReceiver<(Vec<u8>, usize)>,
    go: Sender<()>,
    /// How many images have been made ready so far.
    staged: Arc<AtomicUsize>,
}

impl NearlyFull {
    /// Picture 0 is being computed and the others wait.
    async fn fill(&mut self, others: std::ops::RangeInclusive<u8>) -> Vec<Pending> {
        let mut pending = vec![submit(&self.service, 0, 1).await];
        assert_eq!(self.batches.recv().await, Some((vec![0], 1)));
        for number in others {
            pending.push(submit(&self.service, number, 1).await);
        }
        pending
    }

    async fn staged(&self, count: usize) {
        let all = || self.staged.load(Ordering::SeqCst) == count;
        eventually(&format!("{count} have been made ready"), all).await;
    }

    async fn next(&mut self, numbers: &[u8], ready: usize) {
        self.go.send(()).unwrap();
        assert_eq!(self.batches.recv().await, Some((numbers.to_vec(), ready)));
    }
}

#[tokio::test]
async fn a_batch_that_does_not_fit_beside_the_next_one_is_repeated_without_it() {
    let mut device = nearly_full(options(2, 2, 16), 8);
    let pending = device.fill(1..=6).await;
    device.staged(4).await;
    device.next(&[1, 2], 2).await;
    // Two lie ready now and a third has no room there.
    device.staged(6).await;
    device.next(&[1, 2], 2).await;
    // It fitted, and nothing is made ready from then on: what comes off the queue comes together or one by one.
    device.next(&[3, 4], 0).await;
    let mut rest = Vec::new();
    while rest.len() < 2 {
        device.go.send(()).unwrap();
        let (numbers, ready) = device.batches.recv().await.unwrap();
        assert_eq!(ready, 0);
        rest.extend(numbers);
    }
    assert_eq!(rest, [5, 6]);
    device.go.send(()).unwrap();
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
    device.staged(6).await;
    let stats = device.service.stats();
    assert_eq!((stats.without_next, stats.halved), (1, 0));
}

#[tokio::test]
async fn an_image_that_fits_alone_is_answered_however_full_the_device_is() {
    let mut device = nearly_full(options(1, 1, 16), 4);
    let pending = device.fill(1..=4).await;
    device.staged(3).await;
    // Beside the first, one lies ready and one waits: the room is gone, and its answer is not.
    device.next(&[0], 1).await;
    for number in 1..=4 {
        device.next(&[number], 0).await;
    }
    device.go.send(()).unwrap();
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
    let stats = device.service.stats();
    assert_eq!((stats.without_next, stats.halved), (1, 0));
}

#[tokio::test]
async fn a_batch_that_does_not_fit_by_itself_either_is_halved_and_the_next_made_ready_again() {
    let mut device = nearly_full(options(2, 2, 16), 7);
    let pending = device.fill(1..=3).await;
    device.staged(4).await;
    device.next(&[1, 2], 2).await;
    device.next(&[1, 2], 2).await;
    device.next(&[1], 1).await;
    device.next(&[2], 1).await;
    device.next(&[3], 0).await;
    device.go.send(()).unwrap();
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
    // Picture 3 had been let go; what comes now is made ready.
    let later = submit(&device.service, 7, 1).await;
    assert_eq!(device.batches.recv().await, Some((vec![7], 1)));
    device.go.send(()).unwrap();
    answered(7, later).await;
    let stats = device.service.stats();
    assert_eq!((stats.without_next, stats.halved), (1, 1));
}

#[tokio::test]
async fn what_lies_ready_for_a_device_that_breaks_is_made_ready_for_another() {
    let (report, mut batches) = unbounded_channel();
    let gates: [_; 2] = std::array::from_fn(|_| channel::<bool>());
    let mut models = Vec::new();
    let mut go = Vec::new();
    for (device, (send, sign)) in gates.into_iter().enumerate() {
        go.push(send);
        let report = report.clone();
        let mut model = loaded(echo);
        model.model = Box::new(Prepared {
            stage: Arc::new(move |views| Some(Box::new((device, views.data[0])))),
            answer: Box::new(move |jobs, staged| {
                let staged: Vec<(usize, u8)> = staged
                    .iter()
                    .map(|staged| *staged.as_ref().unwrap().downcast_ref().unwrap())
                    .collect();
                report.send((device, staged)).unwrap();
                match sign.recv().unwrap() {
                    true => echo(jobs),
                    false => jobs
                        .iter()
                        .map(|_| {
                            Err(VisionError::DeviceLost {
                                model: "test".to_owned(),
                                device: format!("cuda:{device}"),
                                reason: "gone".to_owned(),
                            })
                        })
                        .collect(),
                }
            }),
        });
        models.push(model);
    }
    let second = models.pop().unwrap();
    let first = models.pop().unwrap();
    let service = Service::start_all(first, vec![second], options(1, 1, 16)).unwrap();
    let mut pending = Vec::new();
    for number in 0..6 {
        pending.push(submit(&service, number, 1).await);
    }
    let (broken, _) = batches.recv().await.unwrap();
    let whole = 1 - broken;
    assert_eq!(batches.recv().await.unwrap().0, whole);
    go[broken].send(false).unwrap();
    for _ in 0..6 {
        go[whole].send(true).unwrap();
    }
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
    // Each batch after that is of the other device, and so is what was made ready for it.
    while let Ok((device, staged)) = batches.try_recv() {
        assert_eq!(device, whole);
        assert!(staged.iter().all(|(staged_for, _)| *staged_for == whole));
    }
    assert_eq!(service.stats().lost, 1);
}

#[tokio::test]
async fn the_threads_end_with_the_last_handle() {
    struct Farewell(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Farewell {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (told, mut ended) = unbounded_channel();
    let (stage, answer) = (Farewell(told.clone()), Farewell(told));
    let service = start(
        ServiceOptions::default(),
        move |views| {
            let _held = &stage;
            number(views)
        },
        move |jobs, _| {
            let _held = &answer;
            echo(jobs)
        },
    );
    let asked = service.submit(image(1, 1), [question(0)].into());
    asked.await.unwrap();
    drop(service);
    for _ in 0..2 {
        let told = tokio::time::timeout(Duration::from_secs(20), ended.recv());
        told.await.expect("both threads end").unwrap();
    }
}
