//! Why a client does not get what it asked for: the kind and what it may know. Details go to the log.
//!
//! What is wrong with a statement is the client's to put right, so it is told in whole. What went wrong behind it may name files, servers
//! and libraries of this machine, so the client is told where the log has it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use datafusion::error::DataFusionError;
use picsift_udf::{Exhausted, FailedImage};
use serde_json::json;
use tonic::{Code, Status};

use crate::error::{AppError, innermost};

/// Why a request is refused or ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The request is wrong.
    #[error("{0}")]
    Wrong(String),
    /// Nobody shows who asks, or not rightly.
    #[error("{0}")]
    Unknown(&'static str),
    /// Whoever asks may not.
    #[error("{0}")]
    Forbidden(String),
    /// What is asked for is not there, or not any more.
    #[error("{0}")]
    Missing(String),
    /// Whoever asks has had what there is for it.
    #[error("{0}")]
    Exhausted(String),
    /// The server cannot do it.
    #[error("{0}")]
    Unsupported(String),
    /// The work failed; the text is what the log calls it.
    #[error("the work failed; the server's log has the reason under {0}")]
    Failed(String),
}

impl Refusal {
    /// Its kind, as metrics and logs have it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Wrong(_) => "wrong",
            Self::Unknown(_) => "unknown",
            Self::Forbidden(_) => "forbidden",
            Self::Missing(_) => "missing",
            Self::Exhausted(_) => "exhausted",
            Self::Unsupported(_) => "unsupported",
            Self::Failed(_) => "failed",
        }
    }

    /// What a client may know of an error; the rest is logged under `id`.
    pub(super) fn of(error: &AppError, id: &str) -> Self {
        match error {
            AppError::Usage(text) => Self::Wrong(text.clone()),
            AppError::Plan(error) | AppError::Run(error) => Self::of_engine(error, id),
            error => Self::hidden(error, id),
        }
    }

    /// The same of what a plan or its rows gave.
    pub(super) fn of_engine(error: &DataFusionError, id: &str) -> Self {
        match error.find_root() {
            DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::Configuration(_)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Diagnostic(..) => Self::Wrong(innermost(error)),
            DataFusionError::ResourcesExhausted(_) => Self::Exhausted(
                "the statement needs more memory than the server gives; sort, group or join fewer rows"
                    .to_string(),
            ),
            DataFusionError::ArrowError(arrow, _) => match &**arrow {
                arrow::error::ArrowError::IoError(..)
                | arrow::error::ArrowError::ExternalError(_)
                | arrow::error::ArrowError::ParquetError(_) => Self::hidden(error, id),
                // A value that cannot be computed with.
                _ => Self::Wrong(innermost(error)),
            },
            DataFusionError::External(source) => {
                if let Some(end) = source.downcast_ref::<Exhausted>() {
                    return Self::Exhausted(end.to_string());
                }
                match source.downcast_ref::<FailedImage>() {
                    Some(image) => Self::Wrong(image.to_string()),
                    None => Self::hidden(error, id),
                }
            }
            _ => Self::hidden(error, id),
        }
    }

    fn hidden(error: &(dyn std::error::Error + 'static), id: &str) -> Self {
        tracing::error!(target: "picsift::serve", query = id, %error, "failed");
        Self::Failed(id.to_string())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Wrong(_) => Code::InvalidArgument,
            Refusal::Unknown(_) => Code::Unauthenticated,
            Refusal::Forbidden(_) => Code::PermissionDenied,
            Refusal::Missing(_) => Code::NotFound,
            Refusal::Exhausted(_) => Code::ResourceExhausted,
            Refusal::Unsupported(_) => Code::Unimplemented,
            Refusal::Failed(_) => Code::Internal,
        };
        Status::new(code, refusal.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = match &self {
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::Unknown(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Exhausted(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = json!({"error": self.to_string(), "kind": self.kind()});
        (code, axum::Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_learns_what_it_can_put_right_and_no_more() {
        let plan = AppError::Plan(DataFusionError::Plan("no column 'x'".to_string()));
        assert_eq!(
            Refusal::of(&plan, "q1"),
            Refusal::Wrong("no column 'x'".to_string())
        );
        let file = std::io::Error::other("/secret/place is gone");
        for hidden in [
            AppError::Run(DataFusionError::IoError(file)),
            AppError::Run(DataFusionError::Execution("/secret/place".to_string())),
            AppError::file("read", "/secret/place")(std::io::Error::other("gone")),
        ] {
            let refusal = Refusal::of(&hidden, "q2");
            assert_eq!(refusal, Refusal::Failed("q2".to_string()));
            assert!(!refusal.to_string().contains("secret"));
        }
    }
}
