//! Real schedulers and executors, each a process of its own: what they give is what one program gives, whoever is killed, stopped or refused.

mod counts;
mod faults;
mod label;
mod s3;
mod sql;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use tempfile::TempDir;

use crate::support::*;
use crate::units::Cluster;

/// Seconds without a sign of life after which an executor is dead here.
const TIMEOUT: &str = "10";

/// Time within which everything that is waited for must have happened.
const DEADLINE: Duration = Duration::from_secs(120);

/// A program that runs until it is killed, and what it has said.
pub(crate) struct Program {
    pub(crate) child: Child,
    said: Arc<Mutex<String>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::default();
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Self { child, said }
    }

    /// All that it has said by now.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said so, and gives the line.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let said = self.said();
            if let Some(line) = said.lines().find(|line| line.contains(text)) {
                return line.to_string();
            }
            let has_ended = self.child.try_wait().unwrap().is_some();
            assert!(
                !has_ended && begun.elapsed() < DEADLINE,
                "never said '{text}': {said}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it said at last is still on its way.
                std::thread::sleep(Duration::from_millis(200));
                return status.code();
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "it does not end: {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn listen(from: impl Read + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// A scheduler and what it takes to start executors.
pub(crate) struct Machines {
    pub(crate) scheduler: Program,
    pub(crate) address: String,
    cache: TempDir,
}

impl Machines {
    pub(crate) fn new() -> Self {
        Self::by(|args, cache| command(args, cache))
    }

    /// The same whose programs are made so.
    pub(crate) fn by(make: impl Fn(&[&str], &Path) -> Command) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let bind = ["cluster", "scheduler", "--bind", "127.0.0.1:0"];
        let args = [
            &bind[..],
            &["--executor-timeout", TIMEOUT, "--log-level", "info"],
        ]
        .concat();
        let mut scheduler = Program::start(make(&args, cache.path()));
        let line = scheduler.wait_for("the scheduler is at ");
        let address = line.strip_prefix("the scheduler is at ").unwrap();
        let address = address.split(',').next().unwrap().to_string();
        Self {
            scheduler,
            address,
            cache,
        }
    }

    /// The scheduler again at the same address, with nothing in its memory.
    pub(crate) fn start_again(&mut self) {
        let args = ["cluster", "scheduler", "--bind", &self.address];
        let args = [
            &args[..],
            &["--executor-timeout", TIMEOUT, "--log-level", "info"],
        ]
        .concat();
        self.scheduler = Program::start(command(args, self.cache.path()));
        self.scheduler.wait_for("the scheduler is at ");
    }

    /// The words that start an executor.
    pub(crate) fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let words = ["cluster", "executor", "--scheduler", &self.address];
        [&words[..], &["--no-cache", "--log-level", "info"], more].concat()
    }

    /// An executor that keeps its answers.
    pub(crate) fn keeping(&self) -> Program {
        let words = ["cluster", "executor", "--scheduler", &self.address];
        let words = [&words[..], &["--log-level", "info"]].concat();
        known(command(words, self.cache.path()))
    }

    /// An executor that the scheduler knows.
    pub(crate) fn executor(&self, more: &[&str]) -> Program {
        known(command(self.words(more), self.cache.path()))
    }
}

/// An executor that is started so, once the scheduler knows it.
pub(crate) fn known(command: Command) -> Program {
    let mut executor = Program::start(command);
    executor.wait_for("asks the scheduler");
    executor
}

/// Asserts that an output is as that of an undisturbed run, once those that were late have swept up what they had begun.
pub(crate) fn assert_as_calm(cluster: &Cluster, output: &str, calm: &RecordBatch) {
    let work = cluster.path(&format!(".{output}.picsift"));
    wait_until("the work is cleared away", || !work.exists());
    cluster.assert_as_calm(output, calm);
}

/// Waits until it holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
