#!/usr/bin/env bash
# Kills one job a hundred times at moments that follow from a seed, and compares its output with an undisturbed run's.
# Usage: tests/kill.sh [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
PICSIFT_KILLS=${PICSIFT_KILLS:-100} PICSIFT_SEED=${1:-1} \
    cargo test --release --workspace --locked --test it kill:: -- --nocapture
