//! Several programs that label one output: each unit once, whoever is killed, stopped or late.

mod inherited;
mod killed;
mod recipes;
mod s3;
mod together;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use serde_json::Value;
use tempfile::TempDir;

use crate::kill::{Chance, Requests, rows, serve};
use crate::support::*;

/// Rows of a unit.
const UNIT: usize = 10;

/// A table of addresses, and outputs beside it.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) cache: TempDir,
    pub(crate) server: SocketAddr,
    requests: Requests,
}

impl Cluster {
    /// Two tables with so many rows together, whose images take `delay` to come; every tenth is missing.
    pub(crate) async fn new(row_count: usize, delay: Duration) -> Self {
        let requests = Requests::default();
        let server = serve(Arc::clone(&requests), delay).await;
        let cluster = Self {
            folder: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
            server,
            requests,
        };
        std::fs::create_dir(cluster.path("input")).unwrap();
        let first = row_count * 2 / 3;
        for (name, range) in [("a.parquet", 0..first), ("b.parquet", first..row_count)] {
            let urls = range
                .clone()
                .map(|row| format!("http://{server}/{row}.jpg"));
            // Hardly to be compressed, so that files have some size.
            let mut chance = Chance(0xf11e + first as u64);
            let mut note = || {
                (0..2000)
                    .map(|_| (b'a' + chance.below(26) as u8) as char)
                    .collect()
            };
            let notes: Vec<String> = range.clone().map(|_| note()).collect();
            let ids: Int64Array = range.map(|row| row as i64).collect();
            write_table(
                &cluster.path("input").join(name),
                vec![
                    ("id", array(ids)),
                    ("url", array(StringArray::from_iter_values(urls))),
                    ("note", array(StringArray::from_iter_values(notes))),
                ],
            );
        }
        cluster
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, output: &str, more: &[&str]) -> Command {
        let (input, output) = (self.path("input"), self.path(output));
        let (unit, server) = (UNIT.to_string(), self.server.to_string());
        let mut all = vec![
            "label",
            input.to_str().unwrap(),
            "--output",
            output.to_str().unwrap(),
            "--shard-rows",
            &unit,
            "--allow-host",
            &server,
            "--no-cache",
        ];
        if !more.contains(&"--categories") {
            all.extend(["--categories", "fish,tool"]);
        }
        all.extend(more);
        command(all, self.cache.path())
    }

    pub(crate) fn label(&self, output: &str, more: &[&str]) -> Output {
        self.command(output, more).output().unwrap()
    }

    pub(crate) fn start(&self, output: &str, more: &[&str]) -> Child {
        let mut command = self.command(output, more);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    pub(crate) fn status(&self, output: &str) -> Value {
        let output = self.path(output);
        let run = picsift(["status", output.to_str().unwrap(), "--format", "json"]);
        serde_json::from_str(&stdout(&run)).unwrap()
    }

    /// The work of the shared job on an output; `None` while no plan stands there.
    pub(crate) fn work(&self, output: &str) -> Option<PathBuf> {
        let work = self.path(&format!(".{output}.picsift"));
        let plan = std::fs::read(work.join("plan.json")).ok()?;
        let plan: Value = serde_json::from_slice(&plan).ok()?;
        Some(work.join(plan["draft"]["job"]["id"].as_str()?))
    }

    /// Numbers of units with a record, or with a claim.
    pub(crate) fn units(&self, output: &str, kind: &str) -> Vec<u32> {
        let Some(work) = self.work(output) else {
            return Vec::new();
        };
        let names = std::fs::read_dir(work.join(kind)).into_iter().flatten();
        let names = names.flatten().map(|entry| entry.file_name());
        names
            .filter_map(|name| {
                let name = name.into_string().unwrap();
                let number = name.strip_suffix(".json")?.split('-').next()?;
                number.parse().ok()
            })
            .collect()
    }

    /// Waits until a program is in the middle of a unit: it has claimed one that is not recorded.
    pub(crate) fn wait_for_unit_under_way(&self, output: &str, recorded: usize) {
        let begun = Instant::now();
        loop {
            let (claimed, done) = (self.units(output, "claims"), self.units(output, "units"));
            if done.len() >= recorded && claimed.iter().any(|unit| !done.contains(unit)) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no unit begins");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// An undisturbed run's rows.
    pub(crate) fn calm(&self) -> RecordBatch {
        stdout(&self.label("calm", &[]));
        rows(&self.path("calm"))
    }

    pub(crate) fn assert_as_calm(&self, output: &str, calm: &RecordBatch) {
        assert_same_rows(&rows(&self.path(output)), calm);
        let manifest = std::fs::read(self.path(output).join("_picsift.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["counts"]["rows"], calm.num_rows() as u64);
        let listed = manifest["files"].as_array().unwrap().len();
        assert_eq!(
            parquet_files(&self.path(output)).len(),
            listed,
            "no file is left over"
        );
        assert!(
            !self.path(&format!(".{output}.picsift")).exists(),
            "the work is cleared away"
        );
    }

    /// Images asked for since the last look.
    pub(crate) fn asked(&self) -> u64 {
        self.requests.lock().unwrap().drain().map(|(_, n)| n).sum()
    }
}

pub(crate) fn ended(child: Child) -> Output {
    child.wait_with_output().unwrap()
}
