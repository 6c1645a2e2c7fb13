//! `picsift doctor`: what of this machine picsift finds, and what to do where that is not enough.
//!
//! Everything is looked at and nothing changed, but for a file in the cache that is removed again. Lines are for a person; the exit code
//! says whether something must be put right before jobs run.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use indicatif::HumanBytes;
use picsift_vision::registry::inspect;
use picsift_vision::store::default_folder;
use picsift_vision::{HubSettings, Origin, models, why_no_cuda};
use url::Url;

use super::printer::say;
use crate::config::Settings;
use crate::error::AppError;

/// How long the hub may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A model that can run on a GPU.
const ON_GPU: &str = "siglip2";

/// How a thing is.
enum State {
    /// As it should be.
    Good,
    /// Jobs run without it.
    Less,
    /// Jobs do not run before it is put right.
    Bad,
}

/// What is printed of a thing: its state, its name, how it is, and what to do.
struct Found {
    state: State,
    name: &'static str,
    what: String,
    advice: Option<String>,
}

impl Found {
    fn good(name: &'static str, what: impl Into<String>) -> Self {
        Self {
            state: State::Good,
            name,
            what: what.into(),
            advice: None,
        }
    }

    fn less(name: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            state: State::Less,
            advice: Some(advice.into()),
            ..Self::good(name, what)
        }
    }

    fn bad(name: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            state: State::Bad,
            ..Self::less(name, what, advice)
        }
    }
}

/// Runs the command.
///
/// # Errors
/// [`AppError::Unwell`] when something must be put right.
pub(super) fn doctor() -> Result<(), AppError> {
    let mut all = vec![
        Found::good(
            "picsift",
            format!(
                "{} for {}-{}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::ARCH,
                std::env::consts::OS
            ),
        ),
        cpu(),
        gpu(),
    ];
    all.extend(memory());
    let settings = Settings::read();
    all.push(match &settings {
        Ok(_) => Found::good("settings", "can be read; picsift config shows them"),
        Err(error) => Found::bad(
            "settings",
            error.to_string(),
            "put the file right or remove it",
        ),
    });
    let kept = settings.ok().and_then(|settings| settings.cache);
    all.push(cache(kept.map(|kept| kept.value).as_deref()));
    match HubSettings::from_env() {
        Ok(hub) => {
            all.push(weights(&hub));
            all.push(reachable(&hub));
        }
        Err(error) => all.push(Found::bad(
            "hub",
            error.to_string(),
            "put the variable of the environment right that it names",
        )),
    }
    let mut bad = 0;
    for found in &all {
        let sign = match found.state {
            State::Good => "ok  ",
            State::Less => "note",
            State::Bad => "bad ",
        };
        bad += usize::from(matches!(found.state, State::Bad));
        say!("{sign}  {:<8}  {}", found.name, found.what);
        if let Some(advice) = &found.advice {
            say!("                {advice}");
        }
    }
    match bad {
        0 => Ok(()),
        bad => Err(AppError::Unwell(bad)),
    }
}

fn cpu() -> Found {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let (features, is_fast) = features();
    let what = format!("{cores} cores, {features}");
    match is_fast {
        true => Found::good("CPU", what),
        false => Found::less(
            "CPU",
            what,
            "models are several times slower here than on a processor with AVX2 and FMA, or NEON",
        ),
    }
}

/// What the processor can that models use, and whether that is enough to be fast.
fn features() -> (String, bool) {
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
            ("FMA", std::arch::is_x86_feature_detected!("fma")),
            ("F16C", std::arch::is_x86_feature_detected!("f16c")),
            ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
            ("VNNI", std::arch::is_x86_feature_detected!("avx512vnni")),
        ];
        let has: Vec<&str> = found
            .iter()
            .filter(|(_, has)| *has)
            .map(|(name, _)| *name)
            .collect();
        let what = match has.is_empty() {
            true => "without AVX2".to_owned(),
            false => has.join(", "),
        };
        (what, found[0].1 && found[1].1)
    }
    #[cfg(target_arch = "aarch64")]
    {
        ("NEON".to_owned(), true)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        ("a processor without kernels of its own".to_owned(), false)
    }
}

fn gpu() -> Found {
    if !cfg!(feature = "cuda") {
        return Found::good(
            "GPU",
            "this program is built for CPUs; cargo build --release --features cuda makes one for NVIDIA GPUs",
        );
    }
    match why_no_cuda(ON_GPU) {
        None => Found::good("GPU", "CUDA device 0 can be used"),
        Some(reason) => Found::less(
            "GPU",
            reason,
            "models run on the CPU meanwhile; --device cuda insists on a GPU and says more",
        ),
    }
}

/// Memory that is free, where the system says.
fn memory() -> Option<Found> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes << 10)
    };
    let (free, total) = (of("MemAvailable:")?, of("MemTotal:")?);
    let what = format!("{} of {} free", HumanBytes(free), HumanBytes(total));
    Some(match free >= 2 << 30 {
        true => Found::good("memory", what),
        false => Found::less(
            "memory",
            what,
            "jobs with the built-in model take about 1 GiB; siglip2 needs 3, moondream2 9",
        ),
    })
}

fn cache(named: Option<&Path>) -> Found {
    const NAME: &str = "cache";
    let folder = match (named, default_folder()) {
        (Some(folder), _) => folder.to_path_buf(),
        (None, Ok(folder)) => folder,
        (None, Err(error)) => {
            return Found::less(
                NAME,
                error.to_string(),
                "answers are not kept; set PICSIFT_CACHE to a folder",
            );
        }
    };
    let tried = std::fs::create_dir_all(&folder).and_then(|()| {
        let file = tempfile::Builder::new()
            .prefix(".picsift-")
            .tempfile_in(&folder)?;
        file.close()
    });
    match tried {
        Ok(()) => Found::good(NAME, format!("{} can be written", folder.display())),
        Err(error) => Found::bad(
            NAME,
            format!("{} cannot be written: {error}", folder.display()),
            "make it yours, name another by PICSIFT_CACHE, or run with --no-cache",
        ),
    }
}

fn weights(hub: &HubSettings) -> Found {
    let mut here = Vec::new();
    let mut others = Vec::new();
    for entry in models() {
        if let Origin::Embedded(_) = entry.origin {
            here.push(entry.name);
            continue;
        }
        match inspect(entry.name, hub) {
            Ok(found) if found.complete() => here.push(entry.name),
            _ => others.push(entry.name),
        }
    }
    let what = format!("{} are here", here.join(", "));
    match others.is_empty() {
        true => Found::good("models", what),
        false => Found::good(
            "models",
            format!(
                "{what}; picsift models fetch NAME brings {}",
                others.join(", ")
            ),
        ),
    }
}

fn reachable(hub: &HubSettings) -> Found {
    const NAME: &str = "hub";
    let place = picsift_images::redacted(&hub.endpoint).into_owned();
    if hub.offline {
        return Found::good(NAME, format!("{place} is not asked: HF_HUB_OFFLINE is set"));
    }
    match answers(&hub.endpoint) {
        Ok(()) => Found::good(NAME, format!("{place} answers")),
        Err(reason) => Found::less(
            NAME,
            format!("{place} does not answer: {reason}"),
            "models that are not here cannot be fetched; see the proxy, or bring the files by hand: picsift models show NAME lists them",
        ),
    }
}

/// Whether somebody listens at an address. The lookup of a name has no end of its own, so it is waited for on another thread.
fn answers(endpoint: &str) -> Result<(), String> {
    let url = Url::parse(endpoint).map_err(|error| error.to_string())?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs().and_then(|mut all| {
            let first = all.next().ok_or(std::io::ErrorKind::NotFound)?;
            TcpStream::connect_timeout(&first, PATIENCE)
        });
        // Who asked may have given up.
        let _ = tell.send(found.map(drop).map_err(|error| error.to_string()));
    });
    match told.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(_) => Err(format!("nothing came within {} s", PATIENCE.as_secs())),
    }
}
