//! The decoding pool under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use picsift_images::{
    DecodePool, Geometry, ImageError, Limits, RgbPixels, image_info, prepare, sha256,
};

use crate::support::{busy, data, encode, jpeg};

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 64,
    size: 56,
};

#[tokio::test]
async fn gives_what_the_kernel_gives() {
    let pool = DecodePool::new(2, Limits::default()).unwrap();
    let bytes = Bytes::from(jpeg(&busy(300, 200)));
    let want = prepare(&bytes, CROP, &Limits::default()).unwrap();
    let all = (0..50).map(|_| pool.prepare(bytes.clone(), CROP));
    for prepared in futures::future::join_all(all).await {
        let prepared = prepared.unwrap();
        assert_eq!(prepared.value, want);
        assert!(prepared.decode_time > Duration::ZERO);
    }
    assert_eq!(
        pool.info(bytes.clone()).await.unwrap(),
        image_info(&bytes, pool.limits()).unwrap()
    );
}

#[tokio::test]
async fn what_is_made_of_the_pixels_is_made_on_the_decoding_thread() {
    let pool = DecodePool::new(1, Limits::default()).unwrap();
    let bytes = Bytes::from(jpeg(&busy(300, 200)));
    let thread = || std::thread::current().name().map(str::to_owned);
    let prepared = pool
        .prepare_with(bytes.clone(), Geometry::Full, move |pixels| {
            std::thread::sleep(Duration::from_millis(5));
            (pixels.width, pixels.height, thread())
        })
        .await
        .unwrap();
    assert_eq!(
        prepared.value,
        (300, 200, Some("picsift-decode-0".to_owned()))
    );
    assert_eq!(pool.hash(bytes.clone()).await.unwrap(), sha256(&bytes));
    assert!(prepared.decode_time >= Duration::from_millis(5));
}

/// One decode for all geometries, and each has the pixels that it has alone: also where another scale is enough for one of them, where the
/// picture is turned and where none is resized.
#[tokio::test]
async fn several_geometries_of_one_image_are_each_as_if_alone() {
    let pool = DecodePool::new(1, Limits::default()).unwrap();
    let within = |side| Geometry::Within { side };
    let geometries = [
        vec![CROP, within(640)],
        vec![within(640), CROP],
        vec![CROP, within(60)],
        vec![CROP, Geometry::Full, within(900)],
        vec![Geometry::Full, CROP],
    ];
    let coloured = data("../wild/profile-p3.jpg");
    for bytes in [
        jpeg(&busy(300, 200)),
        jpeg(&busy(1400, 900)),
        data("oriented.png"),
        coloured,
    ] {
        let bytes = Bytes::from(bytes);
        for geometries in &geometries {
            let all = pool.prepare_each(bytes.clone(), geometries.clone(), |pixels| pixels);
            let all = all.await.unwrap().value;
            assert_eq!(all.len(), geometries.len());
            for (geometry, pixels) in geometries.iter().zip(all) {
                let alone = prepare(&bytes, *geometry, &Limits::default()).unwrap();
                assert!(pixels == alone, "{geometry:?} of {geometries:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_more_full_images_exist_at_once_than_there_are_threads() {
    let pool = DecodePool::new(2, Limits::default()).unwrap();
    let bytes = Bytes::from(jpeg(&busy(64, 64)));
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let all = (0..40).map(|_| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        pool.prepare_with(bytes.clone(), Geometry::Full, move |_pixels| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            now.fetch_sub(1, Ordering::SeqCst);
        })
    });
    for prepared in futures::future::join_all(all).await {
        prepared.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_panic_in_what_follows_is_that_images_error() {
    let pool = DecodePool::new(1, Limits::default()).unwrap();
    let bytes = Bytes::from(jpeg(&busy(64, 64)));
    let finish = |pixels: RgbPixels| assert_eq!(pixels.width, 0, "not empty");
    let error = pool.prepare_with(bytes.clone(), CROP, finish).await;
    assert!(
        matches!(&error, Err(ImageError::DecoderPanicked { reason }) if reason.contains("not empty"))
    );
    assert!(pool.prepare(bytes, CROP).await.is_ok());
}

#[tokio::test]
async fn a_bad_image_fails_alone() {
    let pool = DecodePool::new(0, Limits::default()).unwrap();
    let bad = pool.prepare(Bytes::from_static(b"<html>"), CROP).await;
    assert!(matches!(bad, Err(ImageError::UnknownFormat { .. })));
    assert!(pool.prepare(data("ycck.jpg").into(), CROP).await.is_ok());
}

#[tokio::test]
async fn time_is_bounded_and_abandoned_work_is_dropped() {
    let pool = DecodePool::new(
        1,
        Limits {
            timeout: Duration::from_millis(1),
            ..Limits::default()
        },
    )
    .unwrap();
    let slow = Bytes::from(encode(&busy(3000, 2000).into(), image::ImageFormat::Png));
    let begun = std::time::Instant::now();
    let error = pool
        .prepare(slow.clone(), Geometry::Full)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "the image was not decoded within 1ms");
    // 200 callers that leave again: if their work were done, this would take 200 decodings.
    for _ in 0..200 {
        let mut call = Box::pin(pool.prepare(slow.clone(), Geometry::Full));
        let _ = futures::poll!(&mut call);
    }
    let patient = DecodePool::new(1, Limits::default()).unwrap();
    let one = patient
        .prepare(slow, Geometry::Full)
        .await
        .unwrap()
        .decode_time;
    let info = pool.info(jpeg(&busy(9, 9)).into()).await;
    assert!(info.is_ok() || matches!(info, Err(ImageError::DecodeTimedOut { .. })));
    assert!(
        begun.elapsed() < 20 * one + Duration::from_secs(2),
        "{:?} for {one:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn the_pool_may_go_while_it_works() {
    let pool = DecodePool::new(2, Limits::default()).unwrap();
    let copy = pool.clone();
    let bytes = Bytes::from(jpeg(&busy(2000, 1500)));
    let task = tokio::spawn(async move { copy.prepare(bytes, CROP).await });
    drop(pool);
    assert!(task.await.unwrap().is_ok());
}
