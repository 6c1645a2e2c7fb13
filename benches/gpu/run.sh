#!/usr/bin/env bash
# Moondream2 on this machine's GPU: is it right, how fast is it, how far from the hardware's limit and from PyTorch.
#
#     benches/gpu/run.sh [FOLDER]
#
# FOLDER (target/gpu-bench) gets the programs' whole output. See README.md beside this file for what is needed and for
# the variables PYTHON, PICSIFT_GOLDENS, SIZES and SECONDS_EACH.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=${1:-target/gpu-bench}
python=${PYTHON:-python3}
sizes=${SIZES:-378x378}
seconds=${SECONDS_EACH:-10}
goldens=${PICSIFT_GOLDENS:-vision/tests/goldens}
categories=1,10,50
cuda=(--release --locked --features cuda)
bench=(cargo bench --locked -p picsift-vision --bench moondream --features cuda)

missing() { echo "$1" >&2; exit 1; }
command -v cargo >/dev/null || missing "Rust is missing: see the README's set-up"
command -v nvcc >/dev/null || missing "nvcc is missing: install the CUDA toolkit, or put its bin folder on PATH"
command -v "$python" >/dev/null || missing "'$python' is missing: install Python 3.10 or later, or set PYTHON"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || missing "no NVIDIA GPU answers"
mkdir -p "$out"
# Results of an earlier run must not join this one's.
rm -f "$out"/*.log

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }
check() { cargo run -q "${cuda[@]}" -p picsift-vision --example gpu_check -- --goldens "$goldens" "$@" | tee -a "$out/checks.log"; }

step "build"
"${bench[@]}" --no-run
cargo build "${cuda[@]}" -p picsift-vision --example gpu_check
cargo bench --locked --features cuda --bench service --no-run

step "right: logits against the reference's, alone and together, each step against f64"
check --dtype f32 parity together steps
check --dtype bf16 parity together shapes

step "picsift"
for size in $sizes; do
  "${bench[@]}" -- --device cuda --size "$size" --categories "$categories" --batch 1,8,64 --dtype bf16 \
    --seconds "$seconds" | tee -a "$out/picsift.log"
done
"${bench[@]}" -- --device cuda --dtype bf16 --batch 1,64 --words 32 --seconds "$seconds" | tee -a "$out/picsift.log"
cargo bench --locked --features cuda --bench service -- --device cuda --categories "$categories" --images 256 \
  --seconds "$seconds" | tee -a "$out/picsift.log"

step "PyTorch"
if "$python" -c 'import numpy, PIL, safetensors, torch; assert torch.cuda.is_available()' 2>/dev/null; then
  for size in $sizes; do
    "$python" benches/peer/moondream_loop.py --device cuda --dtype bfloat16 --image-size "$size" \
      --categories "$categories" --seconds "$seconds" | tee -a "$out/pytorch.log"
  done
else
  echo "'$python' has no PyTorch that sees a GPU, or no numpy, pillow or safetensors: the table has no ratios"
fi

step "result"
"$python" benches/gpu/report "$out"/*.log | tee "$out/table.md"
