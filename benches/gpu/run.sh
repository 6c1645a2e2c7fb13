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
categories=1,10,50
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

step "build"
"${bench[@]}" --no-run

step "parity: logits on the GPU against the stored ones"
# PICSIFT_GOLDENS, if set, names a folder with more of them.
PICSIFT_TEST_DEVICE=cuda cargo test --release --locked -p picsift-vision --features cuda --test vision -- --nocapture moondream \
  | tee "$out/parity.log"
grep -q '^test result: ok\. [1-9]' "$out/parity.log" || missing "no parity test ran"

step "picsift"
for size in $sizes; do
  "${bench[@]}" -- --device cuda --size "$size" --categories "$categories" --batch 1,8,64 --dtype bf16 \
    --seconds "$seconds" | tee -a "$out/picsift.log"
done

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
logs=("$out/picsift.log")
if [ -e "$out/pytorch.log" ]; then logs+=("$out/pytorch.log"); fi
"$python" benches/peer/report.py "${logs[@]}" | tee "$out/table.md"
