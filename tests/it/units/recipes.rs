//! The recipes of docs/many-machines.md, each run by something that does what its scheduler does.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use super::{Cluster, UNIT};
use crate::support::*;

/// The block of the document that stands under a heading, in a fence of this language.
fn block(heading: &str, language: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/many-machines.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_string()
}

/// The recipe with this test's job in the place of the document's.
fn of_this_job(recipe: &str, cluster: &Cluster, output: &str) -> String {
    let (input, out) = (cluster.path("input"), cluster.path(output));
    let more = format!(
        "--output {} --allow-host {} --no-cache --shard-rows {UNIT}",
        out.display(),
        cluster.server
    );
    let changed = recipe
        .replace("s3://bucket/photos/", &input.display().to_string())
        .replace("--output s3://bucket/labelled", &more)
        .replace("s3://bucket/labelled", &out.display().to_string())
        .replace("--categories person,car", "--categories fish,tool")
        .replace("/16", "/3")
        .replace("1-16", "1-3")
        .replace("seq 16", "seq 3");
    assert!(!changed.contains("s3://"), "{changed}");
    changed
}

fn bash(script: &str, cluster: &Cluster, set: &[(&str, String)]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_picsift")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    Command::new("bash")
        .args(["-euc", script])
        .current_dir(root())
        .env("PATH", format!("{}:{path}", program.display()))
        .env("PICSIFT_CACHE", cluster.cache.path())
        .envs(set.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slurm_array() {
    let cluster = Cluster::new(60, Duration::ZERO).await;
    let script = of_this_job(&block("Slurm", "sh"), &cluster, "out");
    let array = script
        .lines()
        .find_map(|line| line.strip_prefix("#SBATCH --array="));
    let (first, last) = array.unwrap().split_once('-').unwrap();
    let tasks = first.parse::<u32>().unwrap()..=last.parse().unwrap();
    for task in tasks {
        let set = [("SLURM_ARRAY_TASK_ID", task.to_string())];
        stdout(&bash(&script, &cluster, &set));
    }
    cluster.assert_as_calm("out", &cluster.calm());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubernetes_indexed_job() {
    let cluster = Cluster::new(60, Duration::ZERO).await;
    let manifest = of_this_job(&block("Kubernetes", "yaml"), &cluster, "out");
    assert!(manifest.contains("completionMode: Indexed"));
    let (_, script) = manifest.split_once("- |\n").unwrap();
    let indent = script.len() - script.trim_start().len();
    let script: Vec<&str> = script
        .lines()
        .take_while(|line| line.len() - line.trim_start().len() >= indent)
        .collect();
    let script = script.join("\n");
    for index in [2, 0, 1] {
        let set = [("JOB_COMPLETION_INDEX", index.to_string())];
        stdout(&bash(&script, &cluster, &set));
    }
    cluster.assert_as_calm("out", &cluster.calm());
}

#[tokio::test(flavor = "multi_thread")]
async fn xargs_on_one_machine() {
    let cluster = Cluster::new(60, Duration::ZERO).await;
    let script = of_this_job(&block("One machine", "sh"), &cluster, "out");
    assert!(script.contains("xargs -P"));
    stdout(&bash(&script, &cluster, &[]));
    cluster.assert_as_calm("out", &cluster.calm());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_machines_that_come_and_go() {
    let cluster = Cluster::new(60, Duration::ZERO).await;
    let script = of_this_job(&block("Any machines", "sh"), &cluster, "out");
    let both: Vec<_> = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| bash(&script, &cluster, &[])));
        runs.map(|run| run.join().unwrap()).into()
    });
    for run in both {
        stdout(&run);
    }
    cluster.assert_as_calm("out", &cluster.calm());
}
