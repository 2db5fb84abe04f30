#!/bin/sh
# Builds app.py into a component.
# Usage: build.sh REPOSITORY OUT_FOLDER; needs python 3.10 or later with venv and pip.
set -eu
repository=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$(dirname "$0")"
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
# Without WASI: keyward refuses a component that imports it.
.venv/bin/componentize-py --quiet --wit-path "$repository/wit" --world policy \
    componentize --stub-wasi app -o "$out/scope-python.wasm"
