#!/usr/bin/env bash
# Edit a list on several machines with Ray, which is started there over ssh and stopped at the end.
# Usage: HOSTS="gpu2 gpu3" WORKERS=24 launch/batch_ray.sh arguments of python -m jaxedit
#   HOSTS="gpu2 gpu3" WORKERS=24 launch/batch_ray.sh \
#     --batch=list.jsonl --output=/shared/edits --model=varedit-2b-512
# HOSTS are the machines besides this one; all see the folder of the checkout and the pictures, with
# `pip install -e '.[cuda13,ray]'` done in VENV (default .venv). WORKERS are the GPUs of all machines,
# or the machines if they have TPUs. PORT=6379; COMMAND=jaxedit.generate draws a list. Where a Ray
# cluster is running already: RAY_ADDRESS=... python -m jaxedit --engine=ray --workers=24 ...
set -euo pipefail

[ $# -gt 0 ] && [[ ${WORKERS:-} =~ ^[1-9][0-9]*$ ]] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
bin=$(cd "${VENV:-.venv}/bin" && pwd)
address=$(hostname):${PORT:-6379}

on() { ssh -o BatchMode=yes "$1" "cd $(printf %q "$PWD") && $(printf '%q ' "${@:2}")"; }
stop() {
  for host in ${HOSTS:-}; do on "$host" "$bin/ray" stop || true; done
  "$bin/ray" stop
}
trap 'stop >/dev/null 2>&1' EXIT

"$bin/ray" start --head --port="${PORT:-6379}" --disable-usage-stats
for host in ${HOSTS:-}; do on "$host" "$bin/ray" start --address="$address"; done
RAY_ADDRESS=$address "$bin/python" -m "${COMMAND:-jaxedit}" --engine=ray --workers="$WORKERS" "$@"
