#!/usr/bin/env bash
# Moondream2 on a GPU that is at hand for a quarter of an hour, on a machine without cargo: right? how fast? why?
#
#     benches/gpu/lent.sh PROGRAMS OUT
#
# PROGRAMS is a folder from pack.sh; OUT gets results.jsonl, the table made of it (report.md) and every program's output.
# Takes under 420 s: each step has its share and none begins after DEADLINE (400 s). Both ways of computing are tried, candle's
# operations (plain) and the kernels of this repository (fused), and measured one against the other. If only one is right, that
# one is measured, and a memory checker looks at the other; if parity in f32 fails in both, a memory
# checker and a profile are taken instead of timings. Needs a driver, cuBLAS, cuBLASLt and cuRAND of CUDA 13 (PyTorch brings both);
# uses ncu, compute-sanitizer and PyTorch where they are. GOLDENS is the folder of goldens (vision/tests/goldens), PYTHON
# the Python that has PyTorch. DRY=1 goes on without a GPU and past checks that fail, to try the script on the counting
# driver (vision/tests/null_driver); EACH=0 then measures each setting once.
set -uo pipefail
cd "$(dirname "$0")/../.."
programs=$(cd "$1" && pwd)
out=$(mkdir -p "$2" && cd "$2" && pwd)
goldens=${GOLDENS:-vision/tests/goldens}
python=${PYTHON:-python3}
deadline=${DEADLINE:-400}
each=${EACH:-5}
rounds=${ROUNDS:-2}
results=$out/results.jsonl
: >"$results"

step() { # SECONDS NAME COMMAND... : its JSON lines join the results; its exit code is the command's
  local seconds=$1 name=$2 code
  shift 2
  if [ "$SECONDS" -ge "$deadline" ]; then echo "== $name left out: $SECONDS s are over"; return 125; fi
  printf '== %s (%ss)\n' "$name" "$SECONDS"
  if [ "$seconds" -gt $((deadline + 20 - SECONDS)) ]; then seconds=$((deadline + 20 - SECONDS)); fi
  timeout "$seconds" "$@" >"$out/$name.log" 2>"$out/$name.err"
  code=$?
  grep '^{' "$out/$name.log" >>"$results"
  if [ $code -ne 0 ]; then echo "   ended with $code"; tail -n 3 "$out/$name.err"; fi
  return $code
}

# cuBLAS and cuRAND as PyTorch's wheels bring them.
libraries=$("$python" - <<'END' 2>/dev/null
import glob, site, sys
folders = [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
print(":".join(sorted({f for s in folders for f in glob.glob(f"{s}/nvidia/*/lib")})))
END
)
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$libraries"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
for packed in "$programs"/*.xz; do
  name=$(basename "$packed" .xz)
  xz -dc "$packed" >"$bin/$name" && chmod +x "$bin/$name"
done
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || [ -n "${DRY:-}" ] || exit 1

bench() { "$bin/moondream" --device cuda --dtype bf16 --seconds "$each" "$@"; }
export -f bench
export bin each

step 30 steps-plain "$bin/gpu_check" --plain steps
step 30 steps-fused "$bin/gpu_check" steps
step 50 parity-f32-plain "$bin/gpu_check" --plain --goldens "$goldens" --dtype f32 parity together
plain=$?
step 50 parity-f32-fused "$bin/gpu_check" --goldens "$goldens" --dtype f32 parity together
fused=$?
step 50 parity-bf16-fused "$bin/gpu_check" --goldens "$goldens" --dtype bf16 parity together || fused=1
if [ -n "${DRY:-}" ]; then plain=0 fused=0; fi
right=$((plain && fused))
if [ $right -ne 0 ]; then
  echo "== parity in f32 fails: no timings, but what a checker and a profile say"
  checker=(compute-sanitizer --tool memcheck)
  command -v compute-sanitizer >/dev/null && step 120 memcheck "${checker[@]}" "$bin/gpu_check" --shape 2,56 shapes
  command -v ncu >/dev/null && step 60 ncu ncu --clock-control none --launch-count 2000 --csv \
    --metrics gpu__time_duration.sum "$bin/gpu_check" --shape 2,4 shapes
else
  # What is measured below: fused if it is right.
  export best=; if [ $fused -ne 0 ]; then best=--plain; fi
  if [ $fused -ne 0 ] && command -v compute-sanitizer >/dev/null; then
    step 40 memcheck-fused compute-sanitizer --tool memcheck "$bin/gpu_check" steps
  fi
  step 30 shapes "$bin/gpu_check" $best --dtype bf16 shapes
  for round in $(seq "$rounds"); do
    if [ $plain -eq 0 ]; then
      step 30 "plain-$round" bash -c 'bench --batch 64 --categories 1 --plain --name plain'
    fi
    if [ $fused -eq 0 ]; then
      step 30 "kernels-$round" bash -c 'bench --batch 64 --categories 1 --no-products --no-attention --name "bias, rotary and patches fused"'
      step 30 "products-$round" bash -c 'bench --batch 64 --categories 1 --no-attention --name "and products"'
      step 30 "attention-$round" bash -c 'bench --batch 64 --categories 1 --name "and attention"'
    fi
  done
  step 30 events bash -c 'bench --batch 64 --categories 1 $best --events --give-back --name "best, with events and memory given back"'
  step 100 best bash -c 'bench $best --batch 1,8,64 --categories 1,10,50'
  step 40 words bash -c 'bench $best --batch 1,64 --words 32'
  if [ -x "$bin/service" ]; then step 40 service "$bin/service" --device cuda --seconds "$each"; fi
  if "$python" -c 'import torch, numpy, PIL, safetensors; assert torch.cuda.is_available()' 2>/dev/null; then
    step 60 pytorch "$python" benches/peer/moondream_loop.py --device cuda --dtype bfloat16 --categories 1,10,50 --seconds "$each"
  fi
  if command -v ncu >/dev/null; then
    step 60 ncu ncu --clock-control none --launch-count 4000 --csv --metrics gpu__time_duration.sum \
      bash -c 'bench $best --batch 8 --categories 1 --seconds 0'
  fi
  if command -v compute-sanitizer >/dev/null; then
    step 60 memcheck compute-sanitizer --tool memcheck "$bin/gpu_check" $best --shape 2,56 shapes
  fi
fi
printf '== done (%ss)\n' "$SECONDS"
"$python" benches/gpu/report "$results" | tee "$out/report.md"
[ $((plain || fused)) -eq 0 ]
