#!/usr/bin/env bash
# The programs of lent.sh for a machine with a GPU and without cargo: built with CUDA, stripped, compressed.
#
#     benches/gpu/pack.sh FOLDER
#
# Needs nvcc, or what toolkit.sh makes. CUDA_COMPUTE_CAP says for which cards (80: all that have bf16). FOLDER gets
# gpu_check.xz, moondream.xz and, with SERVICE=1, service.xz, which takes the whole of picsift with it.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mkdir -p "$1" && cd "$1" && pwd)
command -v nvcc >/dev/null || { echo "nvcc is missing: install the CUDA toolkit, or use benches/gpu/toolkit.sh" >&2; exit 1; }
command -v xz >/dev/null || { echo "xz is missing: install xz-utils" >&2; exit 1; }
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/cuda} CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}

build() { # NAME CARGO-ARGUMENTS...
  local name=$1 program
  shift
  program=$(cargo build --release --locked --features cuda --message-format json-render-diagnostics "$@" |
    python3 -c 'import json, sys
made = [json.loads(line) for line in sys.stdin]
print([m["executable"] for m in made if m.get("executable") and m["target"]["name"] == sys.argv[1]][-1])' "$name")
  strip -o "$out/$name" "$program"
  xz -T0 -f "$out/$name"
  ls -l "$out/$name.xz"
}

build gpu_check -p picsift-vision --example gpu_check
build moondream -p picsift-vision --bench moondream
if [ -n "${SERVICE:-}" ]; then build service -p picsift --bench service; fi
