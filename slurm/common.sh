# Sourced by the batch scripts: starts the ranks, passes signals on, requeues what stopped after a checkpoint.
# shellcheck shell=bash

bitfall_dir=${BITFALL_SLURM_DIR:-${SLURM_SUBMIT_DIR:-.}/slurm}
# shellcheck source=slurm/site.env
source "${BITFALL_SITE:-$bitfall_dir/site.env}"

say() { printf '%s bitfall job %s: %s\n' "$(date +%FT%T)" "$(bitfall_job_id)" "$*"; }

# For a task of an array SLURM_JOB_ID may be the whole array's.
bitfall_job_id() {
  if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then echo "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"; else echo "$SLURM_JOB_ID"; fi
}

bitfall_launcher() {
  local how=$BITFALL_LAUNCHER
  if [ "$how" = auto ]; then
    if srun --mpi=list 2>&1 | grep -q pmix; then how=srun; else how=mpirun; fi
  fi
  case $how in
    srun) echo "srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=${SLURM_CPUS_PER_TASK:-1}" ;;
    mpirun) echo "mpirun --bind-to none -n ${SLURM_NTASKS:-1}" ;;
    *) echo "BITFALL_LAUNCHER is '$how': it is auto, srun or mpirun" >&2; return 1 ;;
  esac
}

# The value of an option among the arguments; empty when it is not there.
bitfall_option() {
  local wanted=$1 value='' previous='' word; shift
  for word in "$@"; do
    case $word in "$wanted="*) value=${word#*=} ;; esac
    [ "$previous" = "$wanted" ] && value=$word
    previous=$word
  done
  echo "$value"
}

# What tells one checkpoint from another: the last bytes of a run file are a SHA-256 of all the others.
bitfall_mark() { if [ -s "$1" ]; then tail -c 32 "$1" | od -An -tx1 | tr -d ' \n'; else echo none; fi; }

# How often in a row the job has stopped without a new checkpoint, this time included.
bitfall_idle_attempts() {
  local run_file=$1 now old=none count=0
  now=$(bitfall_mark "$run_file")
  [ -s "$run_file.attempts" ] && read -r old count < "$run_file.attempts"
  if [ "$now" = "$old" ] || [ "$now" = none ]; then count=$((count + 1)); else count=0; fi
  echo "$now $count" > "$run_file.attempts"
  echo "$count"
}

bitfall_requeue() {
  local run_file=$1 idle
  idle=$(bitfall_idle_attempts "$run_file")
  if [ "$idle" -ge "$BITFALL_IDLE_ATTEMPTS" ]; then
    say "stopped $idle times without a new checkpoint in $run_file: not requeued; give it more time before its limit"
    return
  fi
  say "stopped after a checkpoint, requeued"
  # Slurm ends this script in its own way then; leaving first would race with it.
  if scontrol requeue "$(bitfall_job_id)"; then sleep 60; else say "requeueing failed: submit the same command again to go on"; fi
}

# bitfall_run JOB ARGUMENTS...: runs the job and ends the script with its exit code.
bitfall_run() {
  local child code run_file output cancelled=no
  run_file=$(bitfall_option --run-file "$@")
  output=$(bitfall_option -o "$@")
  eval "$BITFALL_SETUP"
  local launcher
  launcher=$(bitfall_launcher) || exit 78
  say "attempt $((${SLURM_RESTART_COUNT:-0} + 1)): $launcher $BITFALL_PROGRAM $*"
  # The batch shell gets the signals (--signal=B:), whatever the launcher is: both pass them on to the ranks.
  trap 'say "time is nearly up"; kill -USR2 "$child" 2>/dev/null' USR2
  # SIGTERM is scancel, or Slurm requeueing the job itself: either way requeueing is not ours to do.
  trap 'cancelled=yes; say "told to end"; kill -TERM "$child" 2>/dev/null' TERM
  # shellcheck disable=SC2086  # the launcher is several words
  $launcher "$BITFALL_PROGRAM" "$@" &
  child=$!
  code=0
  # A trapped signal ends wait early, so ask until the child is really gone.
  while true; do
    wait "$child"; code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  say "exit code $code"
  # srun has been seen to return 0 for a step that it could not launch.
  if [ "$code" = 0 ] && [ -n "$output" ] && [ "$1" != pack ] && [ ! -s "$output" ]; then
    say "there is no $output: the ranks were not started"
    code=69
  fi
  # A rank that was killed, by a lack of memory or a broken node: the launcher's code is 128 + the signal.
  if [ "$code" -gt 128 ] && [ "$cancelled" = no ]; then
    say "a rank was killed by signal $((code - 128)); the same command goes on from the last checkpoint"
    code=69
  fi
  if [ "$code" = 75 ] && [ -n "$run_file" ] && [ "$cancelled" = no ]; then bitfall_requeue "$run_file"; fi
  exit "$code"
}
