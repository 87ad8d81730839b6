#!/bin/sh
# Makes a Python environment and installs packages of PyPI's in it.
# Usage: tools/venv.sh FOLDER PACKAGE...
set -eu
folder=$1
shift
# Debian ships python3 without what makes environments.
python3 -c 'import ensurepip, venv' 2>/dev/null || "$(dirname "$0")/need.sh" python3-venv
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
