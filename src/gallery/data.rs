//! The data of a gallery as scripts that its pages load: a page that is opened from disk may run scripts, but not fetch.
//!
//! Everything in them comes from tables and is written as JSON that cannot end the script it stands in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

/// Version of the form, for pages and data to know each other.
pub const VERSION: u32 = 2;

/// Rows of one script: the cards in sight are of as many scripts, sorted by score, so each should be small.
pub const CHUNK: usize = 50;

/// Names of one script: who searches loads those of all rows.
pub const NAMES: usize = 10_000;

/// Bins of a histogram of scores.
const BINS: usize = 50;

/// What the pages know at once.
#[derive(Debug, Serialize)]
pub struct Meta {
    /// [`VERSION`].
    pub version: u32,
    /// What the gallery is called.
    pub title: String,
    /// Names this gallery among others, for what a browser keeps of it.
    pub id: String,
    /// The model that answered.
    pub model: Option<String>,
    /// Its revision.
    pub revision: Option<String>,
    /// Rows.
    pub rows: usize,
    /// [`CHUNK`].
    pub chunk: usize,
    /// [`NAMES`].
    pub names: usize,
    /// The table's other columns.
    pub columns: Vec<String>,
    /// Whether there are larger copies than thumbnails.
    pub pictures: bool,
    /// The categories.
    pub categories: Vec<CategoryMeta>,
    /// Rows whose image failed.
    pub errors: usize,
    /// What is to be known of the evaluation.
    pub notes: Vec<String>,
    /// How corrections are sent, while somebody serves the gallery; always `null` in the file.
    pub serve: Option<Value>,
}

/// One category.
#[derive(Debug, Serialize)]
pub struct CategoryMeta {
    /// Its name.
    pub name: String,
    /// The question that was asked.
    pub prompt: Option<String>,
    /// Score from which it held.
    pub threshold: f32,
    /// Rows answered yes, no, and not at all.
    pub held: usize,
    /// Rows answered no.
    pub refused: usize,
    /// Rows without an answer.
    pub unknown: usize,
    /// Scores in equal bins over 0 to 1: of true and false rows where the truth is known, else of all.
    pub histogram: Histogram,
    /// Whether there is a truth for it.
    pub truth: bool,
    /// Its figures, as `picsift eval` gives them.
    pub evaluation: Option<Value>,
}

/// Counts of scores.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Histogram {
    /// Of all rows.
    All(Vec<u32>),
    /// By truth.
    Truth {
        /// Of true rows.
        yes: Vec<u32>,
        /// Of false rows.
        no: Vec<u32>,
    },
}

/// The columns of one category, a value a row.
#[derive(Debug, Default)]
pub struct Column {
    /// NaN where there is none.
    pub scores: Vec<f32>,
    /// See [`code`].
    pub answers: Vec<u8>,
    /// The same of the truth, where there is one for the category.
    pub truth: Option<Vec<u8>>,
    /// 1 where a person decided; `None` where the table does not say.
    pub source: Option<Vec<u8>>,
}

/// One row.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What corrections call its image.
    pub key: String,
    /// Its reference, as people may see it.
    pub reference: Option<String>,
    /// The best category.
    pub label: Option<String>,
    /// Why its image failed.
    pub error: Option<Failure>,
    /// Width of its image in pixels.
    pub width: Option<u32>,
    /// Height of its image in pixels.
    pub height: Option<u32>,
    /// Values of [`Meta::columns`], in scripts of their own: they are read when the picture is large.
    #[serde(skip)]
    pub columns: Vec<Option<String>>,
}

impl Row {
    /// What people call its image.
    pub fn called(&self) -> &str {
        self.reference.as_deref().unwrap_or(&self.key)
    }
}

/// Why an image failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// `fetch`, `decode` or `model`.
    pub stage: String,
    /// One stable word.
    pub kind: String,
    /// One sentence.
    pub message: String,
}

/// An answer as a number: 0 no, 1 yes, 2 unknown.
pub fn code(answer: Option<bool>) -> u8 {
    answer.map_or(2, u8::from)
}

impl Column {
    /// How often each answer was given: no, yes, unknown.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for answer in &self.answers {
            counts[usize::from(*answer).min(2)] += 1;
        }
        counts
    }

    /// The scores in bins.
    pub fn histogram(&self) -> Histogram {
        let bins = |keep: &dyn Fn(usize) -> bool| {
            let mut bins = vec![0; BINS];
            for (row, score) in self.scores.iter().enumerate() {
                if score.is_finite() && keep(row) {
                    let bin = (f64::from(*score) * BINS as f64).max(0.0) as usize;
                    bins[bin.min(BINS - 1)] += 1;
                }
            }
            bins
        };
        match &self.truth {
            None => Histogram::All(bins(&|_| true)),
            Some(truth) => Histogram::Truth {
                yes: bins(&|row| truth[row] == 1),
                no: bins(&|row| truth[row] == 0),
            },
        }
    }

    /// The script of the category of this number.
    pub fn script(&self, number: usize) -> String {
        let scores: Vec<u8> = self.scores.iter().flat_map(|s| s.to_le_bytes()).collect();
        let bytes = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => format!("\"{}\"", STANDARD.encode(bytes)),
            None => "null".to_string(),
        };
        format!(
            "picsift.category({number},{{\"scores\":\"{}\",\"answers\":\"{}\",\"truth\":{},\"source\":{}}});\n",
            STANDARD.encode(scores),
            STANDARD.encode(&self.answers),
            bytes(&self.truth),
            bytes(&self.source),
        )
    }
}

/// A call of the pages' function `name` with this argument, `before` it what else it takes.
///
/// # Errors
/// Never for values that are JSON.
pub fn script(name: &str, before: &str, value: &impl Serialize) -> serde_json::Result<String> {
    Ok(format!(
        "picsift.{name}({before}{});\n",
        harmless(&serde_json::to_string(value)?)
    ))
}

/// The last argument of the one call that a script is, as [`script`] writes it with a number before it; `None` where it is none.
pub fn argument(script: &[u8]) -> Option<&[u8]> {
    let comma = script.iter().position(|byte| *byte == b',')?;
    script[comma + 1..].trim_ascii_end().strip_suffix(b");")
}

/// JSON in which no character can end a script or a line of it; outside of its strings there are none of them.
pub fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_end_its_script() {
        let text = "</script><!--<img src=x onerror=alert(1)>&\u{2028}\u{2029}\"'\\";
        let written = script("rows", "0,", &text).unwrap();
        for part in ["<", ">", "&", "\u{2028}", "\u{2029}"] {
            assert!(!written.contains(part), "{written}");
        }
        let json = written
            .strip_prefix("picsift.rows(0,")
            .and_then(|rest| rest.strip_suffix(");\n"))
            .unwrap();
        assert_eq!(serde_json::from_str::<String>(json).unwrap(), text);
        assert_eq!(argument(written.as_bytes()), Some(json.as_bytes()));
        assert_eq!(argument(b"picsift.rows(0"), None);
    }

    #[test]
    fn scores_fall_into_bins_by_truth() {
        let column = Column {
            scores: vec![0.0, 1.0, f32::NAN, 0.5, 0.99],
            answers: vec![0, 1, 2, 1, 1],
            truth: Some(vec![0, 1, 2, 2, 1]),
            source: None,
        };
        assert_eq!(column.counts(), [1, 3, 1]);
        let Histogram::Truth { yes, no } = column.histogram() else {
            panic!("by truth");
        };
        assert_eq!((yes[49], no[0]), (2, 1));
        assert_eq!(yes.iter().chain(&no).sum::<u32>(), 3);
        let script = column.script(3);
        assert!(script.contains("\"answers\":\"AAECAQE=\""), "{script}");
        assert!(script.contains("\"source\":null"), "{script}");
    }
}
