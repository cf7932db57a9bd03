#!/usr/bin/env bash
# Run a command again and again for as long as its exit code asks for it.
# Usage: launch/until_done.sh command [arguments]
#   launch/until_done.sh python -m jaxedit.train --config=configs/var_sar.py:2b --workdir=runs/2b
# Started again: 42 (training was interrupted and saved) and 127 to 255 (a crash, a kill). Any other
# code is final: 0 is done, 1 to 3 an error that would come again, 130 somebody's Ctrl-C. SIGTERM and
# Ctrl-C are passed on as SIGTERM, and after them nothing is started again.
# PAUSE=10 seconds lie between two starts; TRIES=10 runs in a row of less than QUICK=600 seconds end
# it with 1. CODE=FILE gets the exit code.
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
PAUSE=${PAUSE:-10} TRIES=${TRIES:-10} QUICK=${QUICK:-600}
[ -z "${CODE:-}" ] || trap 'echo $? >"$CODE"' EXIT

child='' stopped='' tries=0
stop() {
  stopped=yes
  kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM INT

# Run something and keep its exit code; a signal that comes before it has begun is for it too.
run() {
  "$@" &
  child=$!
  [ -z "$stopped" ] || stop
  while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done # a signal ends the waiting
  wait "$child" && code=0 || code=$?                                 # bash remembers what has ended
}

while :; do
  begin=$SECONDS
  run "$@"
  [ -z "$stopped" ] && [ "$code" -ne 130 ] &&
    { [ "$code" -eq 42 ] || [ "$code" -ge 127 ]; } || exit "$code"

  if [ $((SECONDS - begin)) -lt "$QUICK" ]; then tries=$((tries + 1)); else tries=0; fi
  if [ "$tries" -ge "$TRIES" ]; then
    echo "until_done: gave up after $tries runs of less than $QUICK s; last exit code: $code" >&2
    exit 1
  fi
  echo "until_done: exit code $code, starting again in $PAUSE s" >&2
  run sleep "$PAUSE"
  [ -z "$stopped" ] || exit 42
done
