#!/usr/bin/env bash
# Ends what start_slurm.sh FOLDER started.
folder=$(readlink -f "$1")
for pid in slurmd.pid slurmctld.pid munge/pid; do
  [ -s "$folder/$pid" ] && kill "$(cat "$folder/$pid")"
done
exit 0
