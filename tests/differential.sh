#!/usr/bin/env bash
# Runs N random queries with image calls and compares them with DuckDB over known answers; from query NUMBER on, to run one again.
# Usage: tests/differential.sh N [SEED] [NUMBER] [--shrink]
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:?how many queries}
seed=${2:-1}
first=${3:-1}
cargo build --release --locked
"${PICSIFT_PYTHON:-python3}" tests/differential/run.py target/release/picsift "$count" "$seed" --first "$first" "${@:4}"
