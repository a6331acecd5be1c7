#!/usr/bin/env bash
# Unit and MPI tests under sanitizers, and one compress under valgrind (docs/reliability.md; ./run.sh sanitize does all):
#   tests/sanitize/run.sh address BUILD     address, undefined behaviour, leaks; BUILD was made by the preset fuzz
#   tests/sanitize/run.sh thread BUILD      data races; BUILD was made by the preset tsan
#   tests/sanitize/run.sh valgrind BUILD    an ordinary build
#   tests/sanitize/run.sh address-short|thread-short|valgrind-short BUILD    some of each, for ./run.sh test; made by the
#                                           presets fuzz-short and tsan-short
# The test of `memory` is left out: freed memory stays in the sanitizer's quarantine.
# Only the rooms that don't need LibTorch: its wheel is not instrumented, so that the thread sanitizer would see races that
# are not there, and each file that includes it takes minutes to compile with the address sanitizer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
what=$1 build=$2
here=$PWD/tests/sanitize

readers=(files images loader archive)
numbers=(random codes coded_codes metric plan rate_distortion code_rate quantizer permutation kmeans exact_sum carried_sum)
threads=(threads communicator_self stall_watch)
ranks=(communicator stall_watchdog kmeans_ranks permutation_ranks)

# run_tests NAME...: builds and runs them, on BITFALL_RANKS ranks (a pattern) where they have ranks.
run_tests() {
  cmake --build "$build" --target "${@/#/test_}"
  local pattern
  pattern=$(printf '|%s' "$@")
  ctest --test-dir "$build" --output-on-failure -R "^(${pattern:1})(_${BITFALL_RANKS:-[0-9]}_ranks)?$"
}

case $what in
  address*)
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:quarantine_size_mb=16 LSAN_OPTIONS=suppressions=$here/lsan.supp:print_suppressions=0
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    if [ "$what" = address ]; then run_tests "${readers[@]}" "${numbers[@]}" "${threads[@]}"
    else run_tests "${threads[@]}" exact_sum carried_sum loader; fi
    # Open MPI allocates through libc (vasprintf): only the slow way finds who called.
    export ASAN_OPTIONS=$ASAN_OPTIONS:fast_unwind_on_malloc=0
    if [ "$what" = address ]; then run_tests "${ranks[@]}"; else BITFALL_RANKS=2 run_tests communicator; fi
    ;;
  thread*)
    # libarcher tells the sanitizer what libomp's own synchronisation orders.
    archer=$(dirname "$(readlink -f "$(command -v clang)")")/../lib/libarcher.so
    [ -e "$archer" ] || { echo "no $archer: races in OpenMP regions can't be told from none" >&2; exit 1; }
    export OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1:suppressions=$here/tsan.supp
    if [ "$what" = thread ]; then run_tests "${threads[@]}" images loader carried_sum communicator stall_watchdog
    else run_tests threads stall_watch carried_sum loader; fi
    ;;
  valgrind-short) exec "$build/../venv/bin/python" tests/sanitize/valgrind_compress.py "$build" few_kernels.pt ;;
  valgrind)
    # The kernels of the E-step, which the builds above leave out.
    valgrind --quiet --error-exitcode=1 --suppressions=/usr/share/openmpi/openmpi-valgrind.supp "$build/tests/test_kmeans" \
      "the filter decides nearly all points*,bounds keep most points*"
    exec "$build/../venv/bin/python" tests/sanitize/valgrind_compress.py "$build"
    ;;
  *) sed -n '2,7p' "$0"; exit 64 ;;
esac
