//! The closing lines of a job.

use std::io::Write;

use indicatif::{HumanBytes, HumanCount};
use picsift_udf::CLASH_PREFIX;
use serde_json::{Map, Value, json};

use super::printer::Lines;
use crate::dataset::Manifest;
use crate::dataset::cascade::CascadeEntry;
use crate::label::LabelJob;

/// What a summary says that no manifest knows.
pub(super) struct Summary {
    output: String,
    failures: String,
    added: Vec<String>,
    /// Whether several programs may have made it, whose times are added up.
    of_several: bool,
}

impl Summary {
    /// Of a job, before it runs.
    pub(super) fn of(job: &LabelJob) -> Self {
        Self {
            output: job.output(),
            failures: job.failures(),
            added: job.added_columns(),
            of_several: false,
        }
    }

    /// Of an output that several programs have made.
    pub(super) fn of_output(output: String, failures: String) -> Self {
        Self {
            output,
            failures,
            added: Vec::new(),
            of_several: true,
        }
    }

    /// Prints what was done to standard output.
    ///
    /// # Errors
    /// The system's, when standard output is closed.
    pub(super) fn print(&self, manifest: &Manifest) -> std::io::Result<()> {
        let mut out = Lines::new(std::io::stdout().lock());
        self.write(&mut out, manifest)?;
        out.flush()
    }

    /// What was done, for a program.
    pub(super) fn object(&self, manifest: &Manifest) -> Value {
        let held = manifest.categories.iter();
        let held: Map<String, Value> = held.map(|c| (c.name.clone(), c.held.into())).collect();
        json!({
            "output": self.output,
            "rows": manifest.counts.rows,
            "images": manifest.counts.images,
            "failures": manifest.counts.failures,
            "asked": manifest.counts.asked,
            "distinct_images": manifest.counts.distinct_images,
            "near_duplicates": manifest.counts.near_duplicates,
            "held": held,
            "partial": manifest.partial,
            "cascade": manifest.cascade,
            "model": manifest.model,
            "seconds": manifest.seconds,
            "files": manifest.files.len(),
            "bytes": manifest.files.iter().map(|file| file.bytes).sum::<u64>(),
            "failed_images": (manifest.counts.failures > 0).then_some(&self.failures),
        })
    }

    fn write(&self, out: &mut impl Write, manifest: &Manifest) -> std::io::Result<()> {
        let counts = &manifest.counts;
        let seconds = &manifest.seconds;
        writeln!(
            out,
            "{} {}, {} {} ({}{} distinct), {} failed, in {:.1} s{} ({:.0} images/s{})",
            HumanCount(counts.rows),
            if counts.rows == 1 { "row" } else { "rows" },
            HumanCount(counts.images),
            if counts.images == 1 {
                "image"
            } else {
                "images"
            },
            if counts.distinct_is_exact {
                ""
            } else {
                "at least "
            },
            HumanCount(counts.distinct_images),
            HumanCount(counts.failures),
            seconds.wall,
            if self.of_several {
                " of all programs"
            } else {
                ""
            },
            counts.images as f64 / seconds.wall.max(0.001),
            if self.of_several { " each" } else { "" },
        )?;
        let model = |name: &str| manifest.model.get(name).and_then(Value::as_str);
        let crops = model("crops").map(|crops| format!(", crops {crops}"));
        writeln!(
            out,
            "fetch {:.1} s, decode {:.1} s, model {:.1} s ({} on {}, {}{})",
            seconds.fetch,
            seconds.decode,
            seconds.model,
            model("name").unwrap_or_default(),
            model("device").unwrap_or_default(),
            model("dtype").unwrap_or_default(),
            crops.unwrap_or_default()
        )?;
        let spared = (manifest.cascade.as_ref()).map_or(0, |cascade| cascade.counts.spared);
        let known = counts
            .images
            .saturating_sub(counts.asked + counts.failures + spared);
        match known {
            0 => {}
            1 => writeln!(out, "1 image was not asked again: its answers were known")?,
            known => writeln!(
                out,
                "{} images were not asked again: their answers were known",
                HumanCount(known)
            )?,
        }
        if counts.near_duplicates > 0 {
            writeln!(
                out,
                "{} images look like another one with other bytes; each was asked by itself",
                HumanCount(counts.near_duplicates)
            )?;
        }
        if let Some(cascade) = &manifest.cascade {
            write_cascade(out, cascade)?;
        }
        let held: Vec<String> = manifest
            .categories
            .iter()
            .map(|category| format!("{} {}", category.name, HumanCount(category.held)))
            .collect();
        writeln!(out, "{}", held.join(", "))?;
        let files = manifest.files.len();
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        writeln!(
            out,
            "{files} file{} in {}, {}",
            if files == 1 { "" } else { "s" },
            self.output,
            HumanBytes(bytes)
        )?;
        let asked = manifest.categories.iter().map(|c| &c.is_column);
        let added = match self.added.is_empty() {
            true => asked.collect(),
            false => self.added.iter().collect::<Vec<_>>(),
        };
        let moved: Vec<&str> = added
            .into_iter()
            .map(String::as_str)
            .filter(|name| name.starts_with(CLASH_PREFIX) && *name != "picsift_error")
            .collect();
        if !moved.is_empty() {
            writeln!(
                out,
                "the table has columns of these names already, so the answers are in {}",
                moved.join(", ")
            )?;
        }
        if let Some(reason) = &manifest.partial {
            writeln!(out, "this is a part of the table: {reason}")?;
        }
        if counts.panics > 0 {
            writeln!(
                out,
                "the model failed unexpectedly {} and went on; the images it had then are among the failed",
                match counts.panics {
                    1 => "once".to_string(),
                    panics => format!("{} times", HumanCount(panics)),
                }
            )?;
        }
        if counts.failures > 0 {
            writeln!(
                out,
                "why images failed: picsift sql -c \"SELECT stage, kind, count(*) FROM '{}' GROUP BY stage, kind\"; \
             --retry-failed asks for them again",
                self.failures,
            )?;
        }
        Ok(())
    }
}

/// What a cheap model decided, and what it keeps.
fn write_cascade(out: &mut impl Write, cascade: &CascadeEntry) -> std::io::Result<()> {
    let counts = &cascade.counts;
    let cheap = cascade.cheap.get("name").and_then(Value::as_str);
    writeln!(
        out,
        "{} answered for {} rows, {} were asked about and {} more as an audit, after a sample of {} of {} rows",
        cheap.unwrap_or_default(),
        HumanCount(counts.spared),
        HumanCount(counts.unsure),
        HumanCount(counts.audited),
        HumanCount(cascade.sampled),
        HumanCount(cascade.rows),
    )?;
    for category in cascade.categories.iter().filter(|known| known.decides()) {
        let kept = |what: &str, least: Option<f64>, bound: f64| match least {
            Some(_) => format!("{what} at least {bound:.3}"),
            None => format!("{what} 1"),
        };
        let (recall, precision) = (
            kept("recall", category.min_recall, category.recall),
            kept("precision", category.min_precision, category.precision),
        );
        writeln!(
            out,
            "{}: {recall}, {precision} against the dear model, with {} % for all categories together",
            category.name,
            100.0 * cascade.confidence
        )?;
    }
    for note in &cascade.notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use picsift_vision::{CropPolicy, InputGeometry, ModelInfo};

    use super::*;
    use crate::dataset::manifest::{Counts, InputEntry, JobEntry, Seconds};
    use crate::input::Position;

    fn summary(panics: u64, crops: Option<CropPolicy>) -> String {
        let model = ModelInfo {
            name: "eyes".to_string(),
            revision: "1".to_string(),
            licence: None,
            device: "cuda:0".to_string(),
            dtype: "bf16",
            crops,
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: true,
        };
        let manifest = Manifest {
            partial: Some("20 images have been asked".to_string()),
            picsift: "0".to_string(),
            model: serde_json::to_value(model).unwrap(),
            categories: Vec::new(),
            input: InputEntry {
                tables: Vec::new(),
                image_column: "image".to_string(),
                predicate: None,
                limit: None,
                partition_by: Vec::new(),
            },
            corrections: None,
            cascade: None,
            counts: Counts {
                rows: 1200,
                images: 1000,
                failures: panics,
                asked: 1000,
                panics,
                distinct_images: 900,
                near_duplicates: 12,
                distinct_is_exact: true,
            },
            seconds: Seconds {
                wall: 10.0,
                fetch: 1.0,
                decode: 2.0,
                model: 3.0,
            },
            files: Vec::new(),
            job: JobEntry {
                id: String::new(),
                identity: serde_json::Value::Null,
                through: Position::default(),
                files: Vec::new(),
            },
        };
        let summary = Summary {
            output: "out".to_string(),
            failures: "out.errors.parquet".to_string(),
            added: Vec::new(),
            of_several: false,
        };
        let mut text = Vec::new();
        summary.write(&mut text, &manifest).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_model_stands_with_its_device_and_number_format() {
        assert!(summary(0, None).contains("model 3.0 s (eyes on cuda:0, bf16)"));
        let text = summary(0, Some(CropPolicy::Global));
        assert!(
            text.contains("(eyes on cuda:0, bf16, crops global)"),
            "{text}"
        );
    }

    #[test]
    fn a_panic_of_the_model_is_said() {
        assert!(!summary(0, None).contains("unexpectedly"));
        assert!(summary(1, None).contains("failed unexpectedly once and went on"));
        assert!(summary(2, None).contains("failed unexpectedly 2 times"));
    }
}
