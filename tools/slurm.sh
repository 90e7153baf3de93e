#!/usr/bin/env bash
# A one-machine Slurm cluster with accounting, for tests: munge, MariaDB, slurmdbd, slurmctld, slurmd. Needs root.
#   tools/slurm.sh install      installs Debian's packages that are missing
#   tools/slurm.sh start|stop   daemons with all their files in $SLURM_HOME; clients need SLURM_CONF=$SLURM_HOME/slurm.conf
# Nothing outside $SLURM_HOME is written, and no daemon of the system is touched.
set -euo pipefail

PACKAGES=(slurm-wlm slurm-client slurmdbd munge mariadb-server)
WAIT_SECONDS=30

fail() { echo "slurm.sh: $*" >&2; exit 1; }

install_packages() {
    dpkg --status "${PACKAGES[@]}" >/dev/null 2>&1 && return
    # packages must not start daemons of their own: policy-rc.d says no while they are installed
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap "rm -f $policy" EXIT # also if apt-get fails
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${PACKAGES[@]}"
}

wait_for() {
    local end=$((SECONDS + WAIT_SECONDS))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { tail -n 5 "$home"/log/* >&2 || true; fail "no answer in $WAIT_SECONDS s: $*"; }
        sleep 0.2
    done
}

write_configuration() {
    local host cpus memory
    host=$(hostname -s); cpus=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
    cat >"$home/slurm.conf" <<CONF
ClusterName=ffbench
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$home/munge/socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=16819
AccountingStoragePass=$home/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AccountingStorageEnforce=associations
ReturnToService=2
KillWait=1
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/pid/slurmctld
SlurmdPidFile=$home/pid/slurmd
SlurmctldLogFile=$home/log/slurmctld
SlurmdLogFile=$home/log/slurmd
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    cat >"$home/slurmdbd.conf" <<CONF
DbdHost=localhost
DbdPort=16819
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$home/munge/socket
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
PidFile=$home/pid/slurmdbd
LogFile=$home/log/slurmdbd
CONF
    chmod 600 "$home/slurmdbd.conf"
}

start_munge() {
    mkdir -m 755 "$home/munge"
    dd if=/dev/urandom of="$home/munge/key" bs=1024 count=1 status=none
    chmod 400 "$home/munge/key"
    munged --force --key-file="$home/munge/key" --socket="$home/munge/socket" --pid-file="$home/pid/munged" \
        --log-file="$home/log/munged" --seed-file="$home/munge/seed"
}

start_database() {
    mariadb-install-db --no-defaults --user=root --datadir="$home/db" --auth-root-authentication-method=socket \
        --skip-test-db >"$home/log/install-db" 2>&1
    mariadbd --no-defaults --user=root --datadir="$home/db" --socket="$home/db.socket" --skip-networking \
        --innodb-buffer-pool-size=64M --pid-file="$home/pid/mariadbd" >"$home/log/mariadbd" 2>&1 &
    wait_for mariadb-admin --no-defaults --socket="$home/db.socket" ping
}

start() {
    [ "$(id -u)" = 0 ] || fail "Slurm's daemons need root"
    [ ! -e "$home" ] || fail "$home already exists; stop first"
    mkdir -p "$home"/{log,pid,state,spool}
    chmod 755 "$home" "$home"/{log,pid}
    write_configuration
    start_munge
    start_database
    MYSQL_UNIX_PORT="$home/db.socket" slurmdbd
    wait_for sacctmgr -n list cluster
    sacctmgr -iQ add cluster ffbench >/dev/null 2>&1 || true # slurmdbd may know it already
    sacctmgr -iQ add account ffbench cluster=ffbench >/dev/null
    sacctmgr -iQ add user "$(id -un)" account=ffbench >/dev/null
    slurmctld
    wait_for scontrol ping
    slurmd
    wait_for sh -c 'sinfo -h -o %t | grep -q idle'
}

stop() {
    local name pid
    for name in slurmd slurmctld slurmdbd mariadbd munged; do
        [ -s "$home/pid/$name" ] || continue
        pid=$(cat "$home/pid/$name")
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$home"
}

case ${1:-} in
install) install_packages ;;
start | stop)
    home=${SLURM_HOME:?set SLURM_HOME to a folder for the daemons}
    export SLURM_CONF=$home/slurm.conf
    "$1" ;;
*)
    echo "usage: $0 install|start|stop" >&2
    exit 2 ;;
esac
