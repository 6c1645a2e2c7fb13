//! Buckets, containers and data sets of the hub by name: which service, which account, which bucket a URL is of.
//!
//! Two URLs of one bucket may be written differently (`s3` and `s3a`, an Azure account in the URL or in the environment). Here they are
//! the same, and what is no name of a bucket is none. Nothing is opened, and who may read what is not decided.

use std::fmt;
use std::str::FromStr;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::hub::Place;

/// The variable that names the Azure account of URLs without one.
const ACCOUNT: &str = "AZURE_STORAGE_ACCOUNT_NAME";

/// The ends of the hosts that Azure accounts have.
const AZURE_HOSTS: [&str; 4] = [
    "dfs.core.windows.net",
    "blob.core.windows.net",
    "dfs.fabric.microsoft.com",
    "blob.fabric.microsoft.com",
];

/// A bucket of S3 or Google, a container of Azure, or a data set of the hub.
///
/// ```
/// use picsift_images::Bucket;
///
/// assert_eq!("s3://photos".parse::<Bucket>()?, "s3a://photos/".parse()?);
/// assert!("hf://datasets/owner/name".parse::<Bucket>().is_ok());
/// assert!("photos".parse::<Bucket>().is_err());
/// assert!("s3://photos/2024".parse::<Bucket>().is_err());
/// # Ok::<(), picsift_images::BucketError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    service: Service,
    name: String,
    /// The Azure account with the end of its host; `None` where neither URL nor environment names one.
    account: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    S3,
    Google,
    Azure,
    Hub,
}

/// A text that is no [`Bucket`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a bucket to allow: write s3://BUCKET, gs://BUCKET, az://CONTAINER, \
     abfss://CONTAINER@ACCOUNT.dfs.core.windows.net or hf://datasets/OWNER/NAME"
)]
pub struct BucketError {
    /// The text.
    pub text: String,
}

impl Bucket {
    /// The bucket of a URL; `None` for a URL of something else, and for one that no store would take.
    pub fn of(url: &Url) -> Option<Bucket> {
        let service = match url.scheme() {
            "s3" | "s3a" => Service::S3,
            "gs" => Service::Google,
            "az" | "abfs" | "abfss" => Service::Azure,
            "hf" => return Bucket::of_hub(url),
            _ => return None,
        };
        let host = url.host_str()?;
        if url.password().is_some() || url.port().is_some() {
            return None;
        }
        let (name, account) = match (service, url.username()) {
            (Service::Azure, "") => (host, std::env::var(ACCOUNT).ok().map(core_account)),
            (Service::Azure, container) => (container, Some(account(host)?)),
            (_, "") => (host, None),
            _ => return None,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let named = !name.is_empty() && name.chars().all(is_name);
        named.then(|| Bucket {
            service,
            name: name.to_owned(),
            account,
        })
    }

    /// The data set that a URL is in, at whatever revision.
    fn of_hub(url: &Url) -> Option<Bucket> {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let parts = url.path_segments()?.map(decoded);
        let place = (url.host_str() == Some("datasets")).then(|| Place::read(parts))??;
        Some(Bucket {
            service: Service::Hub,
            name: format!("{}/{}", place.owner, place.name),
            account: None,
        })
    }

    /// The account and whether a URL or the environment names it.
    pub(crate) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
}

/// The account that Azure's variables are about, as [`Bucket::account`] has it.
pub(crate) fn own_account() -> Option<String> {
    std::env::var(ACCOUNT).ok().map(core_account)
}

fn core_account(name: String) -> String {
    format!("{}.core.windows.net", name.to_ascii_lowercase())
}

/// The account that a host is of, without what tells two doors of one account apart.
fn account(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let (name, end) = host.split_once('.')?;
    let known = AZURE_HOSTS.contains(&end) && !name.is_empty();
    let (_, service) = end.split_once('.').filter(|_| known)?;
    Some(format!("{name}.{service}"))
}

impl FromStr for Bucket {
    type Err = BucketError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).ok();
        let is_whole = |url: &Url| match url.scheme() {
            "hf" => url.path().trim_matches('/').split('/').count() == 2,
            _ => matches!(url.path(), "" | "/"),
        };
        let url = url.filter(|url| is_whole(url) && url.query().is_none());
        url.as_ref()
            .and_then(Bucket::of)
            .ok_or_else(|| BucketError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match (self.service, &self.account) {
            (Service::S3, _) => write!(f, "s3://{name}"),
            (Service::Google, _) => write!(f, "gs://{name}"),
            (Service::Hub, _) => write!(f, "hf://datasets/{name}"),
            (Service::Azure, None) => write!(f, "az://{name}"),
            (Service::Azure, Some(account)) => {
                let (account, service) = account.split_once('.').unwrap_or((account, ""));
                write!(f, "abfss://{name}@{account}.dfs.{service}")
            }
        }
    }
}

/// Options and credentials of one bucket, by the names of the environment's variables.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketKeys {
    bucket: Bucket,
    options: Vec<(String, String)>,
}

impl fmt::Debug for BucketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BucketKeys").field(&self.bucket).finish()
    }
}

impl BucketKeys {
    /// Those in the lines of a text, each `NAME=VALUE` such as `AWS_ACCESS_KEY_ID=...`; lines that begin with # are remarks.
    ///
    /// # Errors
    /// In one sentence without any value, for a line of another form and a name that the bucket's service does not know.
    pub fn parse(bucket: Bucket, text: &str) -> Result<Self, String> {
        let mut options = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {} {what}", number + 1);
            let (name, value) = line
                .split_once('=')
                .ok_or_else(|| wrong("is not NAME=VALUE"))?;
            let name = name.trim().to_ascii_lowercase();
            let known = match bucket.service {
                Service::S3 => name.parse::<AmazonS3ConfigKey>().is_ok(),
                Service::Google => name.parse::<GoogleConfigKey>().is_ok(),
                Service::Azure => name.parse::<AzureConfigKey>().is_ok(),
                Service::Hub => return Err("a data set of the hub has no keys of its own".into()),
            };
            if !known {
                return Err(wrong("has a name that the bucket's service does not know"));
            }
            options.push((name, value.trim().to_string()));
        }
        match options.is_empty() {
            true => Err("it has no key".to_string()),
            false => Ok(Self { bucket, options }),
        }
    }

    /// Whose they are.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Gives a store's builder all of them.
    pub(crate) fn fill<B, K: FromStr>(&self, builder: B, with: impl Fn(B, K, &str) -> B) -> B {
        self.options.iter().fold(builder, |builder, (name, value)| {
            match name.parse() {
                Ok(key) => with(builder, key, value),
                // Every name was looked at when it was read.
                Err(_) => builder,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> Option<Bucket> {
        Bucket::of(&Url::parse(text).unwrap())
    }

    #[test]
    fn one_bucket_has_several_urls_and_another_account_is_another_bucket() {
        for (one, other, same) in [
            ("s3://b/x.jpg", "s3a://b/y/z.jpg", true),
            ("s3://b/x", "s3://c/x", false),
            ("s3://b/x", "gs://b/x", false),
            (
                "abfss://c@acct.dfs.core.windows.net/x",
                "abfs://c@ACCT.blob.core.windows.net/y",
                true,
            ),
            (
                "abfss://c@acct.dfs.core.windows.net/x",
                "abfss://c@attacker.dfs.core.windows.net/x",
                false,
            ),
            (
                "abfss://c@acct.dfs.core.windows.net/x",
                "abfss://c@acct.dfs.fabric.microsoft.com/x",
                false,
            ),
            (
                "hf://datasets/o/n/a.jpg",
                "hf://datasets/o/n@v1/b/c.jpg",
                true,
            ),
            ("hf://datasets/o/n/a.jpg", "hf://datasets/o/m/a.jpg", false),
        ] {
            let (one, other) = (bucket(one).unwrap(), bucket(other).unwrap());
            assert_eq!(one == other, same, "{one} {other}");
            let again = one.to_string().parse::<Bucket>().unwrap();
            assert_eq!(again, one);
        }
    }

    #[test]
    fn what_is_no_bucket_is_none() {
        for text in [
            "https://b/x",
            "file:///b/x",
            "s3://user:pw@bucket/x",
            "s3://user@bucket/x",
            "s3://bucket:99/x",
            "s3://a%2f..%2fb/x",
            "s3://a$(id);b/x",
            "abfss://c@evil.com/x",
            "abfss://c@dfs.core.windows.net/x",
            "abfss://c:pw@acct.dfs.core.windows.net/x",
        ] {
            let found = bucket(text);
            assert!(found.is_none(), "{text} {found:?}");
        }
        for text in [
            "hf://datasets/o",
            "hf://datasets/o/n/a.jpg",
            "hf://o/n",
            "b",
            "s3://",
            "s3://b/x",
            "s3://b?x",
            "https://b",
        ] {
            assert!(text.parse::<Bucket>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_names_that_the_service_knows_and_are_shown_nowhere() {
        let bucket: Bucket = "s3://photos".parse().unwrap();
        let text = "# ours\nAWS_ACCESS_KEY_ID = id\n\nAWS_SECRET_ACCESS_KEY=se=cret\n";
        let keys = BucketKeys::parse(bucket.clone(), text).unwrap();
        assert!(!format!("{keys:?}").contains("cret"));
        assert_eq!(keys.options[1].1, "se=cret");
        for (wrong, said) in [
            ("", "no key"),
            ("secret", "line 1 is not"),
            ("AWS_REGION=x\nPATH=secret", "line 2 has a name"),
        ] {
            let error = BucketKeys::parse(bucket.clone(), wrong).unwrap_err();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }
}
