//! Settings that a person keeps in `picsift.toml`: in the folder that a command is run in, and in the user's own folder of
//! configurations. The first that says something holds, and what a flag says wins over both.
//!
//! Owns where the files are and what they may say; what a setting does is the flags' it stands for. Paths in a file are relative to it.
//! The file of a folder may have come with data, so it does not say where something is written.

use std::fmt;
use std::path::{Path, PathBuf};

use picsift_vision::DeviceChoice;
use serde::Deserialize;

use crate::error::AppError;

/// The file's name.
pub const NAME: &str = "picsift.toml";

/// Bytes of a file that are read.
const MOST_BYTES: u64 = 1 << 20;

/// A setting, and the file that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// What it is.
    pub value: T,
    /// Where it stands.
    pub from: PathBuf,
}

/// What the files say; `None` is what none says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `--model`.
    pub model: Option<Kept<String>>,
    /// `--device`.
    pub device: Option<Kept<DeviceChoice>>,
    /// `--cache-dir`.
    pub cache: Option<Kept<PathBuf>>,
    /// `--categories-file`, where no categories are named.
    pub categories_file: Option<Kept<PathBuf>>,
}

/// A file's settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    model: Option<String>,
    device: Option<String>,
    cache: Option<PathBuf>,
    categories_file: Option<PathBuf>,
}

/// A place where a file may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is the user's own, and no folder's.
    pub is_own: bool,
}

/// Where a file may be, the one that wins first.
pub fn places() -> Vec<Place> {
    let config = match std::env::var_os("XDG_CONFIG_HOME") {
        Some(config) if !config.is_empty() => Some(PathBuf::from(config)),
        _ => std::env::home_dir().map(|home| home.join(".config")),
    };
    let own = config.map(|config| Place {
        path: config.join("picsift").join(NAME),
        is_own: true,
    });
    let here = Place {
        path: PathBuf::from(NAME),
        is_own: false,
    };
    std::iter::once(here).chain(own).collect()
}

impl Settings {
    /// What the files say that there are.
    ///
    /// # Errors
    /// [`AppError::Usage`] for a file that cannot be read or says what no setting is.
    pub fn read() -> Result<Self, AppError> {
        Self::of(&places())
    }

    fn of(places: &[Place]) -> Result<Self, AppError> {
        let mut all = Self::default();
        for place in places {
            all.fill(&place.path, place.is_own)?;
        }
        Ok(all)
    }

    /// Whether the file of the folder that picsift is run in says something.
    pub fn are_of_folder(&self) -> bool {
        let from = [
            self.model.as_ref().map(|kept| &kept.from),
            self.device.as_ref().map(|kept| &kept.from),
            self.categories_file.as_ref().map(|kept| &kept.from),
        ];
        from.into_iter()
            .flatten()
            .any(|from| from == Path::new(NAME))
    }

    /// Takes from a file what no earlier one has said.
    fn fill(&mut self, place: &Path, is_own: bool) -> Result<(), AppError> {
        let wrong = |what: &dyn fmt::Display| {
            AppError::Usage(format!("cannot read {}: {what}", place.display()))
        };
        let text = match std::fs::metadata(place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(wrong(&error)),
            Ok(found) if found.len() > MOST_BYTES => return Err(wrong(&"it is too large")),
            Ok(_) => std::fs::read_to_string(place).map_err(|error| wrong(&error))?,
        };
        let written: Written = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|at| 1 + text[..at.start].matches('\n').count());
            let line = line
                .map(|line| format!("line {line}: "))
                .unwrap_or_default();
            wrong(&format!("{line}{}", error.message()))
        })?;
        if written.cache.is_some() && !is_own {
            return Err(wrong(
                &"cache: the file of a folder does not say where answers are kept; set it in your own file (picsift config says where), \
                  or by --cache-dir",
            ));
        }
        let device = written.device.map(|text| {
            text.parse::<DeviceChoice>()
                .map_err(|error| wrong(&format!("device: {error}")))
        });
        let device = device.transpose()?;
        let beside = |path: PathBuf| match place.parent() {
            Some(folder) => folder.join(path),
            None => path,
        };
        keep(&mut self.model, written.model, place);
        keep(&mut self.device, device, place);
        keep(&mut self.cache, written.cache.map(beside), place);
        keep(
            &mut self.categories_file,
            written.categories_file.map(beside),
            place,
        );
        Ok(())
    }
}

fn keep<T>(kept: &mut Option<Kept<T>>, value: Option<T>, place: &Path) {
    if kept.is_none()
        && let Some(value) = value
    {
        *kept = Some(Kept {
            value,
            from: place.to_path_buf(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of these texts, the last of which is the user's own.
    fn files(texts: &[&str]) -> (tempfile::TempDir, Vec<Place>) {
        let folder = tempfile::tempdir().unwrap();
        let places = texts.iter().enumerate().map(|(number, text)| {
            let path = folder.path().join(number.to_string()).join(NAME);
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            Place {
                path,
                is_own: number + 1 == texts.len(),
            }
        });
        let places = places.collect();
        (folder, places)
    }

    #[test]
    fn the_first_file_that_says_something_holds_and_paths_are_relative_to_it() {
        let (folder, mut places) = files(&[
            "model = 'siglip2'\ncategories_file = 'pets.toml'\n",
            "model = 'moondream2'\ndevice = 'cpu'\ncache = '/kept'\n",
        ]);
        places.push(Place {
            path: folder.path().join("none.toml"),
            is_own: true,
        });
        let settings = Settings::of(&places).unwrap();
        let model = settings.model.unwrap();
        assert_eq!(
            (model.value.as_str(), &model.from),
            ("siglip2", &places[0].path)
        );
        assert_eq!(settings.device.unwrap().value, DeviceChoice::Cpu);
        assert_eq!(settings.cache.unwrap().value, Path::new("/kept"));
        let categories = settings.categories_file.unwrap().value;
        assert_eq!(categories, folder.path().join("0/pets.toml"));
    }

    #[test]
    fn the_file_of_a_folder_does_not_say_where_answers_are_kept() {
        let (_folder, places) = files(&["cache = 'here'\n", ""]);
        let message = Settings::of(&places).unwrap_err().to_string();
        assert!(message.contains("--cache-dir"), "{message}");
    }

    #[test]
    fn what_no_setting_is_is_told_with_its_line() {
        for (text, said) in [
            (
                "model = 'a'\nmodle = 'b'\n",
                "line 2: unknown field `modle`",
            ),
            ("device = 'tpu'\n", "device: "),
            ("model = 3\n", "line 1: "),
        ] {
            let (_folder, places) = files(&[text]);
            let message = Settings::of(&places).unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
            assert!(message.contains(NAME), "{message}");
        }
    }
}
