//! The `picsift.*` settings of a SQL session and what their texts mean.
//!
//! Owns names, defaults and parsing, nothing else: which model a name stands for is the model crate's to say.
//! `SET` stores a value as it comes; it is checked when a query that needs it is planned, because DataFusion
//! gives an extension no place for an error that names the setting.

use std::fmt;
use std::str::FromStr;

use datafusion::common::config::{ConfigExtension, ConfigOptions};
use datafusion::common::{Result, extensions_options, plan_err};
use picsift_vision::DEFAULT_MODEL;

extensions_options! {
    /// Settings of picsift in a SQL session, `SET picsift.<name> = ...`.
    pub struct PicsiftOptions {
        /// Model that answers; its known names stand in the message for a wrong one.
        pub model: String, default = DEFAULT_MODEL.to_string()
        /// Where the model runs: auto, cpu, cuda or cuda:N.
        pub device: String, default = "auto".to_string()
        /// Score from which a category holds, 0 to 1. Unset: the model's own default.
        pub threshold: Option<f64>, default = None
        /// What an image that cannot be read or judged gives: null, or fail to stop the query.
        pub on_error: String, default = "null".to_string()
    }
}

impl ConfigExtension for PicsiftOptions {
    const PREFIX: &'static str = "picsift";
}

impl PicsiftOptions {
    /// The session's settings, or the defaults where the session was made without them.
    pub fn of(config: &ConfigOptions) -> Self {
        config
            .extensions
            .get::<PicsiftOptions>()
            .cloned()
            .unwrap_or_default()
    }

    /// The threshold for categories that have none of their own.
    ///
    /// # Errors
    /// A planning error when it is not within 0 to 1.
    pub fn threshold(&self) -> Result<Option<f32>> {
        match self.threshold {
            Some(t) if !(0.0..=1.0).contains(&t) => {
                plan_err!("picsift.threshold is {t}; it must be a number from 0 to 1")
            }
            other => Ok(other.map(|t| t as f32)),
        }
    }

    /// What a failed image does to the query.
    ///
    /// # Errors
    /// A planning error when the text is neither `null` nor `fail`.
    pub fn on_error(&self) -> Result<OnError> {
        match self.on_error.parse() {
            Ok(value) => Ok(value),
            Err(text) => plan_err!("picsift.on_error: {text}"),
        }
    }
}

/// What a failed image does to the query or job that asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    /// Its answers are NULL, and the rest goes on.
    #[default]
    Null,
    /// The query or job stops with the row's error.
    Fail,
}

impl FromStr for OnError {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "null" => Ok(Self::Null),
            "fail" => Ok(Self::Fail),
            _ => Err(format!("'{text}' is not known; use 'null' or 'fail'")),
        }
    }
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Fail => "fail",
        })
    }
}
