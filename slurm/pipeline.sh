#!/usr/bin/env bash
# The whole way, each job after the one before:   slurm/pipeline.sh [--print] MODEL.pt 'TRAIN-*.tar' 'VAL-*.tar' NAME [OPTIONS]
#   compress -> finetune -> evaluate; makes NAME.h5 (quantized) and NAME-tuned.h5. OPTIONS go to both compress and finetune.
#   BITFALL_COMPRESS and BITFALL_FINETUNE hold options of one of them.
set -euo pipefail
dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
print=()
if [ "${1:-}" = --print ]; then print=(--print); shift; fi
[ $# -ge 4 ] || { sed -n '2,4p' "$0" >&2; exit 64; }
model=$1 train=$2 val=$3 name=$4; shift 4
read -r -a compress <<< "${BITFALL_COMPRESS:-}"
read -r -a finetune <<< "${BITFALL_FINETUNE:-}"
preprocess=()
for ((i = 1; i <= $#; i++)); do
  if [ "${!i}" = --preprocess ]; then next=$((i + 1)); preprocess=(--preprocess "${!next}"); fi
done

# submit AFTER JOB ARGUMENTS...: the id of the job; with --print the command, and a word in place of the id.
submit() {
  local after=$1 wait=(); shift
  [ -n "$after" ] && wait=(--after "$after")
  if [ ${#print[@]} -gt 0 ]; then "$dir/submit.sh" --print "${wait[@]}" "$@" >&2; echo "ID-OF-$1"; else "$dir/submit.sh" "${wait[@]}" "$@"; fi
}
first=$(submit '' compress "$model" -d "$train" -o "$name.h5" --run-file "$name.run" --log-json "$name.compress.jsonl" "$@" "${compress[@]}")
second=$(submit "$first" finetune "$name.h5" --teacher "$model" -d "$train" -o "$name-tuned.h5" --run-file "$name-tuned.run" \
  --log-json "$name.finetune.jsonl" "$@" "${finetune[@]}")
third=$(submit "$second" evaluate "$name-tuned.h5" -d "$val" --teacher "$model" --log-json "$name.evaluate.jsonl" "${preprocess[@]}")
echo "$first $second $third"
