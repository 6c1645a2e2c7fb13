//! What may be read by others without its secrets, and what a terminal shows without obeying it.
//!
//! The one place where texts lose credentials: the user and query of URLs, what the environment holds as a key or token, and what looks like
//! one. Whatever is printed, logged or written for people goes through here last, so that a sentence that was put together from
//! errors of libraries and answers of servers tells none. What a secret is for is not known.

use std::borrow::Cow;
use std::sync::LazyLock;

/// What stands in a secret's place.
const GONE: &str = "***";

/// Parts of the names of variables whose values are secrets.
const NAMES: [&str; 6] = [
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "ACCESS_KEY",
    "ACCOUNT_KEY",
    "SAS",
];

/// Beginnings of the names of variables that this program or its libraries take credentials from.
const OWNERS: [&str; 6] = [
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "HF_",
    "HUGGING_FACE_",
    "PICSIFT_",
];

/// Shortest value that is looked for: shorter ones stand in ordinary words.
const SHORTEST: usize = 8;

/// The secrets of the environment, longest first.
static SECRETS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?.to_ascii_uppercase();
        let owned = OWNERS.iter().any(|owner| name.starts_with(owner));
        let secret = NAMES.iter().any(|part| name.contains(part)) && !name.contains("FILE");
        let value = value.into_string().ok()?;
        (owned && secret && value.trim().len() >= SHORTEST).then(|| value.trim().to_owned())
    });
    let mut secrets: Vec<String> = variables.collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
});

/// `text` without the credentials in it: of URLs the user, password, query and fragment; keys and tokens of the environment; and what
/// follows `Bearer` or is called a token, signature or credential.
///
/// ```
/// use picsift_images::redacted;
///
/// assert_eq!(redacted("'http://bob:hunter2@h/a?sig=1' is gone"), "'http://h/a?...' is gone");
/// assert_eq!(redacted("a ? b"), "a ? b");
/// ```
pub fn redacted(text: &str) -> Cow<'_, str> {
    let text = without_url_parts(text);
    let text = SECRETS
        .iter()
        .fold(text, |text, secret| match text.contains(secret.as_str()) {
            true => Cow::Owned(text.replace(secret.as_str(), GONE)),
            false => text,
        });
    match MARKS.iter().any(|mark| find(&text, mark).is_some()) {
        true => Cow::Owned(without_marked(&text)),
        false => text,
    }
}

/// Whether a character ends a URL that stands in a sentence.
fn ends_url(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\'' | '"' | '`' | '<' | '>' | ')' | ']' | '}' | '|' | '\\' | ',' | ';'
        )
}

fn without_url_parts(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        kept.push_str(before);
        let scheme = before[..at]
            .rsplit(|c: char| !c.is_ascii_alphanumeric())
            .next();
        let scheme = scheme.unwrap_or_default().to_ascii_lowercase();
        // What ends a sentence's part may stand in a password, but not in front of the host's name.
        let authority = after
            .find(['/', '?', '#', ' ', '\n', '\'', '"'])
            .unwrap_or(after.len());
        let (host, path) = after.split_at(authority);
        let host = match host.rsplit_once('@') {
            // Of Azure the container stands where others have a user.
            Some((user, _)) if scheme.starts_with("abf") && !user.contains(':') => host,
            Some((_, host)) => host,
            None => host,
        };
        kept.push_str(host);
        // In a bucket and a file `?` and `#` are letters of a name.
        let web = matches!(scheme.as_str(), "http" | "https" | "ftp" | "ws" | "wss");
        let end = path.find(ends_url).unwrap_or(path.len());
        let (path, after) = path.split_at(end);
        match path.find(['?', '#']).filter(|_| web) {
            Some(cut) => {
                kept.push_str(&path[..cut]);
                // What was cut already stays as it is.
                kept.push_str(match &path[cut..] {
                    "?" => "?",
                    "#" => "#",
                    _ => "?...",
                });
            }
            None => kept.push_str(path),
        }
        rest = after;
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// What a secret stands behind, in small letters.
const MARKS: [&str; 12] = [
    "bearer ",
    "authorization:",
    "authorization: ",
    "security-token:",
    "x-amz-signature=",
    "x-amz-credential=",
    "signature=",
    "credential=",
    "access_token=",
    "token=",
    "password=",
    "awsaccesskeyid>",
];

/// Where `mark` stands in `text`, in whatever case.
fn find(text: &str, mark: &str) -> Option<usize> {
    let (text, mark) = (text.as_bytes(), mark.as_bytes());
    let mut places = text.windows(mark.len());
    places.position(|window| window.eq_ignore_ascii_case(mark))
}

fn without_marked(text: &str) -> String {
    let mut text = text.to_owned();
    for mark in MARKS {
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| find(rest, mark)) {
            let start = from + at + mark.len();
            let rest = &text[start..];
            let ends = |c: char| ends_url(c) || c == '&';
            let skipped = rest.len() - rest.trim_start_matches(' ').len();
            let length = rest[skipped..].find(ends).unwrap_or(rest.len() - skipped);
            let value = start + skipped..start + skipped + length;
            // A word such as "token=" without a value, and what is gone already, stay.
            if length > 0 && &text[value.clone()] != GONE {
                text.replace_range(value, GONE);
            }
            from = start;
        }
    }
    text
}

/// Whether a terminal or a browser would not show `c` but obey it: a control character, or one that turns the line's direction.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with what a terminal would obey written as `\u{1b}`. Line breaks and tabs stay.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| is_obeyed(c) && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match obeyed(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_who_asks_and_what_is_signed() {
        for (text, kept) in [
            ("http://bob:hunter2@h/a.jpg", "http://h/a.jpg"),
            ("http://token@h:8000", "http://h:8000"),
            (
                "see 'https://h/a?sig=s&t=1', and",
                "see 'https://h/a?...', and",
            ),
            ("https://h/a#secret x", "https://h/a?... x"),
            (
                "https://a:p@h/x then http://b:q@i/y?z",
                "https://h/x then http://i/y?...",
            ),
            ("http://bob:p,w;x)@h/a", "http://h/a"),
            ("http://b@b:p@h/a", "http://h/a"),
            (
                "abfss://c@acct.dfs.core.windows.net/x",
                "abfss://c@acct.dfs.core.windows.net/x",
            ),
            (
                "abfss://c:pw@acct.dfs.core.windows.net/x",
                "abfss://acct.dfs.core.windows.net/x",
            ),
            ("s3://b/what?.jpg", "s3://b/what?.jpg"),
            ("/data/what?.jpg", "/data/what?.jpg"),
            ("file:///a/b?c", "file:///a/b?c"),
            ("https://h/a?...", "https://h/a?..."),
            ("is it there? http://h/ yes?", "is it there? http://h/ yes?"),
        ] {
            assert_eq!(redacted(text), kept);
            assert_eq!(redacted(kept), kept);
        }
    }

    #[test]
    fn what_servers_say_loses_its_tokens() {
        for text in [
            "authorization: Bearer topsecret1",
            "x-amz-security-token:topsecret1\nhost:h",
            "AWS4 Credential=topsecret1/2026, Signature=topsecret1",
            "<AWSAccessKeyId>topsecret1</AWSAccessKeyId>",
            "TOKEN=topsecret1&x=1",
        ] {
            let kept = redacted(text);
            assert!(!kept.contains("topsecret1"), "{kept}");
            assert_eq!(redacted(&kept), kept);
        }
        for text in ["no token", "the token is wrong", "token= ", "a bearer"] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn a_terminal_obeys_nothing() {
        let text = "a\u{1b}[31m\u{202e}\u{9b}b\n\tc\r";
        assert_eq!(escaped(text), "a\\u{1b}[31m\\u{202e}\\u{9b}b\n\tc\\u{d}");
        assert_eq!(escaped("Ärger 日本"), "Ärger 日本");
    }
}
