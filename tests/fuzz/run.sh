#!/usr/bin/env bash
# Fuzzes every target, BITFALL_FUZZ_JOBS (1) side by side: tests/fuzz/run.sh BUILD SECONDS [RUNS [NAME...]]
#   tests/fuzz/run.sh build/fuzz 60                   each target for a minute
#   tests/fuzz/run.sh build/fuzz 100000 1000000       a million inputs each
# An input may take BITFALL_FUZZ_TIMEOUT (20) seconds.
# BUILD was made by the preset `fuzz` (./run.sh fuzz does both). Seeds are in corpus/NAME; new inputs stay in
# BUILD/corpus/NAME, and what crashed, hung or took too much memory in BUILD/found/NAME-*.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=$1 seconds=$2 runs=${3:--1}
shift $(($# < 3 ? $# : 3))
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(archive run_file tar image config safetensors pattern)
mkdir -p "$build/found"
# Our own code leaks nothing; MPI and libomp keep what they have to the end.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

fuzz_one() {
  local name=$1 length=8192 log=$build/found/$1.log
  case $name in config | pattern) length=512 ;; archive | run_file) length=65536 ;; esac
  mkdir -p "$build/corpus/$name"
  if ! "$build/tests/fuzz_$name" -max_total_time="$seconds" -runs="$runs" -max_len=$length -timeout="${BITFALL_FUZZ_TIMEOUT:-20}" -rss_limit_mb=2048 \
    -artifact_prefix="$build/found/$name-" "$build/corpus/$name" "tests/fuzz/corpus/$name" > "$log" 2>&1; then
    tail -40 "$log"
    echo "fuzz_$name failed: see $log; the input is $build/found/$name-*"
    return 1
  fi
  echo "fuzz_$name: $(grep -o 'Done [0-9]* runs in [0-9]* second' "$log")s, $(grep -o 'cov: [0-9]*' "$log" | tail -1)"
}
export build seconds runs
export -f fuzz_one
printf '%s\n' "${names[@]}" | xargs -P "${BITFALL_FUZZ_JOBS:-1}" -I{} bash -c 'fuzz_one {}'
