//! The indefinite article.

/// `a` or `an` before a phrase, by the sound it begins with. English spells sounds badly, so the rules by letters have
/// exceptions: a silent h, a u or eu spoken like you, `one`, letters and acronyms spoken letter by letter (an MRI, a UFO), numbers
/// (an 8-bit, an 18-wheeler).
pub(super) fn article(phrase: &str) -> &'static str {
    // Beginnings that sound unlike their first letter; of two that fit, the longer decides.
    const AN: &[&str] = &[
        "hour", "honest", "honor", "honour", "heir", "unid", "unig", "unim", "unin", "8", "11-",
        "18-", "11th", "18th",
    ];
    const A: &[&str] = &[
        "eu", "ewe", "one", "once", "ouija", "ubi", "ufo", "uku", "uni", "ura", "uri", "uro",
        "usa", "use", "usu", "ute", "uti", "uto",
    ];
    let first = phrase
        .split([' ', '-', '\u{2019}', '\''])
        .next()
        .unwrap_or_default();
    let letters = first.chars().filter(|c| c.is_alphabetic()).count();
    let vowels = first.chars().filter(|c| "AEIOU".contains(*c)).count();
    let spelled = (super::names::is_upper(first) && (letters < 4 || vowels < 2))
        || (letters == 1 && first.chars().count() == 1);
    let is_an = if spelled {
        first
            .to_uppercase()
            .starts_with(['A', 'E', 'F', 'H', 'I', 'L', 'M', 'N', 'O', 'R', 'S', 'X'])
    } else {
        let key = phrase.to_lowercase();
        let longest = |list: &[&str]| {
            let fitting = list.iter().filter(|start| key.starts_with(**start));
            fitting.map(|start| start.len()).max().unwrap_or(0)
        };
        match longest(AN).cmp(&longest(A)) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => {
                key.starts_with(|c| "aeiouáàâäåæéèêëíîïóôöøúû".contains(c))
            }
        }
    };
    if is_an { "an" } else { "a" }
}
