#!/usr/bin/env bash
# A private Slurm of this one machine, as root, without systemd:   start_slurm.sh FOLDER   (stop_slurm.sh FOLDER ends it)
# Then: export SLURM_CONF=FOLDER/slurm.conf
set -euo pipefail
folder=$(readlink -f "$1")
mkdir -p "$folder"/{spool,state,log,munge}
chmod 0755 "$folder" "$folder/munge"
host=$(hostname -s)
memory_mib=$(awk '/MemTotal/{print int($2/1024*0.9)}' /proc/meminfo)
socket=$folder/munge/socket

(umask 077; head -c 1024 /dev/urandom > "$folder/munge/key")
munged --force --key-file="$folder/munge/key" --socket="$socket" --pid-file="$folder/munge/pid" \
  --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
for _ in $(seq 50); do munge -n -S "$socket" > /dev/null 2>&1 && break; sleep 0.1; done

# More CPUs than there are: what is tested is waiting and signals, not speed.
cat > "$folder/slurm.conf" <<END
ClusterName=bitfall
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=${BITFALL_SLURM_PORT:-16917}
SlurmdPort=$((${BITFALL_SLURM_PORT:-16917} + 1))
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobcomp.txt
ReturnToService=2
KillWait=20
MinJobAge=600
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=0
DefMemPerCPU=500
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=$memory_mib State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
END
export SLURM_CONF=$folder/slurm.conf
slurmctld -i
slurmd
for _ in $(seq 100); do sinfo -h -o %t 2> /dev/null | grep -qE '^(idle|mix|alloc)' && exit 0; sleep 0.1; done
echo "Slurm did not come up:" >&2
tail "$folder"/log/*.log >&2
exit 69
