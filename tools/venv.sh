#!/bin/sh
# tools/venv.sh DIRECTORY: a virtual environment with pip in it, from a Python >= 3.11 and nothing else.
#
# Debian's python3 has no ensurepip unless python3-venv is installed, so pip comes from the wheel beside this script, on
# every machine the same one. The wheel must keep its file name: pip refuses one whose name has no version.
set -eu

directory=$1
wheel=$(dirname "$0")/pip-26.3-py3-none-any.whl

# The versions angelx is tested on come first. A pyenv shim exists and still fails: only running it tells.
python=
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3}; do
    if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    cat >&2 <<END
angelx needs Python >= 3.11 and found none (tried: ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3}).
  Debian, Ubuntu   sudo apt-get install python3
  macOS            brew install python@3.13, or the installer from python.org
  elsewhere        make PYTHON=/path/to/python3 ...
END
    exit 1
fi

echo "$directory: $("$python" --version) ($(command -v "$python"))"
"$python" -m venv --clear --without-pip "$directory"
"$directory/bin/python" "$wheel/pip" --quiet --disable-pip-version-check install --no-index "$wheel"
