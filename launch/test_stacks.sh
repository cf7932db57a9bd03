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

# requirements PYTHON [oldest]: print what jaxedit and the smoke tests need, for pip; or, of each
# package that setup.py allows, the oldest version.
requirements() {
  "$1" - "${2:-}" <<'EOF'
import importlib.metadata, re, sys

for line in importlib.metadata.requires("jaxedit"):
    package, _, marker = line.partition(";")
    if sys.argv[1] and not marker:
        print("{}=={}".format(*re.match(r"([\w-]+).*>=([\d.]+)", package).groups()))
    elif not sys.argv[1] and "extra" not in marker:
        print(package.strip())
if not sys.argv[1]:
    print("pytest")
EOF
}

# prepare NAME PYTHON: make the environment .venv-NAME, with jaxedit alone.
prepare() {
  [ -d ".venv-$1" ] || "$2" -m venv ".venv-$1"
  ".venv-$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
}

# smoke NAME [pytest arguments]: install what jaxedit needs in .venv-NAME and run the smoke tests.
# Compiling every file of every package would double the time of an installation.
smoke() {
  local name=$1 python=.venv-$1/bin/python bounds=()
  requirements "$python" >".venv-$name/packages.txt"
  if [ "$name" = oldest ]; then
    requirements "$python" oldest >".venv-$name/bounds.txt"
    bounds=(--constraint ".venv-$name/bounds.txt")
  fi
  "$python" -m pip install --quiet --disable-pip-version-check --no-compile --upgrade \
    --requirement ".venv-$name/packages.txt" "${bounds[@]}"
  echo "smoke tests, $name: $("$python" -c 'import platform, jax, flax, numpy
print("Python", platform.python_version(), "jax", jax.__version__, "flax", flax.__version__, "numpy", numpy.__version__)')"
  # Only the suite's own stack takes warnings for errors, and checks annotations.
  JAXTYPING_DISABLE=1 JAX_DISABLE_MOST_OPTIMIZATIONS=0 "$python" -m pytest -m smoke -W default --disable-warnings tests/test_smoke.py "${@:2}"
}

others=()
for wanted in 3.12 3.13; do
  [ "$wanted" != "$(version "$PYTHON")" ] || continue
  found=$(find_python "$wanted")
  [ -z "$found" ] || others+=("$found")
done
if [ ${#others[@]} -eq 0 ]; then
  echo "no Python 3.12 or 3.13 beside $(version "$PYTHON"): the newest jax is not tested there"
  prepare oldest "$PYTHON"
  smoke oldest "$@"
  exit
fi
prepare newest "${others[-1]}"
prepare oldest "${others[0]}"
# Both at once: installing takes as long as the tests, and keeps one core busy.
smoke newest "$@" >.venv-newest/log.txt 2>&1 &
newest=$!
smoke oldest "$@" &
oldest=$!
code=0
wait "$oldest" || code=$?
wait "$newest" || code=$?
cat .venv-newest/log.txt
exit "$code"
