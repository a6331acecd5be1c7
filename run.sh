#!/usr/bin/env bash
# Sets up, builds and runs bitfall on Debian 12 or 13 (x86-64). Run again, it starts in seconds.
#   ./run.sh build | demo | install PREFIX | test | test-gpu | lint | docs | fuzz [SECONDS] | sanitize | python-torch | help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
build=build/release
venv=build/venv

apt_packages=(build-essential cmake ninja-build ccache git pkg-config python3 python3-venv
  libopenmpi-dev openmpi-bin libhdf5-openmpi-dev catch2 libarchive-dev libjpeg-dev libturbojpeg0-dev libcli11-dev
  nlohmann-json3-dev libspdlog-dev libtomlplusplus-dev libssl-dev zlib1g-dev libhwy-dev)
# Of the tests alone: a Slurm of this one machine, fibers for the emulation of a device, micro-benches.
test_packages=(slurm-wlm munge libboost-context-dev libbenchmark-dev)
# Of ./run.sh fuzz and sanitize, and of their short versions in the tests.
sanitizer_packages=(clang libclang-rt-dev libomp-dev valgrind)
torch_wheel=torch==2.11.0
# What libtorch_cpu of the CUDA 13 wheel needs from a machine that has no CUDA toolkit.
runtime_wheels=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
# What `import torch` needs beside a CUDA 13 toolkit.
import_wheels=(nvidia-cufile==1.15.1.6 nvidia-cusparselt-cu13==0.8.0 nvidia-nvshmem-cu13==3.4.5)
# What `pip install ./python` needs in the tests, where nothing is fetched.
build_wheels=(setuptools==80.9.0)
# Finds names that do not exist in what is written in Python: nobody compiles it.
ruff_wheel=ruff==0.14.6
# What `bitfall report` draws with, and what it needs. Without dependencies: pip would take its own numpy and Pillow.
draw_wheels=(matplotlib==3.10.7 contourpy==1.3.3 cycler==0.12.1 fonttools==4.60.1 kiwisolver==1.4.9 packaging==25.0
  pyparsing==3.2.5 python-dateutil==2.9.0.post0 six==1.17.0)
# What `bitfall evaluate` counts a detector's average precision with. Without dependencies, too.
precision_wheels=(pycocotools==2.0.11)
# What reads the compiled kernels in the tests.
kernel_wheels=(nvidia-cuda-cuobjdump==13.2.51 nvidia-cuda-nvdisasm==13.2.51)
# What makes the site, in a virtual environment of its own; the last three decide how the pages look.
docs_wheels=(mkdocs==1.6.1 mkdocs-material==9.6.22 Markdown==3.11.3 pymdown-extensions==10.21.3 Pygments==2.21.0)
# What `bitfall export --format onnx` writes with, and what tests of Python's torch read and compare with.
torch_wheels=(onnx==1.23.2 onnxruntime==1.32.0 safetensors==0.8.0 torchvision==0.26.0)
python_wheels=(numpy==2.3.4 pillow==12.0.0 h5py==3.15.1 typing_extensions==4.15.0)
python_stamp="python-${draw_wheels[0]}-${precision_wheels[0]}"

say() { printf '\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "these packages are missing and neither root nor sudo is at hand: ${missing[*]}"; fi
}

install_packages() {
  missing=()
  for name in "$@"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "this is no Debian; install what docs/development.md lists, then run cmake"
  say "installing ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

has_cuda_toolkit() { compgen -G '/usr/local/cuda*/lib64/libcudart.so.13' >/dev/null; }

has_gpu() { [ -e /proc/driver/nvidia/version ]; }

# once NAME COMMAND...: runs the command unless it has succeeded before.
once() {
  local stamp="build/stamps/$1"; shift
  [ -e "$stamp" ] && return
  "$@"
  mkdir -p build/stamps && touch "$stamp"
}

pip_install() { "$venv/bin/pip" install -q --disable-pip-version-check --no-warn-conflicts "$@"; }

install_torch() {
  say "LibTorch from the wheel $torch_wheel"
  python3 -m venv "$venv"
  pip_install --no-deps "$torch_wheel"
  if has_cuda_toolkit && has_gpu; then
    pip_install "$torch_wheel"  # now with what its part for CUDA needs: some gigabytes
  elif has_cuda_toolkit; then
    pip_install --no-deps "${import_wheels[@]}"
  else
    pip_install --no-deps "${runtime_wheels[@]}"
  fi
}

install_python() {
  pip_install "${python_wheels[@]}"
  pip_install --no-deps "${draw_wheels[@]}" "${precision_wheels[@]}"
  pip_install sympy networkx jinja2 filelock fsspec   # what `import torch` imports
}

setup() {
  install_packages "${apt_packages[@]}"
  mkdir -p build
  if [ -n "${BITFALL_TORCH_ROOT:-}" ]; then torch_root=$BITFALL_TORCH_ROOT; [ -d "$venv" ] || python3 -m venv "$venv"
  else
    once "torch-$torch_wheel" install_torch
    torch_root=$(echo "$PWD/$venv"/lib/python3*/site-packages/torch)
  fi
}

do_build() {
  local werror=OFF tests=${1:-OFF}
  [ "$tests" = OFF ] || install_packages "${apt_packages[@]}" "${test_packages[@]}" "${sanitizer_packages[@]}"
  setup
  [ "${CI:-}" = true ] && werror=ON
  # A first build is what counts; who edits prefers BITFALL_UNITE=OFF.
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBITFALL_WERROR=$werror -DBITFALL_UNITE="${BITFALL_UNITE:-ON}" \
    -DBITFALL_TESTS="$tests" -DBITFALL_TORCH_ROOT="$torch_root" -DPython="$PWD/$venv/bin/python" >"build/configure.log" 2>&1 \
    || { cat build/configure.log >&2; die "configuring failed"; }
  cmake --build "$build"
}

do_test() {
  setup
  if has_cuda_toolkit; then once kernel-tools pip_install --no-deps "${kernel_wheels[@]}"; fi
  do_build ON
  once "$python_stamp" install_python
  once "build-${build_wheels[*]}" pip_install "${build_wheels[@]}"
  # Beside the tests, which leave cores idle while they wait for ranks.
  nice -n 10 ./run.sh sanitize-short >build/sanitize-short.log 2>&1 &
  local short=$! tests=0 clean=0
  BITFALL_PYTHON="$PWD/$venv/bin/python" ctest --test-dir "$build" --output-on-failure -j3 || tests=$?
  wait "$short" || clean=$?
  cat build/sanitize-short.log
  [ "$tests" = 0 ] || exit "$tests"
  [ "$clean" = 0 ] || die "the short versions of fuzz and sanitize failed (above)"
}

# The tests that need a GPU, from what is on the machine: nothing is installed, no registry is asked.
do_test_gpu() {
  local python=$venv/bin/python
  [ -x "$python" ] || python=$(command -v python3) || die "no Python 3 was found"
  torch_root=${BITFALL_TORCH_ROOT:-$("$python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')} \
    || die "no torch for $python; BITFALL_TORCH_ROOT=.../site-packages/torch names another one"
  mkdir -p build
  cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DBITFALL_CUDA=ON -DBITFALL_TESTS=GPU -DBITFALL_TORCH_ROOT="$torch_root" \
    -DBITFALL_TEST_PYTHON="$python" >build/configure.log 2>&1 || { cat build/configure.log >&2; die "configuring failed; docs/development.md lists what is needed"; }
  cmake --build "$build" -j "$(nproc)" --target bitfall test_gpu_kernels test_gpu_networks require_gpu kernel_times array_times
  ctest --test-dir "$build" -L gpu --output-on-failure -V
}

# configure_preset PRESET: for the sanitizers' own builds, by clang.
configure_preset() {
  install_packages "${apt_packages[@]}" "${sanitizer_packages[@]}"
  setup
  cmake --preset "$1" -DBITFALL_TORCH_ROOT="$torch_root" >"build/$1.log" 2>&1 || { cat "build/$1.log" >&2; die "configuring failed"; }
}

# libFuzzer with the address and undefined-behaviour sanitizers: some seconds for each target.
do_fuzz() {
  configure_preset fuzz
  cmake --build build/fuzz --target fuzzers
  tests/fuzz/run.sh build/fuzz "$1"
}

# The tests under sanitizers, and a compress under valgrind.
do_sanitize() {
  configure_preset fuzz
  tests/sanitize/run.sh address build/fuzz
  configure_preset tsan
  tests/sanitize/run.sh thread build/tsan
  do_build ON
  tests/sanitize/run.sh valgrind "$build"
}

# What ./run.sh test has of fuzz and sanitize: builds without optimisation, which take a fifth of the time.
do_sanitize_short() {
  configure_preset fuzz-short
  tests/sanitize/run.sh address-short build/fuzz-short
  cmake --build build/fuzz-short --target fuzzers
  BITFALL_FUZZ_TIMEOUT=600 tests/fuzz/run.sh build/fuzz-short 5  # who is nice may wait long
  configure_preset tsan-short
  tests/sanitize/run.sh thread-short build/tsan-short
  tests/sanitize/run.sh valgrind-short "$build"
}

do_lint() {
  install_packages clang-format clang-tidy shellcheck python3 python3-venv
  git ls-files '*.cpp' '*.hpp' '*.cu' | xargs clang-format --dry-run -Werror
  once "lint-venv-$ruff_wheel" make_venv build/lint-venv "$ruff_wheel"
  # Recipes of Spack take everything from one module.
  build/lint-venv/bin/ruff check --no-cache --select E9,F --per-file-ignores 'src/packaging/spack/**:F403,src/packaging/spack/**:F405' .
  shellcheck -x run.sh .ci/run tests/fuzz/run.sh tests/sanitize/run.sh tests/bench/stalls.sh slurm/*.sh slurm/*.sbatch tests/integration/slurm/*.sh
  setup
  # A configuration of its own: clang can't read GCC's precompiled headers, and many sources in one unit parse LibTorch once.
  cmake -S . -B build/tidy -G Ninja -DBITFALL_TESTS=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DBITFALL_UNITE=ON \
    -DBITFALL_TORCH_ROOT="$torch_root" -DPython="$PWD/$venv/bin/python" > build/tidy.log 2>&1 || { cat build/tidy.log >&2; die "configuring failed"; }
  say "clang-tidy (some minutes; units that have not changed since the last time are skipped)"
  python3 -c 'import json; print(*(unit["file"] for unit in json.load(open("build/tidy/compile_commands.json"))), sep="\n")' \
    | grep -v '[.]cu$' | shuf | xargs -P "$(nproc)" -n 1 ./run.sh tidy
}

# One source through clang-tidy, unless it and all headers are as they were when it last passed, or the time that CI has for it
# (BITFALL_TIDY_UNTIL, seconds of `date`) is over: then it is named, and the order is another one each time. United ones are files of
# includes: bugprone-suspicious-include would complain of them, and clang's path analysis, which looks at no header, is left out.
do_tidy() {
  local stamp="build/stamps/tidy/${1//\//_}" key
  [ "$(date +%s)" -lt "${BITFALL_TIDY_UNTIL:-99999999999}" ] || { echo "clang-tidy has no time left for $1"; return; }
  key=$({ cat "$1"; sed -n 's/^#include "\(.*[.]cpp\)"$/\1/p' "$1" | xargs -r cat; git ls-files -z .clang-tidy '*.hpp' | xargs -0 cat; } | sha256sum)
  [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && return
  clang-tidy -p build/tidy --quiet --checks=-bugprone-suspicious-include --extra-arg=-Wno-unknown-warning-option "$1" 2>/dev/null || die "clang-tidy: $1"
  mkdir -p build/stamps/tidy
  echo "$key" > "$stamp"
}

# make_venv FOLDER WHEEL...: a virtual environment that nothing else installs into.
make_venv() { python3 -m venv "$1"; "$1/bin/pip" install -q --disable-pip-version-check "${@:2}"; }

# The pages as a site: every page in its menu, every link with a target, or it fails.
do_docs() {
  install_packages python3 python3-venv
  once "docs-${docs_wheels[*]}" make_venv build/docs-venv "${docs_wheels[@]}"
  build/docs-venv/bin/mkdocs build --strict -q -f src/packaging/mkdocs.yml
  echo "$PWD/build/site/index.html"
}

case "${1:-help}" in
  build) do_build "${2:-OFF}" ;;
  test) do_test ;;
  test-gpu) do_test_gpu ;;
  fuzz) do_fuzz "${2:-60}" ;;
  sanitize) do_sanitize ;;
  sanitize-short) do_sanitize_short ;;
  lint) do_lint ;;
  docs) do_docs ;;
  tidy) do_tidy "$2" ;;
  demo) do_build; once "$python_stamp" install_python; exec "$venv/bin/python" python/demo.py "$build/bitfall" ;;
  install) [ $# = 2 ] || die "usage: ./run.sh install PREFIX"
    do_build; once "$python_stamp" install_python; cmake --install "$build" --prefix "$2" --strip ;;
  python-torch) setup; say "everything that Python's torch needs (several gigabytes)"; pip_install "$torch_wheel" "${torch_wheels[@]}" ;;
  help|*) sed -n '2,3p' "$0"; [ "${1:-help}" = help ] || exit 64 ;;
esac
