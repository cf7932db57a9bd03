#!/usr/bin/env bash
# Run the smoke tests on the newest jax and on the oldest packages that setup.py allows, on Pythons
# other than the test suite's own. Without any, the oldest are tested on the suite's Python.
# Usage: launch/test_stacks.sh [pytest arguments]        PYTHON=python3.11 is the suite's interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# find_python VERSION: print a path to this Python, if it is on the PATH, of pyenv or of uv.
find_python() {
  local candidate
  for candidate in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python "$(uv python find "$1" 2>/dev/null)"; do
    [ "$(version "$candidate")" != "$1" ] || { echo "$candidate"; return; }
  done
}

# lower_bounds PYTHON: print the oldest version of each package that setup.py allows, for pip.
lower_bounds() {
  "$1" - <<'EOF'
import importlib.metadata, re

for line in importlib.metadata.requires("jaxedit"):
    if "extra ==" not in line:
        print("{}=={}".format(*re.match(r"([\w-]+).*>=([\d.]+)", line).groups()))
EOF
}

# smoke NAME PYTHON [pytest arguments]: make the environment .venv-NAME and run the smoke tests in it.
smoke() {
  local name=$1 python=.venv-$1/bin/python bounds=()
  [ -d ".venv-$name" ] || "$2" -m venv ".venv-$name"
  local pip=("$python" -m pip install --quiet --disable-pip-version-check --editable)
  if [ "$name" = oldest ]; then
    "${pip[@]}" . --no-deps
    lower_bounds "$python" >".venv-$name/bounds.txt"
    bounds=(--constraint ".venv-$name/bounds.txt")
  fi
  "${pip[@]}" '.[dev]' --upgrade "${bounds[@]}"
  echo "smoke tests, $name: $("$python" -c 'import platform, jax, flax, numpy
print("Python", platform.python_version(), "jax", jax.__version__, "flax", flax.__version__, "numpy", numpy.__version__)')"
  # Only the suite's own stack takes warnings for errors.
  "$python" -m pytest -m smoke -W default --disable-warnings --numprocesses=2 tests/test_smoke.py "${@:3}"
}

others=()
for wanted in 3.12 3.13; do
  [ "$wanted" != "$(version "$PYTHON")" ] || continue
  found=$(find_python "$wanted")
  [ -z "$found" ] || others+=("$found")
done
if [ ${#others[@]} -eq 0 ]; then
  echo "no Python 3.12 or 3.13 beside $(version "$PYTHON"): the newest jax is not tested there"
  smoke oldest "$PYTHON" "$@"
else
  smoke newest "${others[-1]}" "$@"
  smoke oldest "${others[0]}" "$@"
fi
