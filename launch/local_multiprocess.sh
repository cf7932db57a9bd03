#!/usr/bin/env bash
# Run one command in N processes on this machine, each with M simulated CPU devices, as a run of
# several hosts: they join, share the batch and stop together.
# Usage: launch/local_multiprocess.sh N M command [arguments]
#   launch/local_multiprocess.sh 2 2 python -m jaxedit.train --config=configs/var_sar.py:tiny \
#     --workdir=runs/pair --config.data.batch_size=8
# Lines of output begin with the number of their process. SIGTERM and Ctrl-C are passed on to all.
# Exits with the code of the first process that did not end with 0; PORT=1234 chooses the port.
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
[[ $1 =~ ^[1-9][0-9]*$ && $2 =~ ^[1-9][0-9]*$ ]] || usage
processes=$1 devices=$2
shift 2

free_port() { # below those that systems give out, so that it is still free in a moment
  python3 - <<'PYTHON'
import random, socket
while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        if s.connect_ex(("localhost", port)):
            break
print(port)
PYTHON
}
export JAX_COORDINATOR_ADDRESS=localhost:${PORT:-$(free_port)}
export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=$devices JAX_NUM_PROCESSES=$processes

children=()
trap 'kill -TERM "${children[@]}" 2>/dev/null || true' TERM INT
for ((i = 0; i < processes; i++)); do
  JAX_PROCESS_ID=$i "$@" > >(sed -u "s/^/[$i] /") 2>&1 &
  children+=($!)
done

code=0
for child in "${children[@]}"; do
  while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done # a signal ends the waiting
  wait "$child" && status=0 || status=$?                             # bash remembers what has ended
  [ "$code" -ne 0 ] || code=$status
done
exit "$code"
