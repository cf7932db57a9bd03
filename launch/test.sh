#!/usr/bin/env bash
# Make an environment, install jaxedit, and run ruff and the whole test suite.
# Usage: launch/test.sh [pytest arguments]        PYTHON=python3.12 chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv-test}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "jaxedit needs python >= 3.11; set PYTHON=/path/to/python3.11" >&2; exit 2; }

[ -d "$VENV" ] || "$PYTHON" -m venv "$VENV"
PATH=$(cd "$VENV/bin" && pwd):$PATH # ruff, shellcheck
# Of most packages the tests import a small part, which Python compiles when it does.
python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'

command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
  echo "no Chromium here: the test of the page in a browser is left out" >&2
ruff format --check .
ruff check .
# Files start in the order of their names: the default order keeps those with few, long tests for the end.
exec python -m pytest --durations=15 --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
