#!/usr/bin/env bash
# SIGSTOP and SIGKILL of one rank at 50 random instants each of collect, compress and finetune (docs/reliability.md):
#   tests/bench/stalls.sh [INSTANTS] [SEED]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export BITFALL_INSTANTS=${1:-50} BITFALL_SEED=${2:-1}
export BITFALL_PROGRAM=$PWD/build/release/bitfall BITFALL_MAKE_NETWORKS=$PWD/build/release/tests/make_networks
exec build/venv/bin/python tests/integration/test_stalls.py
