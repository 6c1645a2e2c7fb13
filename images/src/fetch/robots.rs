//! `X-Robots-Tag`: whether a server keeps an image from machine learning.

use reqwest::header::HeaderMap;

/// The directives that refuse an image.
const REFUSING: [&str; 2] = ["noai", "noimageai"];

/// Directives that have a value behind a colon; before any other colon stands the name of a robot.
const WITH_VALUE: [&str; 4] = [
    "unavailable_after",
    "max-snippet",
    "max-image-preview",
    "max-video-preview",
];

/// The directive among `headers` that refuses an image to all robots or to `picsift`.
///
/// A header is a list of directives, and a name with a colon says for whom those that follow it are:
/// `noindex, picsift: noai, noimageai`. Case plays no part, and there may be several headers.
pub(super) fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    headers.get_all("x-robots-tag").iter().find_map(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        let mut for_us = true;
        for part in value.split(',') {
            let mut directive = part.trim();
            if let Some((name, rest)) = directive.split_once(':') {
                let name = name.trim();
                // A date ("25 jun 2010 15:00:00") is no name either.
                if WITH_VALUE.contains(&name) || name.contains(char::is_whitespace) {
                    continue;
                }
                for_us = matches!(name, "picsift" | "*");
                directive = rest.trim();
            }
            let refusing = REFUSING.into_iter().find(|word| *word == directive);
            if for_us && refusing.is_some() {
                return refusing;
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_refuse_all_robots_or_this_one() {
        for (values, want) in [
            (&["noai"][..], Some("noai")),
            (&["NoImageAI"], Some("noimageai")),
            (&["noindex,  noai , nofollow"], Some("noai")),
            (&["noindex", "noai"], Some("noai")),
            (&["picsift: noai"], Some("noai")),
            (&["Picsift : noindex, noimageai"], Some("noimageai")),
            (&["otherbot: noai, picsift: noimageai"], Some("noimageai")),
            (&["*: noai"], Some("noai")),
            (&["max-snippet: 10, noai"], Some("noai")),
            (
                &["unavailable_after: Wed, 03 Dec 2025 13:09:53 GMT, noai"],
                Some("noai"),
            ),
            (&["otherbot: noai"], None),
            (&["otherbot: noindex, noai"], None),
            (&["noindex, noimageindex"], None),
            (&["noairplanes"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("X-Robots-Tag", value.parse().unwrap());
            }
            assert_eq!(refusal(&headers), want, "{values:?}");
        }
    }
}
