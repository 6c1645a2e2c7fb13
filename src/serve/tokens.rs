//! Who may ask: tenants and their tokens, kept as hashes in a file of TOML.
//!
//! ```toml
//! [research]
//! folders = ["photos"]        # of the named folders and buckets; all where this is left out
//!
//! [research.tokens]
//! anna = "sha256:..."
//! ```
//!
//! A token is 256 random bits, made here and by nobody's choice. There is nothing to guess, so a plain SHA-256 hides it as well as a
//! slow hash would, which would let everybody who sends a wrong one spend this machine's time. What a token may do is not known here.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::disk;
use crate::error::AppError;
use crate::listen::secret;

/// What tokens begin with, so that a scanner of secrets knows one.
const PREFIX: &str = "picsift_";

/// What hashes begin with.
const HASH: &str = "sha256:";

/// Most bytes of the file.
const MOST_BYTES: u64 = 16 << 20;

/// Most characters of the name of a tenant, a token or a place.
const MOST_NAME: usize = 64;

/// All that may ask.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Each tenant with the places that it may read; `None` is all.
    pub tenants: BTreeMap<String, Option<Vec<String>>>,
    /// By the hash of a token its name and its tenant's.
    holders: HashMap<[u8; 32], (String, String)>,
}

/// What the file says of one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) tenant: String,
    pub(super) name: String,
    /// SHA-256 of the token.
    hash: [u8; 32],
    /// The places that its tenant may read.
    folders: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tenant {
    folders: Option<Vec<String>>,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

impl Tokens {
    /// Those of a file.
    ///
    /// # Errors
    /// [`AppError::Usage`] for a file that cannot be read, is none of tokens or has none.
    pub fn read(path: &Path) -> Result<Self, AppError> {
        let tokens = Self::parsed(path, &text(path)?)?;
        match tokens.holders.is_empty() {
            true => Err(AppError::Usage(format!(
                "{}: it has no token; make one with picsift token",
                path.display()
            ))),
            false => Ok(tokens),
        }
    }

    /// Those of the text of the file at `path`, which may be none.
    ///
    /// # Errors
    /// [`AppError::Usage`] for a text that is no file of tokens.
    pub(super) fn parsed(path: &Path, text: &str) -> Result<Self, AppError> {
        let wrong = |reason: String| AppError::Usage(format!("{}: {reason}", path.display()));
        let file: BTreeMap<String, Tenant> = toml::from_str(text)
            .map_err(|error| wrong(format!("it is no file of tokens: {}", error.message())))?;
        let mut tokens = Self::default();
        for (
            tenant,
            Tenant {
                folders,
                tokens: own,
            },
        ) in file
        {
            check_name(&tenant).map_err(&wrong)?;
            for (name, hash) in own {
                check_name(&name).map_err(&wrong)?;
                let hash = parsed(&hash).ok_or_else(|| {
                    wrong(format!("the token '{name}' must be {HASH} and 64 hexadecimal digits, as picsift token writes it"))
                })?;
                let holder = (name.clone(), tenant.clone());
                if let Some((other, _)) = tokens.holders.insert(hash, holder) {
                    return Err(wrong(format!("'{other}' and '{name}' are the same token")));
                }
            }
            tokens.tenants.insert(tenant, folders);
        }
        Ok(tokens)
    }

    /// What the file says of each token.
    pub(super) fn holders(&self) -> impl Iterator<Item = Holder> {
        self.holders.iter().map(|(hash, (name, tenant))| Holder {
            tenant: tenant.clone(),
            name: name.clone(),
            hash: *hash,
            folders: self.tenants.get(tenant).cloned().flatten(),
        })
    }

    /// The name of a token and its tenant's; `None` for one that is none of these.
    pub fn holder(&self, token: &str) -> Option<(&str, &str)> {
        let (name, tenant) = self
            .holders
            .get(&picsift_images::sha256(token.as_bytes()))?;
        Some((name, tenant))
    }
}

/// A new token, which only its hash is kept of: in the file at `path`, which is made where it is not there.
///
/// # Errors
/// [`AppError::Usage`] for a name that is none or taken, and a file that is none of tokens; [`AppError::File`].
pub fn add(path: &Path, tenant: &str, name: &str) -> Result<String, AppError> {
    for name in [tenant, name] {
        check_name(name).map_err(AppError::Usage)?;
    }
    let mut file = DocumentMut::new();
    if path.exists() {
        Tokens::read(path)?;
        file = text(path)?
            .parse()
            .map_err(|error| AppError::Usage(format!("{}: {error}", path.display())))?;
    }
    let token = format!("{PREFIX}{}", secret()?);
    let table = || {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    };
    let tenants = file.entry(tenant).or_insert_with(table);
    let tokens = tenants.as_table_mut().map(|tenant| {
        tenant
            .entry("tokens")
            .or_insert_with(|| Item::Table(Table::new()))
    });
    let Some(tokens) = tokens.and_then(Item::as_table_like_mut) else {
        return Err(AppError::Usage(format!(
            "{}: write the tokens of '{tenant}' as a table [{tenant}.tokens]",
            path.display()
        )));
    };
    if tokens.contains_key(name) {
        return Err(AppError::Usage(format!(
            "'{tenant}' has a token '{name}'; remove it from {} first, or give this one another name",
            path.display()
        )));
    }
    let hash = picsift_images::hex(&picsift_images::sha256(token.as_bytes()));
    tokens.insert(name, value(format!("{HASH}{hash}")));
    disk::replace(path, file.to_string().as_bytes())?;
    Ok(token)
}

/// The text of the file.
///
/// # Errors
/// [`AppError::Usage`] for a file that cannot be read or is too large.
pub(super) fn text(path: &Path) -> Result<String, AppError> {
    let unreadable =
        |error: std::io::Error| AppError::Usage(format!("cannot read {}: {error}", path.display()));
    let size = path.metadata().map_err(unreadable)?.len();
    if size > MOST_BYTES {
        return Err(AppError::Usage(format!(
            "{} has {size} bytes; a file of tokens has at most {MOST_BYTES}",
            path.display()
        )));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// Whether a text can be a name of a tenant, a token or a place: it becomes a folder's name and part of lines of logs.
///
/// # Errors
/// In one sentence.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match (1..=MOST_NAME).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "'{}' is no name: use up to {MOST_NAME} letters, digits, _ and -",
            picsift_images::escaped(name)
        )),
    }
}

fn parsed(hash: &str) -> Option<[u8; 32]> {
    let digits = hash.strip_prefix(HASH)?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_made_is_known_by_its_hash_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let anna = add(&path, "research", "anna").unwrap();
        let bob = add(&path, "sales", "bob").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&anna) && !text.contains(&bob), "{text}");
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!(tokens.holder(&anna), Some(("anna", "research")));
        assert_eq!(tokens.holder(&bob), Some(("bob", "sales")));
        for wrong in ["", "picsift_", &anna[1..], &format!("{anna} ")] {
            assert_eq!(tokens.holder(wrong), None, "{wrong}");
        }
        let error = add(&path, "research", "anna").unwrap_err().to_string();
        assert!(error.contains("has a token 'anna'"), "{error}");
        assert!(add(&path, "../x", "anna").is_err());
    }

    #[test]
    fn what_a_person_wrote_beside_the_tokens_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        add(&path, "research", "anna").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = format!("# Who reads photos.\n[research]\nfolders = [\"photos\"]\n{text}");
        std::fs::write(&path, text).unwrap();
        add(&path, "research", "ben").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("# Who reads photos."), "{text}");
        let tokens = Tokens::read(&path).unwrap();
        assert_eq!(tokens.tenants["research"], Some(vec!["photos".to_string()]));
    }

    #[test]
    fn what_is_no_file_of_tokens_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        for (text, said) in [
            ("", "no token"),
            ("[a.tokens]\nb = \"secret\"", "64 hexadecimal digits"),
            ("[a]\nfolder = 1", "no file of tokens"),
            ("[\"a/b\".tokens]", "is no name"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Tokens::read(&path).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
