//! A folder in which the commands of one page run one after the other, as a person's shell would run them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use regex::Regex;
use tempfile::TempDir;

use crate::resume::signal;
use crate::support::*;

/// Photographs that stand for a person's own: each so-manieth of the repository's.
const EACH: usize = 9;

/// The folder of one page, with `photos/` for a person's own pictures and `datasets/` for the repository's.
pub(super) struct Runner {
    folder: TempDir,
    path: String,
    served: Option<Child>,
    link: String,
}

impl Runner {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(root().join("datasets"), at("datasets")).unwrap();
        std::os::unix::fs::symlink(root().join("vision"), at("vision")).unwrap();
        std::os::unix::fs::symlink(root().join("sql"), at("sql")).unwrap();
        let images = root().join(REFERENCES).join("images");
        let mut names: Vec<_> = fs::read_dir(&images)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        fs::create_dir(at("photos")).unwrap();
        for name in names.iter().step_by(EACH) {
            fs::copy(images.join(name), at("photos").join(name)).unwrap();
        }
        let programs = at(".programs");
        fs::create_dir(&programs).unwrap();
        let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, programs.join(name));
        link("picsift", Path::new(env!("CARGO_BIN_EXE_picsift"))).unwrap();
        if let Ok(python) = python("pyarrow") {
            // Not a link: an environment of Python's knows itself by the path that it is called by.
            let script = format!("#!/bin/sh\nexec {python} \"$@\"\n");
            program(&programs.join("python"), &script);
        }
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", programs.display());
        Self {
            folder,
            path,
            served: None,
            link: String::new(),
        }
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the gallery that is served.
    pub(super) fn link(&self) -> &str {
        &self.link
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("HOME", self.folder.path())
            .env("PICSIFT_CACHE", self.folder.path().join(".cache"))
            .env("HF_HUB_OFFLINE", "1")
            .env("TERM", "dumb")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("PYTHONPATH");
        command
    }

    /// Runs a command in a shell; what it prints on both streams, as a terminal would show it. One that serves a gallery goes on until
    /// the runner is dropped or the next one is served.
    pub(super) fn run(&mut self, command: &str) -> String {
        if command.contains(" --serve") {
            return self.serve(command);
        }
        let script = format!("exec 2>&1\n{command}");
        let output = self.command("bash").args(["-c", &script]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        // How far a job is, which is said every few seconds.
        let far = Regex::new(r"^[\d,]+/[\d,]+ images, .* left$").unwrap();
        let lines = printed.lines().filter(|line| !far.is_match(line));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn serve(&mut self, command: &str) -> String {
        self.stop();
        let script = format!("exec 2>&1\nexec {command}");
        let mut child = self
            .command("bash")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut all = String::new();
        while !all.contains("http://") {
            let before = all.len();
            said.read_line(&mut all).unwrap();
            assert!(all.len() > before, "{command} ended: {all}");
        }
        let link = all.split_whitespace().find(|word| word.starts_with("http"));
        self.link = link.unwrap().to_owned();
        self.served = Some(child);
        // The key's beginning is enough for a reader.
        Regex::new(r"(key=[0-9a-f]{8})[0-9a-f]+")
            .unwrap()
            .replace_all(&all, "$1")
            .into_owned()
    }

    /// Runs a program of Python's.
    pub(super) fn python(&mut self, script: &str) -> Result<String, String> {
        let output = self.command("python").args(["-c", script]).output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(stderr(&output)),
        }
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.served.take() {
            signal(&child, "TERM");
            child.wait().unwrap();
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(mut child) = self.served.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes a program.
fn program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What is printed without what differs from run to run: times, rates, ports and keys, sizes of what is compressed.
pub(super) fn steady(text: &str, folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap();
    let text = text.replace(&folder.display().to_string(), "/home/ada");
    let mut text = text
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n");
    for (pattern, word) in [
        (r"\b\d+(?:\.\d+)? (ms|s|seconds|min|h)\b", "N $1"),
        (
            r"\b[\d,]+(?:\.\d+)? (images|rows|files|units)(/s| a second)",
            "N $1$2",
        ),
        (
            r"127\.0\.0\.1:\d+/\?key=[0-9a-f]+",
            "127.0.0.1:PORT/?key=KEY",
        ),
        (r"\b\d+(?:\.\d+)? ([KMG]i?B)\b", "N $1"),
        (r"\b20\d\d-\d\d-\d\dT[\d:.]+Z", "TIME"),
    ] {
        text = Regex::new(pattern)
            .unwrap()
            .replace_all(&text, word)
            .into_owned();
    }
    text
}

#[test]
fn only_what_differs_from_run_to_run_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (
            "25 images in 0.2 s (1,234 images/s)",
            "25 images in N s (N images/s)",
        ),
        ("is_dog 12", "is_dog 12"),
        ("score 0.993", "score 0.993"),
        (
            "at http://127.0.0.1:4312/?key=0a9f until",
            "at http://127.0.0.1:PORT/?key=KEY until",
        ),
        ("1.2 MiB of copies", "N MiB of copies"),
    ] {
        assert_eq!(steady(text, folder.path()), expected);
    }
}
