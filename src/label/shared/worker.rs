//! A program that labels units, as the others know it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::label::chance::token;

/// A program that does units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Worker {
    /// Made by chance.
    pub(super) token: String,
    /// Its machine's name, for people.
    pub(super) host: String,
    /// The number of its process there.
    pub(super) process: u32,
    /// Where numbers of processes mean the same: a system since it was started, and its space of processes. Containers may share a host's name.
    /// Empty where that is not known.
    machine: String,
}

impl Worker {
    /// This program.
    pub(super) fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let boot = read("/proc/sys/kernel/random/boot_id");
        let space = std::fs::read_link("/proc/self/ns/pid");
        let space = space.map_or(String::new(), |space| space.display().to_string());
        let machine = match boot.is_empty() || space.is_empty() {
            true => String::new(),
            false => format!("{} {space}", boot.trim()),
        };
        Self {
            token: token(16),
            host: read("/etc/hostname").trim().to_string(),
            process: std::process::id(),
            machine,
        }
    }

    /// The programs, one after another, that had the job with this id before it was shared.
    pub(super) fn alone(id: &str) -> Self {
        Self {
            token: id.to_string(),
            host: String::new(),
            process: 0,
            machine: String::new(),
        }
    }

    /// Whether it is known to have ended: its process is gone from where this one runs.
    pub(super) fn is_gone(&self, here: &Self) -> bool {
        !here.machine.is_empty()
            && self.machine == here.machine
            && !Path::new("/proc").join(self.process.to_string()).exists()
    }

    /// What a person calls it.
    pub(super) fn shown(&self) -> String {
        match self.host.as_str() {
            "" => format!("process {}", self.process),
            host => format!("{host} (process {})", self.process),
        }
    }

    #[cfg(test)]
    pub(super) fn elsewhere() -> Self {
        Self {
            machine: "elsewhere".to_string(),
            ..Self::this()
        }
    }
}
