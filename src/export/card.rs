//! The README.md of a data set: what it is, who said so, how it was made, and under which licences its pictures are.
//!
//! Text from data is escaped: it can neither end the header nor become markup.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::licences::Licences;
use super::sinks::Form;
use crate::dataset::labels::Labels;
use crate::eval::figures::decimals;
use crate::eval::report::escaped;

/// What a card says beyond the table.
#[derive(Debug)]
pub struct Card<'a> {
    /// The table.
    pub labelled: &'a Labels,
    /// The form of the data set.
    pub form: Form,
    /// Names of the splits.
    pub splits: &'a [String],
    /// Names of the classes.
    pub classes: &'a [String],
    /// Pictures by split and class.
    pub counts: &'a [Vec<u64>],
    /// Their licences.
    pub licences: &'a Licences,
    /// Pictures about which a person decided, where the table says so.
    pub people: Option<u64>,
    /// Rows that were left out, by reason.
    pub left_out: &'a BTreeMap<String, u64>,
    /// An evaluation as `picsift eval --format json` gives it.
    pub evaluation: Option<&'a Value>,
    /// Seed of the splits.
    pub seed: u64,
}

impl Card<'_> {
    /// The text.
    pub fn text(&self) -> String {
        let mut text = self.header();
        let total: u64 = self.counts.iter().flatten().sum();
        text += &format!("\n# {}\n\n", escaped(&title(&self.labelled.shown)));
        text += &format!(
            "{total} pictures in {} classes, labelled by picsift {} and written as {}. Splits are by the \
             SHA-256 of a picture (seed {}), so that the same picture is never in two of them.\n",
            self.classes.len(),
            env!("CARGO_PKG_VERSION"),
            match self.form {
                Form::Webdataset => "WebDataset",
                Form::Imagefolder => "ImageFolder",
                Form::Hf => "Parquet",
            },
            self.seed
        );
        text += "\n## Pictures\n\n";
        let mut header = vec!["class".to_string()];
        header.extend(self.splits.iter().cloned());
        let rows = self.classes.iter().enumerate().map(|(class, name)| {
            let mut row = vec![escaped(name)];
            row.extend(self.counts.iter().map(|split| split[class].to_string()));
            row
        });
        table(&mut text, &header, rows);
        self.labels(&mut text);
        self.judged(&mut text);
        if !self.left_out.is_empty() {
            text += "\n## Left out\n\n";
            for (reason, rows) in self.left_out {
                let _ = writeln!(text, "- {rows}: {}", escaped(reason));
            }
        }
        text += "\n## Licences\n\n";
        match self.licences.named.is_empty() {
            true => text += "The table says nothing of the licences of its pictures.\n",
            false => {
                let rows = self.licences.rows().into_iter();
                let rows = rows.map(|(name, rows)| vec![escaped(&name), rows.to_string()]);
                table(
                    &mut text,
                    &["licence".to_string(), "pictures".to_string()],
                    rows,
                );
            }
        }
        text
    }

    fn header(&self) -> String {
        let total: u64 = self.counts.iter().flatten().sum();
        let size = match total {
            0..1_000 => "n<1K",
            1_000..10_000 => "1K<n<10K",
            10_000..100_000 => "10K<n<100K",
            100_000..1_000_000 => "100K<n<1M",
            1_000_000..10_000_000 => "1M<n<10M",
            _ => "10M<n<100M",
        };
        let mut text = format!(
            "---\npretty_name: {}\nlicense: {}\ntask_categories:\n- image-classification\nsize_categories:\n- {size}\ntags:\n- picsift\n",
            quoted(&title(&self.labelled.shown)),
            quoted(&self.licences.slug()),
        );
        text += "configs:\n- config_name: default\n  data_files:\n";
        for (split, counts) in self.splits.iter().zip(self.counts) {
            if counts.iter().sum::<u64>() > 0 {
                let files = match self.form {
                    Form::Webdataset => format!("{split}-*.tar"),
                    Form::Imagefolder => format!("{split}/**"),
                    Form::Hf => format!("data/{split}-*.parquet"),
                };
                let _ = writeln!(
                    text,
                    "  - split: {}\n    path: {}",
                    quoted(split),
                    quoted(&files)
                );
            }
        }
        text + "---\n"
    }

    fn labels(&self, text: &mut String) {
        *text += "\n## Labels\n\n";
        let part = |name: &str| self.labelled.model()?.get(name)?.as_str();
        match part("name") {
            Some(model) => {
                let revision = part("revision").unwrap_or("unknown");
                let _ = writeln!(
                    text,
                    "Model {}, revision {}.",
                    escaped(model),
                    escaped(revision)
                );
            }
            None => *text += "The table does not say which model labelled it.\n",
        }
        if let Some(people) = self.people {
            let _ = writeln!(
                text,
                "\nFor {people} pictures a person decided at least one of the answers."
            );
        }
        text.push('\n');
        let header = ["category", "question", "holds from"].map(str::to_string);
        let rows = self.labelled.categories.iter().map(|category| {
            vec![
                escaped(&category.name),
                escaped(category.prompt.as_deref().unwrap_or("-")),
                category
                    .threshold
                    .map_or("-".to_string(), |t| t.to_string()),
            ]
        });
        table(text, &header, rows);
    }

    fn judged(&self, text: &mut String) {
        let Some(all) = self
            .evaluation
            .and_then(|e| e.get("categories")?.as_array())
        else {
            return;
        };
        *text +=
            "\n## Evaluation\n\nWith 95 % intervals; `picsift eval` says how they were found.\n\n";
        let columns = [
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "F1"),
            ("average_precision", "average precision"),
            ("roc_auc", "ROC AUC"),
        ];
        let mut header = vec!["category".to_string(), "support".to_string()];
        header.extend(columns.map(|(_, name)| name.to_string()));
        let rows = all.iter().map(|category| {
            let figure = |name: &str| {
                let part = |part: &str| category.get(name)?.get(part)?.as_f64();
                match (part("value"), part("low"), part("high")) {
                    (Some(value), Some(low), Some(high)) => format!(
                        "{} ({} to {})",
                        decimals(value, 3),
                        decimals(low, 2),
                        decimals(high, 2)
                    ),
                    (Some(value), ..) => decimals(value, 3),
                    _ => "-".to_string(),
                }
            };
            let name = category.get("name").and_then(Value::as_str).unwrap_or("-");
            let support = category
                .get("support")
                .and_then(Value::as_f64)
                .unwrap_or(0.0);
            let mut row = vec![escaped(name), format!("{support:.0}")];
            row.extend(columns.map(|(key, _)| figure(key)));
            row
        });
        table(text, &header, rows);
    }
}

fn table(text: &mut String, header: &[String], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(
        text,
        "| {} |\n|{}",
        header.join(" | "),
        " --- |".repeat(header.len())
    );
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
}

/// What a data set of this table is called: the end of its path, for the rest is one machine's own business.
fn title(shown: &str) -> String {
    let end = shown.trim_end_matches('/').rsplit('/').next();
    end.filter(|end| !end.is_empty())
        .unwrap_or(shown)
        .to_string()
}

/// A text in the header: JSON's form of it, which YAML reads as the same.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
