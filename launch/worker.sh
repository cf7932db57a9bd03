#!/usr/bin/env bash
# What launch/tpu_vm.sh asks of each TPU VM over ssh.
# Usage: launch/worker.sh install | start [training arguments] | state | stop
# `start` trains in the background till the end (launch/until_done.sh), unless it does so already.
# `state` prints: state, then running, an exit code or idle (nothing was started); host; last words.
set -euo pipefail
cd "$(dirname "$0")/.."

is_running() { ! flock --nonblock run.lock true; } # all that it starts hold the lock

install() { # the images of older TPUs bring Python 3.10
  PATH=$HOME/.local/bin:$PATH
  command -v uv >/dev/null || curl -LsSf https://astral.sh/uv/install.sh | sh
  [ -d .venv ] || uv venv --quiet --python 3.12 .venv
  uv pip install --quiet --python .venv/bin/python --editable '.[tpu]'
}

start() {
  exec 9>run.lock
  flock --nonblock 9 || return 0
  rm -f run.code
  . launch/xla_flags.sh
  CODE=run.code setsid launch/until_done.sh \
    .venv/bin/python -m jaxedit.train --distributed=on "$@" >>run.log 2>&1 </dev/null &
  echo $! >run.pid
}

state() {
  local word=idle
  if is_running; then word=running; elif [ -f run.code ]; then word=$(cat run.code); fi
  echo "state $word $(hostname): $(tail -n 1 run.log 2>/dev/null | cut -c1-150)"
}

stop() { is_running && kill -TERM "$(cat run.pid)"; }

case ${1:-} in
  install | start | state | stop) "$@" ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
