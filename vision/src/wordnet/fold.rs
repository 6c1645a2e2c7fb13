//! The spelling under which a noun is looked up.

/// The key of a noun: lower case, straight apostrophes, one blank where blanks, underscores and hyphens were.
pub(super) fn fold(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for word in
        text.split(|c: char| c.is_whitespace() || matches!(c, '_' | '-' | '\u{2010}' | '\u{2011}'))
    {
        if !word.is_empty() {
            if !key.is_empty() {
                key.push(' ');
            }
            key.extend(
                word.chars()
                    .flat_map(char::to_lowercase)
                    .map(|c| if c == '\u{2019}' { '\'' } else { c }),
            );
        }
    }
    key
}
