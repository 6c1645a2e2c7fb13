//! How a person wants a model to run: device, number format, crops, and how it speaks.
//!
//! Plain values with their names as people type them; what a model makes of them is the model's own business.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::Serialize;

use crate::device::DeviceChoice;
use crate::error::VisionError;

/// Everything that decides how a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LoadOptions {
    /// Where it runs.
    pub device: DeviceChoice,
    /// The number format that it computes in; `None` is the device's own, bf16 on a GPU and f32 on a CPU.
    pub dtype: Option<ComputeDtype>,
    /// Whether its weights are quantised while they are loaded.
    pub quantize: Option<Quantization>,
    /// How images are cut into views.
    pub crops: CropPolicy,
}

/// A number format that a model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComputeDtype {
    /// 32 bits. On a GPU several times slower than bf16 and twice its memory: to see what bf16 costs.
    F32,
    /// 16 bits, with the range of 32 and 8 bits of precision.
    Bf16,
}

impl ComputeDtype {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for ComputeDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ComputeDtype {
    type Err = VisionError;

    fn from_str(text: &str) -> Result<Self, VisionError> {
        match text.to_ascii_lowercase().as_str() {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(VisionError::UnknownOption {
                option: "dtype",
                text: text.to_owned(),
                known: "f32 or bf16",
            }),
        }
    }
}

/// A number format of weights in blocks, as in GGUF files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantization {
    /// 8 bits a weight and one scale for 32 of them: 8.5 bits a weight.
    Q8_0,
    /// 4 bits a weight with scales and minima for 32 of 256: 4.5 bits a weight.
    Q4K,
}

impl Quantization {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4k",
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Quantization {
    type Err = VisionError;

    fn from_str(text: &str) -> Result<Self, VisionError> {
        match text.to_ascii_lowercase().as_str() {
            "q8_0" => Ok(Self::Q8_0),
            "q4k" => Ok(Self::Q4K),
            _ => Err(VisionError::UnknownOption {
                option: "quantize",
                text: text.to_owned(),
                known: "q8_0 or q4k",
            }),
        }
    }
}

/// What of an image a model that cuts images into crops is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CropPolicy {
    /// The overview and the local crops of the published model's tiling.
    #[default]
    Reference,
    /// The overview alone: several times faster on large pictures, and blind to what is small in them.
    Global,
}

impl fmt::Display for CropPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reference => "reference",
            Self::Global => "global",
        })
    }
}

impl FromStr for CropPolicy {
    type Err = VisionError;

    fn from_str(text: &str) -> Result<Self, VisionError> {
        match text.to_ascii_lowercase().as_str() {
            "reference" => Ok(Self::Reference),
            "global" => Ok(Self::Global),
            _ => Err(VisionError::UnknownOption {
                option: "crops",
                text: text.to_owned(),
                known: "reference or global",
            }),
        }
    }
}

/// How a category is put to a model that reads questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PromptStyle {
    /// In the words that the model's makers give as an example: "Is there a dog in the image?".
    #[default]
    Vendor,
    /// With the category at the end, so that what is before it is computed once for all categories. Whether a model answers it as well
    /// as the other must be measured.
    Shared,
}

impl fmt::Display for PromptStyle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vendor => "vendor",
            Self::Shared => "shared",
        })
    }
}

impl FromStr for PromptStyle {
    type Err = VisionError;

    fn from_str(text: &str) -> Result<Self, VisionError> {
        match text.to_ascii_lowercase().as_str() {
            "vendor" => Ok(Self::Vendor),
            "shared" => Ok(Self::Shared),
            _ => Err(VisionError::UnknownOption {
                option: "prompt_style",
                text: text.to_owned(),
                known: "vendor or shared",
            }),
        }
    }
}

/// How an open question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation {
    /// Most tokens of an answer; it is cut off there. At least 1.
    pub max_tokens: usize,
    /// How freely the words are chosen.
    pub temperature: Temperature,
}

impl Default for Generation {
    /// 128 tokens, the likeliest one each time.
    fn default() -> Self {
        Self {
            max_tokens: 128,
            temperature: Temperature::default(),
        }
    }
}

/// The softmax temperature of sampling, finite and 0 to 2; at 0 the likeliest token is taken.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Temperature(f32);

impl Temperature {
    /// The temperature as a number.
    pub fn get(self) -> f32 {
        self.0
    }
}

// A temperature is never NaN, and `new` makes -0 a 0.
impl Eq for Temperature {}

impl Hash for Temperature {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl TryFrom<f32> for Temperature {
    type Error = VisionError;

    fn try_from(value: f32) -> Result<Self, VisionError> {
        if (0.0..=2.0).contains(&value) {
            return Ok(Self(value.abs()));
        }
        Err(VisionError::UnknownOption {
            option: "temperature",
            text: value.to_string(),
            known: "a number from 0 to 2",
        })
    }
}

impl fmt::Display for Temperature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Temperature {
    type Err = VisionError;

    fn from_str(text: &str) -> Result<Self, VisionError> {
        Self::try_from(text.parse().unwrap_or(f32::NAN)).map_err(|_| VisionError::UnknownOption {
            option: "temperature",
            text: text.to_owned(),
            known: "a number from 0 to 2",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for quantization in [Quantization::Q8_0, Quantization::Q4K] {
            assert_eq!(
                quantization.to_string().parse::<Quantization>().unwrap(),
                quantization
            );
        }
        for dtype in [ComputeDtype::F32, ComputeDtype::Bf16] {
            assert_eq!(dtype.to_string().parse::<ComputeDtype>().unwrap(), dtype);
        }
        for crops in [CropPolicy::Reference, CropPolicy::Global] {
            assert_eq!(crops.to_string().parse::<CropPolicy>().unwrap(), crops);
        }
        let temperature: Temperature = "0.7".parse().unwrap();
        assert_eq!(temperature.to_string(), "0.7");
    }

    #[test]
    fn other_text_is_an_error_that_says_what_works() {
        let error = "q5".parse::<Quantization>().unwrap_err().to_string();
        assert!(
            error.contains("'q5'") && error.contains("q8_0 or q4k"),
            "{error}"
        );
        for text in ["hot", "-1", "3", "NaN"] {
            assert!(text.parse::<Temperature>().is_err(), "{text}");
        }
    }
}
