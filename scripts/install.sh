#!/usr/bin/env bash
# Makes .venv where it is missing, installs one lock file into it, then this project (editable).
# Usage: scripts/install.sh requirements/lab.txt       PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1
log=.venv/install.log

# A Python is asked for its version, not trusted by its name; venv and ensurepip are a package of their own on Debian.
usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local name
  for name in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    if usable "$name"; then command -v "$name"; return; fi
  done
  {
    echo "No usable Python found (looked for: ${PYTHON:-python3.11 python3.12 python3.13 python3 python})."
    echo "Python 3.11 or newer with its venv module is needed. On Debian or Ubuntu: apt-get install python3 python3-venv."
    echo "To name one yourself: make PYTHON=/path/to/python demo"
  } >&2
  return 1
}

# One line per 20 packages: an install of a minute that says nothing looks like one that hangs.
progress() {
  awk -v total="$(grep -c '^[A-Za-z0-9].*==' "$lock")" '
    /^(Collecting|Processing) / { if (++n % 20 == 0) { printf "  fetched %d of about %d\n", n, total; fflush() } }
    /^Installing collected packages/ { print "  unpacking"; fflush() }'
}

pip_install() {
  .venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --no-compile "$@"
}

if ! [ -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
  python=$(find_python)
  echo "Making .venv with $("$python" --version)"
  rm -rf .venv
  "$python" -m venv .venv
fi

# The lock is complete, so nothing needs resolving (--no-deps); every file is checked against its hash, none is built
# here, and byte code is compiled when it is first imported: 110 s became 67 s.
echo "Installing $lock (about a minute when nothing is cached; details in $log)"
if ! pip_install --require-hashes --only-binary :all: -r "$lock" 2>&1 | tee "$log" | progress; then
  tail -n 15 "$log" >&2
  echo "Installing $lock failed: see above and $log. Is a package index reachable (pip config list)?" >&2
  exit 1
fi
if ! pip_install --no-build-isolation --no-index -q -e . >>"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "Installing the project itself failed: see above and $log." >&2
  exit 1
fi

if ! .venv/bin/python -c 'import lightgbm' 2>>"$log"; then
  tail -n 1 "$log" >&2
  if tail -n 1 "$log" | grep -q libgomp; then
    echo "LightGBM needs the system library libgomp. On Debian or Ubuntu: apt-get install libgomp1;" >&2
    echo "on Fedora: dnf install libgomp; on Alpine: apk add libgomp; on macOS: brew install libomp. Then run make again." >&2
  fi
  exit 1
fi
