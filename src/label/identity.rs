//! What makes two jobs the same: all that decides which rows there are and what their answers are.
//!
//! A JSON object, so that what changed can be found and said without a rule for each field. What only bounds a run (how
//! many images, how long) or says where it runs is not in it.

use arrow::datatypes::Schema;
use picsift_udf::{AddedColumns, Labelling};
use picsift_vision::ModelInfo;
use serde_json::{Map, Value, json};

use picsift_vision::categories::JobCategory;

/// The parts of a job that its answers follow from.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The model.
    pub model: &'a ModelInfo,
    /// The categories in their order.
    pub categories: &'a [JobCategory],
    /// They as they are asked.
    pub labelling: &'a Labelling,
    /// Names of the added columns.
    pub added: &'a AddedColumns,
    /// Columns of the output.
    pub schema: &'a Schema,
    /// The column of the images.
    pub image: &'a str,
    /// The column of the digests.
    pub digest: Option<&'a str>,
    /// Whether the output has the pictures themselves.
    pub embed: bool,
    /// The predicate of `--where`.
    pub predicate: Option<&'a str>,
    /// The number of `--limit`.
    pub limit: Option<usize>,
    /// Columns that become folders.
    pub partition_by: &'a [String],
    /// Columns that are left out.
    pub dropped: &'a [String],
    /// Digest of the corrections.
    pub corrections: Option<&'a str>,
    /// The cheap model and what it is to keep.
    pub cascade: Option<Value>,
}

/// The identity of the job with these parts.
pub fn identity(parts: &Parts<'_>) -> Value {
    let mut categories = Map::new();
    for (index, category) in parts.categories.iter().enumerate() {
        let mut entry = json!({
            "prompt": parts.labelling.questions()[index].text(),
            "nouns": category.spec.category.nouns,
            "threshold": rounded(parts.labelling.thresholds()[index]),
            "column": parts.added.is[index],
        });
        // Not every category has them, and jobs of before know none.
        if !category.spec.category.templates.is_empty() {
            entry["templates"] = category.spec.category.templates.clone().into();
        }
        if let Some(head) = &category.spec.category.head {
            entry["head"] = head.hex().into();
        }
        categories.insert(category.spec.category.name.clone(), entry);
    }
    let mut columns = Map::new();
    for field in parts.schema.fields() {
        columns.insert(field.name().clone(), field.data_type().to_string().into());
    }
    let rest = json!({
        "model": parts.model.name,
        "revision": parts.model.revision,
        "number format": parts.model.dtype,
        "crops": parts.model.crops,
        "category": categories,
        "image column": parts.image,
        "predicate": parts.predicate.map(kept),
        "limit": parts.limit,
        "partition": parts.partition_by,
        "left-out column": parts.dropped,
        "column": columns,
        "order of columns": parts.schema.fields().iter().map(|f| f.name()).collect::<Vec<_>>(),
    });
    // Not every job has them. In front, because columns change with it.
    let mut identity = Map::new();
    if let Some(digest) = parts.corrections {
        identity.insert("content of the corrections".to_string(), digest.into());
    }
    if let Some(digest) = parts.digest {
        identity.insert("column of digests".to_string(), digest.into());
    }
    if let Some(cascade) = &parts.cascade {
        identity.insert("cascade".to_string(), cascade.clone());
    }
    if parts.embed {
        identity.insert("pictures in the output".to_string(), true.into());
    }
    if let Value::Object(rest) = rest {
        identity.extend(rest);
    }
    identity.into()
}

/// A predicate without credentials; what tells it from another that differs in them alone gives none of them away.
fn kept(predicate: &str) -> String {
    let kept = picsift_images::redacted(predicate);
    match *kept == *predicate {
        true => kept.into_owned(),
        false => {
            let [first, second, ..] = picsift_images::sha256(predicate.as_bytes());
            format!("{kept} ({first:02x}{second:02x})")
        }
    }
}

/// A threshold as a person wrote it, not as its nearest float.
fn rounded(threshold: f32) -> Value {
    threshold
        .to_string()
        .parse::<f64>()
        .unwrap_or_default()
        .into()
}

/// The first difference between an earlier identity and this one, in words; `None` if there is none.
pub fn difference(before: &Value, now: &Value) -> Option<String> {
    let (Value::Object(old), Value::Object(new)) = (before, now) else {
        let said = |value: &Value| match value {
            Value::Null => "not given".to_string(),
            value => value.to_string(),
        };
        return (before != now).then(|| format!("was {} and is {} now", said(before), said(now)));
    };
    for (name, before) in old {
        let what = match new.get(name) {
            None => "is not asked for any more".to_string(),
            Some(now) => match difference(before, now) {
                None => continue,
                Some(what) => what,
            },
        };
        return Some(format!("{name} {what}"));
    }
    let added = new.keys().find(|name| !old.contains_key(*name))?;
    Some(format!("{added} is new"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_said() {
        let job = |threshold: f64, limit: Option<u64>, extra: &[&str]| {
            let mut categories = json!({"dog": {"threshold": threshold}});
            for name in extra {
                categories[*name] = json!({});
            }
            json!({"model": "m", "category": categories, "limit": limit})
        };
        let before = job(0.2, None, &[]);
        let said = |now: &Value| difference(&before, now);
        assert_eq!(said(&before), None);
        assert_eq!(
            said(&job(0.3, None, &[])).unwrap(),
            "category dog threshold was 0.2 and is 0.3 now"
        );
        assert_eq!(
            said(&job(0.2, Some(5), &[])).unwrap(),
            "limit was not given and is 5 now"
        );
        assert_eq!(
            said(&job(0.2, None, &["cat"])).unwrap(),
            "category cat is new"
        );
        let gone = difference(&job(0.2, None, &["cat"]), &before).unwrap();
        assert_eq!(gone, "category cat is not asked for any more");
    }
}
