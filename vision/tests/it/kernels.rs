//! The kernels for NVIDIA GPUs, their bodies compiled for this CPU, against f64.
//!
//! What they ask of the hardware is emulated (`tests/kernels`), so that a card is needed only for what an emulation cannot know: how
//! they are launched, and how fast they are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The C++ compiler: what CXX names, or c++. Without one these tests skip themselves.
fn compiler() -> Option<String> {
    let name = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let there = Command::new(&name).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: {name} is missing (apt-get install g++)");
    }
    there.then_some(name)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels")
}

/// Compiles the check in this folder and gives what it prints, and whether it was content.
fn check(compiler: &str, kernels: &Path) -> (bool, String) {
    let out = tempfile::tempdir().unwrap();
    let program = out.path().join("check");
    let compiled = Command::new(compiler)
        .args([
            "-std=c++17",
            "-O2",
            "-fno-strict-aliasing",
            "-DPICSIFT_EMULATED",
        ])
        .arg("-I")
        .arg(folder())
        .arg("-I")
        .arg(kernels)
        .arg(folder().join("check.cpp"))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    let ran = Command::new(&program).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    (ran.status.success(), said.into_owned())
}

#[test]
fn kernels_compute_what_they_say() {
    let Some(compiler) = compiler() else {
        return;
    };
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transformer/kernels/cuda");
    let (holds, said) = check(&compiler, &kernels);
    assert!(holds, "{said}");
    for step in [
        "attention",
        "rotate",
        "bias and gelu",
        "residual",
        "patches",
        "choose",
    ] {
        for dtype in ["f32", "bf16"] {
            let mut lines = said.lines();
            assert!(
                lines.any(|line| line.starts_with(&format!("ok {step}")) && line.ends_with(dtype)),
                "no {dtype} {step} in {said}"
            );
        }
    }
}

/// The check sees what is wrong: a kernel changed in one place is not content.
#[test]
fn a_kernel_that_is_wrong_is_found_out() {
    let Some(compiler) = compiler() else {
        return;
    };
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transformer/kernels/cuda");
    for (file, right, wrong) in [
        (
            "attention.cu",
            "exchange(high[half], 2)",
            "exchange(high[half], 1)",
        ),
        ("rotary.cu", "k[at + 3 * half] = keys[at + 3 * half];", ""),
        (
            "choose.cu",
            "(other == tops[me] && first)",
            "other == tops[me]",
        ),
        ("choose.cu", "wrong ? NOTHING : ", ""),
    ] {
        let changed = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&kernels).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, changed.path().join(path.file_name().unwrap())).unwrap();
        }
        let path = changed.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(right), "{file} has no '{right}'");
        std::fs::write(&path, text.replace(right, wrong)).unwrap();
        assert!(
            !check(&compiler, changed.path()).0,
            "{file} without '{right}' is right"
        );
    }
}
