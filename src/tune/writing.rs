//! A plan as a categories file that `label` takes as it is.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::candidates::{Tried, has_own_column};
use super::choosing::Plan;
use super::report::{Report, said, seconds};
use crate::error::AppError;

/// The file's text, for the place where it will lie.
///
/// # Errors
/// [`AppError::File`] where the place of a file of heads is not known, [`AppError::Usage`] for a category that has the name of what the
/// file says beside its categories.
pub(super) fn text(
    report: &Report,
    plan: &Plan,
    tried: &[Tried],
    output: &Path,
) -> Result<String, AppError> {
    let mut document = DocumentMut::new();
    let Some(chosen) = report.choice() else {
        return Ok(String::new());
    };
    document.insert("model", value(&chosen.model));
    if let Some(cheap) = &chosen.cascade {
        document.insert("cascade", value(cheap));
    }
    for (one, part) in tried.iter().zip(&plan.parts) {
        let asked = &one.wordings[part.wording].spec.category;
        let mut table = Table::new();
        if let Some(prompt) = part.prompt.as_ref().or(asked.prompt.as_ref()) {
            table.insert("prompt", value(prompt));
        }
        for (key, texts) in [("nouns", &asked.nouns), ("templates", &asked.templates)] {
            if !texts.is_empty() {
                table.insert(key, value(texts.iter().collect::<Array>()));
            }
        }
        // Of a cascade the head is the cheap model's, whatever the dear one is asked.
        let head = one.heads.as_deref();
        if let Some(head) = head.filter(|_| asked.head.is_some() || plan.cascade.is_some()) {
            let head = std::path::absolute(head).map_err(AppError::file("read", head))?;
            let inside = output
                .parent()
                .and_then(|folder| head.strip_prefix(folder).ok());
            let named = inside.unwrap_or(&head).display().to_string();
            table.insert("head", value(named));
        }
        if has_own_column(&one.category) {
            table.insert("column", value(&one.category.column));
        }
        // The shortest text that is read as the same number; as a double it would have digits that nobody chose.
        let threshold = part.threshold.to_string().parse();
        table.insert(
            "threshold",
            value(threshold.unwrap_or(f64::from(part.threshold))),
        );
        if let Some((_, promise)) = plan.cascade {
            table.insert("min_recall", value(promise));
            table.insert("min_precision", value(promise));
        }
        if document.contains_key(one.name()) {
            return Err(AppError::Usage(format!(
                "a category that is called '{}' cannot stand in a file that names its models; give it another name",
                one.name()
            )));
        }
        document.insert(one.name(), Item::Table(table));
    }
    Ok(format!(
        "# Chosen by picsift tune, by {} rows of {}: mean F1 {} on {} others, {} s per 1,000 images.\n{document}",
        report.chosen_by,
        report.table,
        said(chosen.f1),
        report.judged_by,
        seconds(chosen.seconds_per_thousand)
    ))
}
