#!/usr/bin/env bash
# Makes .venv from requirements.lock with uv. Touches nothing of the system's Python. Quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
stamp="$(cat requirements.lock pyproject.toml scripts/uv.lock | sha256sum | cut -c1-16)"
is_made() { [ "$(cat .venv/qhs-stamp 2>/dev/null)" = "$stamp" ]; }
is_made && exit 0
take_turn env
is_made && exit 0

fits() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info < (3, 15))' 2>/dev/null; }
find_python() {
  # pyenv's shims answer for versions that are not selected, so its interpreters are asked themselves.
  local candidate
  for candidate in $(type -ap python3 python3.14 python3.13 python3.12) "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[234]*/bin/python3; do
    fits "$candidate" && { echo "$candidate"; return; }
  done
  return 1
}
if ! python="$(find_python)"; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "env: no Python >= 3.12 with venv found; installing Debian's python3-venv"
    apt_install python3-venv
  fi
  python="$(find_python)" || {
    echo "env: found no Python >= 3.12 with venv on PATH or under pyenv; wanted one. Way out: apt-get install python3-venv (Debian 13), or pyenv install 3.12" >&2
    exit 1
  }
fi

uv="$cache/uv-$(sha256sum scripts/uv.lock | cut -c1-16)/bin/uv"
if [ ! -x "$uv" ]; then
  echo "env: fetching uv"
  folder="${uv%/bin/uv}"
  rm -rf "$folder" "$folder.new" && "$python" -m venv "$folder.new"
  "$folder.new/bin/pip" install -q --disable-pip-version-check --no-deps --require-hashes -r scripts/uv.lock
  mv "$folder.new" "$folder"
fi
echo "env: installing the locked packages with $("$python" --version)"
"$uv" venv -q --clear -p "$python" .venv
# Compiled once: a run starts some dozens of Python processes, and where none may write bytecode, each would compile all.
"$uv" pip sync -q --compile-bytecode --require-hashes -p .venv/bin/python requirements.lock
"$uv" pip install -q --no-deps --no-build-isolation -p .venv/bin/python -e .
echo "$stamp" > .venv/qhs-stamp
