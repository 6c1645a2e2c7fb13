//! What a failed task says to a person, carried through Ballista.
//!
//! Ballista passes the reason of a task on as its `Debug` form, inside sentences of its own. So the sentence goes between marks, and is
//! taken out again where it arrives.

use std::error::Error;
use std::io::ErrorKind;

use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use datafusion::object_store;

const BEGIN: &str = "<picsift:";
const END: &str = ":picsift>";

/// How an error is said to a person, in one sentence.
pub(crate) type Say = fn(&DataFusionError) -> String;

/// A sentence between marks.
pub(crate) fn marked(sentence: &str) -> String {
    match sentence.contains(BEGIN) {
        true => sentence.to_string(),
        false => format!("{BEGIN}{sentence}{END}"),
    }
}

/// The last sentence that was marked in what Ballista says; all of that where there is none.
pub(crate) fn said(text: &str) -> String {
    let inner = text.rsplit_once(BEGIN).map(|(_, rest)| rest);
    let inner = inner.and_then(|rest| rest.split_once(END));
    match inner {
        Some((sentence, _)) => unescaped(sentence),
        None => text.to_string(),
    }
}

/// Takes the escapes of `Debug` back.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some('n' | 't' | 'r') => out.push(' '),
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

/// An error of a task in the form in which Ballista does with it what is right: what may pass is tried again, all else is not, and says why.
pub(crate) fn told(error: DataFusionError, say: Say) -> DataFusionError {
    let inner = of_task(&error);
    // Ballista's own: what it cannot fetch from another executor is made again.
    if let DataFusionError::External(inner) = inner.find_root()
        && inner.is::<BallistaError>()
    {
        return error;
    }
    let sentence = marked(&say(inner));
    match may_pass(inner) {
        true => DataFusionError::IoError(std::io::Error::other(sentence)),
        false => DataFusionError::Execution(sentence),
    }
}

/// What went wrong in a task, without what Ballista puts around it.
fn of_task(error: &DataFusionError) -> &DataFusionError {
    match error.find_root() {
        DataFusionError::External(outer) => match outer.downcast_ref() {
            Some(BallistaError::DataFusionError(inner)) => of_task(inner),
            _ => error,
        },
        _ => error,
    }
}

/// Whether the same may go well a little later: a store or file that could not be read for no reason that lasts.
fn may_pass(error: &DataFusionError) -> bool {
    let mut inner: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = inner {
        if let Some(store) = error.downcast_ref::<object_store::Error>() {
            return matches!(
                store,
                object_store::Error::Generic { .. } | object_store::Error::JoinError { .. }
            );
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return !matches!(
                io.kind(),
                ErrorKind::NotFound
                    | ErrorKind::PermissionDenied
                    | ErrorKind::InvalidData
                    | ErrorKind::InvalidInput
                    | ErrorKind::UnexpectedEof
            );
        }
        inner = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_arrives_as_it_was_said() {
        let sentence = "cannot read 'a \"b\".jpg': it's\ngone";
        let error = DataFusionError::Execution(marked(sentence));
        let carried = format!(
            "Job x failed: Task failed due to runtime execution error: DataFusionError({error:?})"
        );
        assert_eq!(said(&carried), "cannot read 'a \"b\".jpg': it's gone");
        assert_eq!(said("no executors"), "no executors");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let say: Say = |error| error.to_string();
        let store = |error| DataFusionError::ObjectStore(Box::new(error));
        let passing = store(object_store::Error::Generic {
            store: "S3",
            source: "503 Slow Down".into(),
        });
        assert!(matches!(told(passing, say), DataFusionError::IoError(_)));
        // As writers of what is passed between stages say it.
        let around = |inner| {
            let inner = Box::new(inner);
            let error = Box::new(BallistaError::DataFusionError(inner));
            DataFusionError::Shared(DataFusionError::External(error).into())
        };
        let passing = around(store(object_store::Error::Generic {
            store: "S3",
            source: "503 Slow Down".into(),
        }));
        assert!(matches!(told(passing, say), DataFusionError::IoError(_)));
        let said_inside = told(around(DataFusionError::Execution("no".to_string())), say);
        assert_eq!(said(&said_inside.to_string()), "Execution error: no");
        let lasting = store(object_store::Error::PermissionDenied {
            path: "a".to_string(),
            source: "403".into(),
        });
        assert!(matches!(told(lasting, say), DataFusionError::Execution(_)));
        // Another machine may have room.
        let full = DataFusionError::IoError(ErrorKind::StorageFull.into());
        assert!(matches!(told(full, say), DataFusionError::IoError(_)));
        let missing = DataFusionError::IoError(ErrorKind::NotFound.into());
        assert!(matches!(told(missing, say), DataFusionError::Execution(_)));
        let fetch = DataFusionError::External(Box::new(BallistaError::FetchFailed(
            "e".to_string(),
            1,
            2,
            "gone".to_string(),
        )));
        assert!(matches!(told(fetch, say), DataFusionError::External(_)));
    }
}
