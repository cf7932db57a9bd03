#!/usr/bin/env bash
# Measure everything that matters on a machine with one accelerator, in under 9 minutes: tokens,
# edits, training steps, memory, and what this very device can do at best.
# Usage: benchmarks/accelerator.sh [--tiny] [--only=NAME,NAME] [--minutes=9] [DIRECTORY]
#   benchmarks/accelerator.sh runs/h100            # writes accelerator.json and accelerator.md
#   benchmarks/accelerator.sh --tiny runs/tiny     # on a CPU: only shows that everything runs
# PYTHON=python3.12 chooses the interpreter; with JAX_COMPILATION_CACHE_DIR=DIR a second run, for
# what the first did not finish (--only=...), compiles nothing again.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

python=${PYTHON:-python3}
[ -n "${PYTHON:-}" ] || [ ! -x "$root/.venv/bin/python" ] || python=$root/.venv/bin/python
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}
exec "$python" "$root/benchmarks/accelerator.py" "$@"
