//! The `picsift.*` settings of a SQL session and what their texts mean.
//!
//! Owns names, defaults and checks, nothing else: which models there are is the model crate's to say, when a query needs
//! one. Everything else is checked by `SET` itself.

use std::any::Any;
use std::fmt;
use std::str::FromStr;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{Result, config_err};
use picsift_vision::{DEFAULT_MODEL, DeviceChoice};

/// Settings of picsift in a SQL session, `SET picsift.<name> = ...`.
#[derive(Debug, Clone)]
pub struct PicsiftOptions {
    /// `model`: which model answers.
    pub model: String,
    /// `device`: where the model runs.
    pub device: DeviceChoice,
    /// `threshold`: the score from which a category holds, 0 to 1; `None` is the model's own.
    pub threshold: Option<f32>,
    /// `on_error`: what an image that cannot be read or judged does.
    pub on_error: OnError,
}

impl Default for PicsiftOptions {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.to_string(),
            device: DeviceChoice::Auto,
            threshold: None,
            on_error: OnError::Null,
        }
    }
}

impl ConfigExtension for PicsiftOptions {
    const PREFIX: &'static str = "picsift";
}

impl ExtensionOptions for PicsiftOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "model" => self.model = value.to_string(),
            "device" => match value.parse() {
                Ok(device) => self.device = device,
                Err(error) => return config_err!("picsift.device: {error}"),
            },
            "threshold" => match value.parse::<f32>() {
                Ok(threshold) if (0.0..=1.0).contains(&threshold) => {
                    self.threshold = Some(threshold);
                }
                _ => {
                    return config_err!(
                        "picsift.threshold is '{value}'; it must be a number from 0 to 1"
                    );
                }
            },
            "on_error" => match value.parse() {
                Ok(on_error) => self.on_error = on_error,
                Err(error) => return config_err!("picsift.on_error: {error}"),
            },
            _ => {
                return config_err!(
                    "there is no setting picsift.{key}; there are picsift.model, device, threshold and on_error"
                );
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |name: &str, value: Option<String>, description| ConfigEntry {
            key: format!("{}.{name}", Self::PREFIX),
            value,
            description,
        };
        vec![
            entry("model", Some(self.model.clone()), "Model that answers."),
            entry(
                "device",
                Some(self.device.to_string()),
                "Where the model runs: auto, cpu, cuda or cuda:N.",
            ),
            entry(
                "threshold",
                self.threshold.map(|threshold| threshold.to_string()),
                "Score from which a category holds, 0 to 1; unset, the model's own.",
            ),
            entry(
                "on_error",
                Some(self.on_error.to_string()),
                "What an image that cannot be read or judged gives: null, or fail to stop the query.",
            ),
        ]
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_refused_with_the_settings_name() {
        let mut options = PicsiftOptions::default();
        for (key, value) in [
            ("threshold", "1.5"),
            ("threshold", "high"),
            ("device", "gpu"),
            ("on_error", "explode"),
        ] {
            let message = options.set(key, value).unwrap_err().to_string();
            assert!(message.contains(&format!("picsift.{key}")), "{message}");
        }
        assert!(
            options
                .set("modle", "x")
                .unwrap_err()
                .to_string()
                .contains("picsift.model")
        );
    }

    #[test]
    fn what_is_set_is_listed() {
        let mut options = PicsiftOptions::default();
        options.set("threshold", "0.25").unwrap();
        options.set("device", "cuda:1").unwrap();
        let listed: Vec<_> = options
            .entries()
            .into_iter()
            .map(|e| (e.key, e.value))
            .collect();
        assert!(listed.contains(&("picsift.threshold".to_string(), Some("0.25".to_string()))));
        assert!(listed.contains(&("picsift.device".to_string(), Some("cuda:1".to_string()))));
    }
}
