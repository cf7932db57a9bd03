#!/usr/bin/env bash
# Make an environment, install jaxedit, and edit the bundled picture with the bundled weights.
# Usage: launch/quickstart.sh ["instruction"] [options of `python -m jaxedit`]
# EXTRA=tpu or EXTRA=cuda13 installs for an accelerator; PYTHON=python3.12 chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
EXTRA=${EXTRA:-}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  { echo "jaxedit needs python >= 3.11; set PYTHON=/path/to/python3.11" >&2; exit 2; }

[ -d "$VENV" ] || "$PYTHON" -m venv "$VENV"
installed=$VENV/jaxedit${EXTRA:+-$EXTRA}.installed # newer than setup.py: nothing to do, offline too
if [ ! "$installed" -nt setup.py ]; then
  echo "Installing jaxedit into $VENV (about 1 GB the first time) ..."
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".${EXTRA:+[$EXTRA]}"
  touch "$installed"
fi

instruction="make the ball blue"
case "${1:-}" in "" | -*) ;; *) instruction=$1; shift ;; esac
"$VENV/bin/python" -m jaxedit jaxedit/assets/scene.png "$instruction" --output edited.png "$@"
echo "For more: source $VENV/bin/activate, then python -m jaxedit --help"
