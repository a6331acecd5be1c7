#!/usr/bin/env bash
# Compares bitfall with what people use today, on this machine and on the same data: docs/performance.md.
#   tests/bench/bench.sh SHARED [kmeans|loader|growth|all]
# Installs the peers into build/bench-venv; needs a build with tests (./run.sh test, or cmake -DBITFALL_TESTS=ON).
# Takes the lock BITFALL_BENCH_LOCK, when that is set, for each measurement.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
shared=${1:?usage: tests/bench/bench.sh SHARED [kmeans|loader|growth|all]}
part=${2:-all}
venv=build/bench-venv
peers=(faiss-cpu==1.15.1 scikit-learn==1.9.1 numpy==2.3.4 pillow==12.0.0)
# torch without what only GPUs need (as run.sh), torchvision for its transforms.
torch_wheels=(torch==2.11.0 torchvision==0.26.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
  nvidia-cufile==1.15.1.6 nvidia-cusparselt-cu13==0.8.0 nvidia-nvshmem-cu13==3.4.5)

if [ ! -e "$venv/ready" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "${peers[@]}"
  if [ "$part" != kmeans ] && [ "$part" != growth ]; then
    "$venv/bin/pip" install -q --disable-pip-version-check --no-deps "${torch_wheels[@]}"
    "$venv/bin/pip" install -q --disable-pip-version-check typing_extensions sympy networkx jinja2 filelock fsspec
    touch "$venv/ready"
  fi
fi

measure() {
  if [ -n "${BITFALL_BENCH_LOCK:-}" ]; then flock "$BITFALL_BENCH_LOCK" "$venv/bin/python" "$@"
  else "$venv/bin/python" "$@"; fi
}

case $part in
  kmeans) measure tests/bench/kmeans_peers.py ;;
  loader) measure tests/bench/loader_peers.py "$shared" ;;
  growth) measure tests/bench/growth.py ;;
  all) for each in kmeans loader growth; do "$0" "$shared" "$each"; done ;;
  *) echo "bench.sh: '$part' is none of kmeans, loader, growth, all" >&2; exit 64 ;;
esac
