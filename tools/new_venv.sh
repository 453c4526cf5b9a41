#!/bin/bash
# new_venv.sh PYTHON FOLDER: make a virtual environment, or say what is missing for it.
set -euo pipefail
python=$1
folder=$2

if [ -z "$python" ]; then
    echo "Python 3.11 or later was not found. Debian: apt-get install python3 python3-venv" >&2
    exit 1
fi
# Debian keeps ensurepip in a package of its own; without it, an environment has no pip.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "$python cannot make virtual environments. Debian: apt-get install $package" >&2
        exit 1
    fi
    echo "Installing $package"
    "$(dirname "$0")/apt_install.sh" "$package"
fi
"$python" -m venv --clear "$folder"
