//! Pictures that stand in the text itself.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use picsift_images::{
    Fetch, FetchOptions, FetchPolicy, Fetcher, Geometry, Limits, Stores, image_info, prepare,
};
use url::Url;

use crate::support::{encode, full, jpeg, quadrants};

fn fetcher(policy: FetchPolicy, limits: Limits) -> Fetcher {
    let options = FetchOptions {
        policy,
        limits,
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

#[tokio::test]
async fn data_uris_and_base64_are_pictures_wherever_their_table_is() {
    let fetcher = fetcher(FetchPolicy::default(), Limits::default());
    let png = encode(&quadrants().into(), ImageFormat::Png);
    let photo = jpeg(&quadrants());
    for (bytes, kind) in [(&png, "image/png"), (&photo, "image/jpeg")] {
        let text = STANDARD.encode(bytes);
        let uri = format!("data:{kind};base64,{text}");
        for reference in [&text, &uri] {
            for base in [
                None,
                Some("file:///data/"),
                Some("s3://b/t/"),
                Some("https://h/t/"),
            ] {
                let base = base.map(|base| Url::parse(base).unwrap());
                let fetched = fetcher.fetch(reference, base.as_ref()).await.unwrap();
                assert_eq!(fetched.bytes, *bytes);
                assert_eq!(fetched.version, None);
                let again = fetcher
                    .fetch_if_changed(reference, base.as_ref(), None)
                    .await;
                assert_eq!(again.unwrap(), Fetch::Changed(fetched));
            }
            assert_eq!(fetcher.fetch_typed(reference).await.unwrap().bytes, *bytes);
        }
    }
}

#[tokio::test]
async fn what_they_hold_is_bounded_and_may_be_forbidden() {
    let uri = format!("data:;base64,{}", STANDARD.encode([7; 300]));
    let limits = Limits {
        max_bytes: 200,
        ..Limits::default()
    };
    let error = fetcher(FetchPolicy::default(), limits)
        .fetch(&uri, None)
        .await;
    assert_eq!(error.unwrap_err().kind(), "too_large");
    let policy = FetchPolicy {
        schemes: vec!["s3".to_owned()],
        ..FetchPolicy::default()
    };
    let fetcher = fetcher(policy, Limits::default());
    let error = fetcher.fetch(&uri, None).await.unwrap_err();
    assert_eq!(error.kind(), "scheme_not_allowed");
    assert_eq!(
        error.to_string(),
        "'data:;base64,...' has the scheme 'data', which the settings do not allow; allowed are: s3"
    );
    assert!(fetcher.fetch_typed(&uri).await.is_ok());
}

/// A column of bytes may hold the text too.
#[test]
fn bytes_that_are_the_text_of_an_image_decode() {
    let photo = jpeg(&quadrants());
    let text = STANDARD.encode(&photo);
    let lines = text
        .as_bytes()
        .chunks(76)
        .collect::<Vec<_>>()
        .join(&b"\r\n"[..]);
    for bytes in [
        text.clone().into_bytes(),
        lines,
        format!("\u{feff} data:image/jpeg;base64,{text}\n").into_bytes(),
    ] {
        assert_eq!(full(&bytes), full(&photo));
        let info = image_info(&bytes, &Limits::default()).unwrap();
        assert_eq!((info.format, info.bytes), ("jpeg", bytes.len() as u64));
    }
    let words = STANDARD.encode(b"no picture at all, but a long sentence that somebody encoded");
    let error = prepare(words.as_bytes(), Geometry::Full, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), "unknown_format");
}
