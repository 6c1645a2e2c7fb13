//! From words to flags: what a person typed, what they keep in a file, and what is wrong with it in one sentence.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use picsift_vision::categories::{FileModels, models_of};

use super::{CacheArgs, CategoryArgs, Cli, Command, ModelArgs};
use crate::config::Settings;
use crate::error::AppError;

/// Why words are no command.
#[derive(Debug)]
pub enum Refused {
    /// They ask for help or the version, which is their answer.
    Answer(clap::Error),
    /// They are wrong.
    Wrong(AppError),
}

impl From<AppError> for Refused {
    fn from(error: AppError) -> Self {
        Self::Wrong(error)
    }
}

impl Cli {
    /// The command that these words ask for, the first of which is the program's name; what they leave open is as `settings` gives it,
    /// which are read for commands that have such flags.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn of(
        words: impl IntoIterator<Item = OsString>,
        settings: impl FnOnce() -> Result<Settings, AppError>,
    ) -> Result<Self, Refused> {
        let words: Vec<OsString> = words.into_iter().collect();
        let refused = |error| refused(error, &words);
        let matches = Self::command().try_get_matches_from(&words);
        let matches = matches.map_err(refused)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(refused)?;
        cli.command.settle(&matches, settings)?;
        Ok(cli)
    }

    /// The same for a host that keeps no settings, with clap's own words for what is wrong.
    ///
    /// # Errors
    /// clap's.
    pub fn typed<W: Into<OsString> + Clone>(
        words: impl IntoIterator<Item = W>,
    ) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        // No setting is read that could be wrong.
        let _ = cli.command.settle(&matches, || Ok(Settings::default()));
        Ok(cli)
    }
}

/// What of a command's flags a person typed.
struct Typed<'a>(&'a ArgMatches);

impl Typed<'_> {
    fn has(&self, flag: &str) -> bool {
        self.0.value_source(flag) == Some(ValueSource::CommandLine)
    }
}

impl Command {
    fn settle(
        &mut self,
        matches: &ArgMatches,
        settings: impl FnOnce() -> Result<Settings, AppError>,
    ) -> Result<(), AppError> {
        let Some((_, matches)) = matches.subcommand() else {
            return Ok(());
        };
        let typed = Typed(matches);
        match self {
            Self::Label(args) => {
                let settings = settings()?;
                args.cache.settle(&settings);
                args.categories.settle(&settings);
                let of_file = args.categories.models();
                args.model.settle(&typed, &settings, &of_file);
                if !typed.has("model") && args.cascade.cascade.is_none() {
                    args.cascade.cascade = of_file.cascade;
                }
            }
            Self::Image(args) => {
                let settings = settings()?;
                args.cache.settle(&settings);
                // Who asks a question in words need not ask for categories.
                if args.ask.is_none() {
                    args.categories.settle(&settings);
                }
                let of_file = args.categories.models();
                args.model.settle(&typed, &settings, &of_file);
            }
            Self::Calibrate(args) => {
                let of_file = args.categories.models();
                args.model.settle(&typed, &Settings::default(), &of_file);
            }
            Self::Tune(args) => {
                let settings = settings()?;
                args.cache.settle(&settings);
                if let Some(device) = settings.device.filter(|_| !typed.has("device")) {
                    args.device = device.value;
                }
            }
            Self::Sql(args) => {
                let settings = settings()?;
                args.model.settle(&typed, &settings, &FileModels::default());
                args.cache.settle(&settings);
            }
            Self::Teach(args) => {
                let settings = settings()?;
                args.model.settle(&typed, &settings, &FileModels::default());
                args.cache.settle(&settings);
            }
            Self::Cache(args) => args.cache_dir = kept_cache(args.cache_dir.take(), &settings()?),
            _ => {}
        }
        Ok(())
    }
}

impl ModelArgs {
    fn settle(&mut self, typed: &Typed<'_>, settings: &Settings, of_file: &FileModels) {
        let kept = settings.model.as_ref().map(|kept| &kept.value);
        if let Some(model) = of_file
            .model
            .as_ref()
            .or(kept)
            .filter(|_| !typed.has("model"))
        {
            self.model.clone_from(model);
        }
        if let Some(device) = settings.device.as_ref().filter(|_| !typed.has("device")) {
            self.device = device.value;
        }
    }
}

impl CacheArgs {
    fn settle(&mut self, settings: &Settings) {
        if !self.no_cache {
            self.cache_dir = kept_cache(self.cache_dir.take(), settings);
        }
    }
}

impl CategoryArgs {
    fn settle(&mut self, settings: &Settings) {
        let named = !self.categories.is_empty() || self.heads.is_some();
        if !named && self.categories_file.is_none() {
            let kept = settings.categories_file.as_ref();
            self.categories_file = kept.map(|kept| kept.value.clone());
        }
    }

    /// The models that the file is about. What is wrong with it is said when its categories are read.
    fn models(&self) -> FileModels {
        let file = self.categories_file.as_deref();
        file.and_then(|file| models_of(file).ok())
            .unwrap_or_default()
    }
}

/// The folder of kept answers: as it was typed, as the environment has it, or as a file says.
fn kept_cache(
    typed: Option<std::path::PathBuf>,
    settings: &Settings,
) -> Option<std::path::PathBuf> {
    let is_in_environment = || std::env::var_os("PICSIFT_CACHE").is_some_and(|v| !v.is_empty());
    typed.or_else(|| {
        let kept = settings.cache.as_ref().filter(|_| !is_in_environment());
        kept.map(|kept| kept.value.clone())
    })
}

/// What clap says of these words over several lines, in the one that every other error has.
fn refused(error: clap::Error, words: &[OsString]) -> Refused {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        return Refused::Answer(error);
    }
    if let Some(sentence) = no_command(&error, words) {
        return Refused::Wrong(AppError::Usage(sentence));
    }
    let said = error.render().to_string();
    let mut sentence = String::new();
    for line in said.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        let part = line.strip_prefix("error: ").unwrap_or(line);
        let (part, joint) = match part.strip_prefix("tip: ") {
            Some(tip) => (tip, "; "),
            None => (part, " "),
        };
        if !part.is_empty() {
            if !sentence.is_empty() {
                sentence.push_str(joint);
            }
            sentence.push_str(part);
        }
    }
    Refused::Wrong(AppError::Usage(format!(
        "{sentence}; {} --help says what there is",
        program(words)
    )))
}

/// Of a word in a command's place that is none: the command that may be meant, or what becomes of a path.
fn no_command(error: &clap::Error, words: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let program = program(words);
    // The likeliest comes last.
    let meant = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(meant)) => meant.last(),
        Some(ContextValue::String(meant)) => Some(meant),
        _ => None,
    };
    Some(match meant {
        Some(meant) => format!(
            "there is no command '{word}'; {program} {meant} may be meant, {program} --help lists all"
        ),
        None if word.contains(['/', '.', '*']) => format!(
            "'{word}' is no command; picsift label {word} --output DIR --categories dog,cat labels such a table or folder, \
             picsift sql \"FROM '{word}'\" shows it"
        ),
        None => format!("there is no command '{word}'; {program} --help lists all"),
    })
}

/// The program with the commands that these words begin with.
fn program(words: &[OsString]) -> String {
    let mut command = &Cli::command();
    let mut program = command.get_name().to_owned();
    let words = words.iter().skip(1);
    for word in words.filter(|word| !word.to_string_lossy().starts_with('-')) {
        let Some(below) = command.find_subcommand(word) else {
            break;
        };
        program = format!("{program} {}", below.get_name());
        command = below;
    }
    program
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use picsift_vision::DEFAULT_MODEL;

    use super::*;
    use crate::config::Kept;

    fn kept<T>(value: T) -> Option<Kept<T>> {
        let from = PathBuf::from("picsift.toml");
        Some(Kept { value, from })
    }

    fn parsed(line: &str) -> Result<Cli, String> {
        let settings = || {
            Ok(Settings {
                model: kept("siglip2".to_owned()),
                categories_file: kept(PathBuf::from("pets.toml")),
                ..Settings::default()
            })
        };
        let words = line.split(' ').map(OsString::from);
        Cli::of(words, settings).map_err(|refused| match refused {
            Refused::Answer(answer) => answer.render().to_string(),
            Refused::Wrong(error) => error.to_string(),
        })
    }

    fn label(line: &str) -> Box<super::super::LabelArgs> {
        match parsed(&format!("picsift label in -o out {line}"))
            .unwrap()
            .command
        {
            Command::Label(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_win_over_what_is_kept() {
        let args = label("--threshold 0.5");
        assert_eq!(args.model.model, "siglip2");
        assert_eq!(
            args.categories.categories_file.as_deref(),
            Some(Path::new("pets.toml"))
        );
        // The default, typed.
        let args = label(&format!("--model {DEFAULT_MODEL} --categories dog"));
        assert_eq!(args.model.model, DEFAULT_MODEL);
        assert_eq!(args.categories.categories_file, None);
    }

    #[test]
    fn a_categories_file_says_which_models_it_is_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        let text =
            "model = 'coco-ssd'\ncascade = 'efficientnet-lite0'\n[person]\nmin_recall = 0.9\n";
        std::fs::write(&path, text).unwrap();
        let file = format!("--categories-file {}", path.display());
        let models = |args: Box<super::super::LabelArgs>| (args.model.model, args.cascade.cascade);
        let of_file = ("coco-ssd".to_owned(), Some("efficientnet-lite0".to_owned()));
        assert_eq!(models(label(&file)), of_file);
        // Who names a model means it, and no other before it.
        let typed = ("pocket".to_owned(), None);
        assert_eq!(models(label(&format!("{file} --model pocket"))), typed);
        let both = models(label(&format!("{file} --cascade siglip2")));
        assert_eq!(both, ("coco-ssd".to_owned(), Some("siglip2".to_owned())));
        let Command::Label(args) = Cli::typed(format!("picsift label in -o out {file}").split(' '))
            .unwrap()
            .command
        else {
            panic!("not label");
        };
        assert_eq!(models(args), of_file);
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        for (line, said) in [
            (
                "picsift label in -o out --categoris dog",
                "unexpected argument '--categoris' found; a similar argument exists: '--categories'; picsift label --help says what \
                 there is",
            ),
            (
                "picsift lable",
                "there is no command 'lable'; picsift label may be meant, picsift --help lists all",
            ),
            (
                "picsift -q cache inf",
                "there is no command 'inf'; picsift cache info may be meant, picsift cache --help lists all",
            ),
            (
                "picsift photos/",
                "'photos/' is no command; picsift label photos/ --output DIR --categories dog,cat labels such a table or folder, \
                 picsift sql \"FROM 'photos/'\" shows it",
            ),
            (
                "picsift xyzzy",
                "there is no command 'xyzzy'; picsift --help lists all",
            ),
            (
                "picsift sample t -o s --per-category 5",
                "invalid value '5' for '--per-category <ROWS>': it must be a whole number, at least 20; picsift sample --help says what there \
                 is",
            ),
        ] {
            assert_eq!(parsed(line).unwrap_err(), said);
        }
        let missing = parsed("picsift label").unwrap_err();
        assert!(
            missing.starts_with(
                "the following required arguments were not provided: --output <DIR> <INPUT>..."
            ),
            "{missing}"
        );
        assert!(
            parsed("picsift --version")
                .unwrap_err()
                .starts_with("picsift ")
        );
    }
}
