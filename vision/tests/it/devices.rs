//! What callers notice of a service on several devices, with models that do as the test says.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use picsift_vision::{Answer, Job, LoadOptions, Loaded, Service, ServiceOptions, VisionError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::service::{Pending, echo, image, loaded, options, question, submit};

/// What a device is told to do with the batch that it has reported.
enum Go {
    Answer,
    Break,
}

/// A device that reports its number with the numbers of each batch, then does as it is told.
struct Device {
    go: Sender<Go>,
}

fn device(number: usize, report: &UnboundedSender<(usize, Vec<u8>)>) -> (Loaded, Device) {
    let (go, sign) = channel();
    let report = report.clone();
    let model = loaded(move |jobs: &[Job]| {
        let batch = jobs.iter().map(|job| job.views.data[0]).collect();
        report.send((number, batch)).unwrap();
        match sign.recv().unwrap() {
            Go::Answer => echo(jobs),
            Go::Break => jobs.iter().map(|_| Err(lost(number))).collect(),
        }
    });
    (model, Device { go })
}

fn lost(number: usize) -> VisionError {
    VisionError::DeviceLost {
        model: "test".to_owned(),
        device: format!("cuda:{number}"),
        reason: "ERROR_ILLEGAL_ADDRESS".to_owned(),
    }
}

/// Which device got which pictures, batch by batch.
type Batches = UnboundedReceiver<(usize, Vec<u8>)>;

/// A service on so many devices.
fn start(count: usize, options: ServiceOptions) -> (Service, Vec<Device>, Batches) {
    let (report, batches) = unbounded_channel();
    let (models, devices): (Vec<_>, Vec<_>) =
        (0..count).map(|number| device(number, &report)).unzip();
    let mut models = models.into_iter();
    let first = models.next().unwrap();
    let service = Service::start_all(first, models.collect(), options).unwrap();
    (service, devices, batches)
}

async fn answered(number: u8, pending: Pending) {
    let answers = pending.await.unwrap().unwrap();
    assert_eq!(answers, [Answer::Score(f32::from(number) * 100.0)]);
}

#[tokio::test]
async fn devices_work_at_the_same_time_and_whoever_is_free_takes_what_waits() {
    let (service, devices, mut batches) = start(2, options(2, 10, 16));
    assert_eq!(
        (service.devices(), service.info().device.as_str()),
        (2, "cpu, cpu")
    );
    let mut pending = vec![submit(&service, 0, 1).await, submit(&service, 1, 1).await];
    // Both run before either has answered.
    let (first, zero) = batches.recv().await.unwrap();
    let (second, one) = batches.recv().await.unwrap();
    assert_eq!((zero, one), (vec![0], vec![1]));
    assert_ne!(first, second);
    for number in 2..7 {
        pending.push(submit(&service, number, 1).await);
    }
    // The second is done first and takes what came first, and again.
    for expected in [[2, 3], [4, 5]] {
        devices[second].go.send(Go::Answer).unwrap();
        assert_eq!(batches.recv().await, Some((second, expected.to_vec())));
    }
    devices[first].go.send(Go::Answer).unwrap();
    assert_eq!(batches.recv().await, Some((first, vec![6])));
    for device in &devices {
        device.go.send(Go::Answer).unwrap();
    }
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
    let stats = service.stats();
    assert_eq!((stats.images, stats.batches, stats.lost), (7, 5, 0));
}

#[tokio::test]
async fn a_device_that_breaks_gives_its_jobs_to_the_others() {
    let (service, devices, mut batches) = start(2, options(2, 3, 16));
    let first = submit(&service, 0, 1).await;
    let (broken, _) = batches.recv().await.unwrap();
    let second = submit(&service, 1, 1).await;
    let (whole, _) = batches.recv().await.unwrap();
    devices[broken].go.send(Go::Break).unwrap();
    // The job is with the other one, which is not done with its own yet.
    devices[whole].go.send(Go::Answer).unwrap();
    assert_eq!(batches.recv().await, Some((whole, vec![0])));
    devices[whole].go.send(Go::Answer).unwrap();
    answered(0, first).await;
    answered(1, second).await;
    // It goes on with what comes later.
    let later = submit(&service, 7, 1).await;
    assert_eq!(batches.recv().await, Some((whole, vec![7])));
    devices[whole].go.send(Go::Answer).unwrap();
    answered(7, later).await;
    let stats = service.stats();
    assert_eq!((stats.images, stats.lost), (3, 1));
}

#[tokio::test]
async fn the_last_device_that_breaks_is_the_error_of_all_that_waits_and_comes() {
    let (service, devices, mut batches) = start(3, options(2, 10, 2));
    let mut pending = Vec::new();
    for number in 0..3 {
        pending.push(submit(&service, number, 1).await);
        batches.recv().await.unwrap();
    }
    // More than the queue holds: some wait outside of it.
    for number in 3..9 {
        pending.push(submit(&service, number, 1).await);
    }
    for device in &devices {
        device.go.send(Go::Break).unwrap();
        // What one takes over from another is lost with it.
        let _ = device.go.send(Go::Break);
    }
    for pending in pending {
        let error = tokio::time::timeout(Duration::from_secs(10), pending);
        let error = error
            .await
            .expect("nobody waits for ever")
            .unwrap()
            .unwrap_err();
        assert!(matches!(error, VisionError::DeviceLost { .. }), "{error}");
    }
    let later = service.submit(image(9, 1), [question(0)].into()).await;
    assert!(later.unwrap_err().ends_all());
    assert_eq!(service.stats().lost, 2);
}

#[tokio::test]
async fn limits_that_one_device_has_learnt_are_its_own() {
    let out_of_memory = |job: &Job| VisionError::OutOfMemory {
        model: "test".to_owned(),
        device: "cuda:0".to_owned(),
        views: job.views.count(),
    };
    let (report, mut batches) = unbounded_channel();
    let models = [1, 8].map(|room| {
        let report = report.clone();
        let (go, sign) = channel::<()>();
        let model = loaded(move |jobs: &[Job]| {
            report.send((room, jobs.len())).unwrap();
            sign.recv().unwrap();
            match jobs.len() <= room {
                true => echo(jobs),
                false => jobs.iter().map(|job| Err(out_of_memory(job))).collect(),
            }
        });
        (model, go)
    });
    let [(small, go_small), (large, go_large)] = models;
    let service = Service::start_all(small, vec![large], options(2, 8, 16)).unwrap();
    let go = |room: usize| match room {
        1 => go_small.send(()).unwrap(),
        _ => go_large.send(()).unwrap(),
    };
    let mut pending = vec![submit(&service, 0, 1).await, submit(&service, 1, 1).await];
    for _ in 0..2 {
        assert_eq!(batches.recv().await.unwrap().1, 1);
    }
    for number in 2..10 {
        pending.push(submit(&service, number, 1).await);
    }
    // Two do not fit the small one, which takes one and one from then on; the large one goes on with two.
    go(1);
    for expected in [2, 1, 1] {
        assert_eq!(batches.recv().await, Some((1, expected)));
        go(1);
    }
    assert_eq!(batches.recv().await, Some((1, 1)));
    go(8);
    assert_eq!(batches.recv().await, Some((8, 2)));
    for _ in 0..16 {
        go(1);
        go(8);
    }
    for (number, pending) in (0..).zip(pending) {
        answered(number, pending).await;
    }
}

#[test]
fn one_device_is_no_choice_of_all() {
    let options = LoadOptions {
        device: "cuda:all".parse().unwrap(),
        ..LoadOptions::default()
    };
    let error = picsift_vision::load("shapes", &options, &()).unwrap_err();
    assert!(error.to_string().contains("'cuda:all'"), "{error}");
}
