//! An error in one word, for reports and for deciding what to do about it.

use super::{ImageError, Stage};

impl ImageError {
    /// The stage in which the image failed.
    pub fn stage(&self) -> Stage {
        use ImageError::*;
        match self {
            BadReference { .. }
            | UnsupportedScheme { .. }
            | SchemeNotAllowed { .. }
            | OutsideRoot { .. }
            | RefusedAddress { .. }
            | RefusedBucket { .. }
            | RefusedRedirect { .. }
            | TooManyRedirects { .. }
            | GivenUp { .. }
            | Robots { .. }
            | Store { .. }
            | NotFound { .. }
            | PermissionDenied { .. }
            | HttpStatus { .. }
            | Unreachable { .. }
            | Interrupted { .. }
            | Stalled { .. }
            | Compressed { .. }
            | Unreadable { .. }
            | TooLarge { .. }
            | FetchTimedOut { .. } => Stage::Fetch,
            Empty
            | TooManyBytes { .. }
            | UnknownFormat { .. }
            | UnsupportedFormat { .. }
            | Truncated { .. }
            | Corrupt { .. }
            | UnsupportedFeature { .. }
            | TooManyPixels { .. }
            | TooMuchMemory { .. }
            | BadGeometry { .. }
            | Resize { .. }
            | Encode { .. }
            | DecodeTimedOut { .. }
            | DecoderPanicked { .. }
            | DecoderEnded { .. }
            | Reported { .. }
            | PoolStart { .. }
            | PoolClosed => Stage::Decode,
        }
    }

    /// The failure as one word in snake case. Together with [`ImageError::stage`] it is stable: reports and filters
    /// may rely on it, new kinds may come, and none changes its meaning.
    ///
    /// `bad_reference`, `unsupported_scheme`, `scheme_not_allowed`, `outside_root`, `refused_address`,
    /// `refused_bucket`, `refused_redirect`, `too_many_redirects`, `given_up`, `robots`, `store`, `not_found`, `denied`, `http_status`,
    /// `unreachable`, `interrupted`, `stalled`, `compressed`, `unreadable`, `too_large`, `timed_out`, `empty`,
    /// `unknown_format`, `unsupported_format`, `truncated`, `corrupt`, `unsupported_feature`, `too_many_pixels`, `too_much_memory`, `bad_geometry`, `resize`,
    /// `panicked`, `ended`, `pool`.
    pub fn kind(&self) -> &'static str {
        use ImageError::*;
        match self {
            BadReference { .. } => "bad_reference",
            UnsupportedScheme { .. } => "unsupported_scheme",
            SchemeNotAllowed { .. } => "scheme_not_allowed",
            OutsideRoot { .. } => "outside_root",
            RefusedAddress { .. } => "refused_address",
            RefusedBucket { .. } => "refused_bucket",
            RefusedRedirect { .. } => "refused_redirect",
            TooManyRedirects { .. } => "too_many_redirects",
            GivenUp { .. } => "given_up",
            Robots { .. } => "robots",
            Store { .. } => "store",
            NotFound { .. } => "not_found",
            PermissionDenied { .. } => "denied",
            HttpStatus { .. } => "http_status",
            Unreachable { .. } => "unreachable",
            Interrupted { .. } => "interrupted",
            Stalled { .. } => "stalled",
            Compressed { .. } => "compressed",
            Unreadable { .. } => "unreadable",
            TooLarge { .. } | TooManyBytes { .. } => "too_large",
            FetchTimedOut { .. } | DecodeTimedOut { .. } => "timed_out",
            Empty => "empty",
            UnknownFormat { .. } => "unknown_format",
            UnsupportedFormat { .. } => "unsupported_format",
            Truncated { .. } => "truncated",
            Corrupt { .. } => "corrupt",
            UnsupportedFeature { .. } => "unsupported_feature",
            TooManyPixels { .. } => "too_many_pixels",
            TooMuchMemory { .. } => "too_much_memory",
            BadGeometry { .. } => "bad_geometry",
            Resize { .. } => "resize",
            Encode { .. } => "encode",
            DecoderPanicked { .. } => "panicked",
            DecoderEnded { .. } => "ended",
            Reported { kind, .. } => kind,
            PoolStart { .. } | PoolClosed => "pool",
        }
    }

    /// Whether asking for the same image again may help: the network or the server was at fault, and that can pass.
    ///
    /// True for a host that is not reached (but not for a bad certificate), a transfer that broke off, a server that
    /// fell silent or is given up, a fetch that took too long, and the HTTP statuses 408, 429 and 5xx but 501 and 505. Never
    /// for what is refused, missing or forbidden, and never for the content of an image.
    pub fn can_pass(&self) -> bool {
        match self {
            ImageError::Unreachable { can_pass, .. } => *can_pass,
            ImageError::Interrupted { .. }
            | ImageError::Stalled { .. }
            | ImageError::FetchTimedOut { .. } => true,
            ImageError::GivenUp { .. } => true,
            ImageError::HttpStatus { status, .. } => status_can_pass(*status),
            _ => false,
        }
    }
}

/// Whether an HTTP status speaks of the moment and not of what was asked.
pub(crate) fn status_can_pass(status: u16) -> bool {
    match status {
        // Not implemented, HTTP version not supported.
        501 | 505 => false,
        408 | 429 => true,
        _ => status >= 500,
    }
}
