#!/usr/bin/env bash
# Submits a bitfall job to Slurm:   slurm/submit.sh [--print] [--after ID] [--sbatch 'OPTIONS'] JOB ARGUMENTS...
#   JOB: pack, collect, quantize, compress, finetune, evaluate; ARGUMENTS: as for `bitfall JOB`
#   quantize --sweep FILE ARGUMENTS: an array, one task for each line of FILE (see slurm/sweep.txt)
#   --print shows what would be submitted; --after ID waits until that job has ended well
# Prints the job's id. Jobs with --run-file that reach their time limit go on by themselves (docs/hpc.md).
set -euo pipefail
dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=slurm/site.env
source "${BITFALL_SITE:-$dir/site.env}"

print=no after='' extra='' sweep=''
while [ $# -gt 0 ]; do
  case $1 in
    --print) print=yes; shift ;;
    --after) after=$2; shift 2 ;;
    --sbatch) extra=$2; shift 2 ;;
    -h|--help) sed -n '2,6p' "$0"; exit 0 ;;
    *) break ;;
  esac
done
job=${1:-}
if [ ! -e "$dir/$job.sbatch" ]; then sed -n '2,6p' "$0" >&2; exit 64; fi
shift
if [ "$job" = quantize ] && [ "${1:-}" = --sweep ]; then sweep=$(readlink -f "$2"); shift 2; fi

export BITFALL_SLURM_DIR=$dir BITFALL_SWEEP=$sweep BITFALL_PROGRAM BITFALL_SETUP BITFALL_LAUNCHER BITFALL_IDLE_ATTEMPTS
read -r -a options <<< "$BITFALL_SBATCH $extra"
options+=("--signal=B:USR2@$BITFALL_SIGNAL_SECONDS" --export=ALL --parsable)
[ -n "$after" ] && options+=("--dependency=afterok:$after" --kill-on-invalid-dep=yes)
if [ -n "$sweep" ]; then
  lines=$(grep -cv '^ *\(#\|$\)' "$sweep") || { echo "submit.sh: no lines in $sweep" >&2; exit 65; }
  options+=("--array=0-$((lines - 1))")
fi
if [ "$print" = yes ]; then
  printf 'sbatch'; printf ' %q' "${options[@]}" "$dir/$job.sbatch" "$@"; printf '\n'
else
  sbatch "${options[@]}" "$dir/$job.sbatch" "$@"
fi
