#!/bin/sh
# Builds policy.js into a component.
# Usage: build.sh REPOSITORY OUT_FOLDER; needs node 20 or later and npm.
set -eu
repository=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
cd "$(dirname "$0")"
npm ci --no-audit --no-fund --loglevel=error
# Without WASI: keyward refuses a component that imports it.
./node_modules/.bin/componentize-qjs --wit "$repository/wit" --world policy --js policy.js \
    --sync --opt-size --stub-wasi -o "$out/scope-js.wasm"
