#!/usr/bin/env bash
# A Ray head node for tests, reached over loopback.
#   tools/ray.sh start|stop     with PYTHON the interpreter that has ray, and RAY_HOME a folder for its files
# Ray's own agents listen on every interface, whatever the address: run this on a machine of your own.
set -euo pipefail

: "${PYTHON:?set PYTHON to the interpreter that has ray}" "${RAY_HOME:?set RAY_HOME to a folder for its files}"
ray=$(dirname "$PYTHON")/ray
export RAY_AUTH_MODE=disabled

case ${1:-} in
start)
    # Ray replaces 127.0.0.1 by the machine's own address, so another address of loopback
    "$ray" start --head --node-ip-address=127.0.0.2 --port="${RAY_PORT:-6399}" --num-cpus=2 --temp-dir="$RAY_HOME" \
        --include-dashboard=false --disable-usage-stats ;;
stop)
    "$ray" stop --grace-period 10
    rm -rf "$RAY_HOME" ;;
*)
    echo "usage: $0 start|stop" >&2
    exit 2 ;;
esac
