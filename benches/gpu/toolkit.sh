#!/usr/bin/env bash
# A CUDA 13.0 toolkit for building with feature `cuda` where there is neither a GPU nor a toolkit.
#
#     cargo fetch && benches/gpu/toolkit.sh DIR && source DIR/env.sh
#
# Compiler and headers are NVIDIA's wheels (270 MB; their licence is NVIDIA's). The libraries to link with are stand-ins that
# open the real ones at their first call (lazy_stubs.py), so the program starts everywhere. Programs that are built so run
# with drivers that know CUDA 13.0. With a toolkit of your own none of this is needed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "$1" && cd "$1" && pwd)
if [ ! -x "$dir/cuda/bin/nvcc" ]; then
  rm -rf "$dir/wheels" "$dir/site" "$dir/cuda"
  python3 -m pip download -q --no-deps -d "$dir/wheels" \
    'nvidia-cuda-nvcc>=13.0,<13.1' 'nvidia-cuda-runtime>=13.0,<13.1' 'nvidia-cuda-crt>=13.0,<13.1' \
    'nvidia-nvvm>=13.0,<13.1' 'nvidia-cuda-cccl>=13.0,<13.1' nvidia-curand 'nvidia-cuda-nvrtc>=13.0,<13.1'
  for wheel in "$dir"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$dir/site"; done
  mkdir -p "$dir/cuda"
  cp -a "$dir/site/nvidia/cu13/." "$dir/cuda/"
  rm -rf "$dir/wheels" "$dir/site"
  chmod -R u+rwX "$dir/cuda"
  chmod +x "$dir"/cuda/bin/* "$dir"/cuda/nvvm/bin/*
  ln -sfn lib "$dir/cuda/lib64"
fi
# The version that Cargo.lock names; another project may have fetched others.
version=$(sed -n '/^name = "cudarc"$/{n;s/version = "\(.*\)"/\1/p;}' "$here/../../Cargo.lock")
cudarc=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/cudarc-"$version" | head -n 1)
python3 "$here/lazy_stubs.py" "$cudarc" "$dir/cuda/lib/stubs_a"
ln -sfn ../libcudart_static.a "$dir/cuda/lib/stubs_a/libcudart.a"
ln -sfn stubs_a "$dir/cuda/lib/stubs"
cat >"$dir/env.sh" <<END
export CUDA_HOME=$dir/cuda CUDA_PATH=$dir/cuda CUDA_ROOT=$dir/cuda PATH=$dir/cuda/bin:\$PATH
export NVCC_CCBIN=/usr/bin/g++ CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80} CUDAFORGE_THREADS=2
END
echo "source $dir/env.sh, then build with --features cuda and a target folder of its own"
