#!/usr/bin/env bash
# The Admin API against its OpenAPI document: schemathesis makes requests that the document allows
# and others, and every answer of the real process has to be one that the document tells of, none of
# them a failure of the server.
#
#   tests/schema/run.sh FOLDER_WITH_keyward_binary
#
# schemathesis   PyPI, pinned with all that it needs by version and hash (requirements.txt)
#
# It is installed into the folder of KEYWARD_SCHEMA_CACHE; without one, into a folder that is removed
# at the end. The seed is fixed: what is found once is found again.
set -euo pipefail

die() { printf 'schema: %s\n' "$*" >&2; exit 2; }

[ $# = 1 ] && [ -x "$1/keyward" ] || die "usage: $0 FOLDER_WITH_keyward_binary"
keyward=$(cd "$1" && pwd)/keyward
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
service=
trap '[ -z "$service" ] || kill "$service" 2>/dev/null || true; rm -rf "$work"' EXIT
cache=${KEYWARD_SCHEMA_CACHE:-$work/tools}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
export XDG_CACHE_HOME="$work/cache" PYTHONDONTWRITEBYTECODE=1

if ! python3 -c 'import ensurepip' 2>/dev/null; then
  { apt-get update -q && apt-get install -yq --no-install-recommends python3-venv; } \
    >"$work/apt" 2>&1 || { cat "$work/apt" >&2; die "apt-get cannot install python3-venv"; }
fi
if ! cmp -s "$here/requirements.txt" "$cache/schema/requirements.txt"; then
  python3 -m venv --clear "$cache/schema"
  "$cache/schema/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --require-hashes -r "$here/requirements.txt" ||
    die 'pip cannot install schemathesis'
  cp "$here/requirements.txt" "$cache/schema/"
fi

# --- a service with an administrator and a client --------------------------------------------------

cd "$work"
cat >keyward.toml <<TOML
[registry]
path = "keyward.db"
[log]
path = "log"
origin = "keyward.example/schema"
[governance]
self_rotation = true
scopes = ["inventory:read", "inventory:write"]
[server]
listen = ["127.0.0.1:0"]
allow_loopback = true
admin = true
[[principal]]
name = "ann"
os_user = "$(id -un)"
roles = ["manager"]
[principal.certification]
course = "API keys"
score_percent = 100
issued_at = "2026-01-01T00:00:00Z"
expires_at = "2126-01-01T00:00:00Z"
[[policy]]
name = "scope"
module = "builtin:scope"
TOML
issue() { env -u SUDO_USER "$keyward" key issue --expires-in-days 60 "$@" 2>>issued; }
control=(--scope keyward.keys:read --scope keyward.keys:write --scope keyward.keys:revoke
  --scope keyward.log:read)
admin=$(issue --owner ann "${control[@]}")
reader=$(issue --owner ann --scope keyward.keys:read --scope keyward.log:read)
client=$(issue --owner sync --scope inventory:read --scope keyward.self:rotate)
"$keyward" serve --log-format json 2>told &
service=$!
for _ in $(seq 200); do
  address=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' told)
  [ -z "$address" ] || break
  sleep 0.1
done
[ -n "$address" ] || { cat told >&2; die "keyward does not listen"; }
"$keyward" serve --openapi >openapi.json

# --- the runs --------------------------------------------------------------------------------------

# Left out is the check that a request within the document is served: the rules for keys refuse many.
checks=not_a_server_error,status_code_conformance,content_type_conformance
checks+=,response_headers_conformance,response_schema_conformance,negative_data_rejection
checks+=,unsupported_method,allow_header_conformance,ignored_auth

ask() { # CREDENTIAL PARAMETERS OPTION...
  printf '%s\n' "$2" >schemathesis.toml
  "$cache/schema/bin/st" --config-file schemathesis.toml --no-color run openapi.json \
    --url "http://$address" --header "Authorization: Bearer $1" --checks "$checks" \
    --seed 20261123 --max-examples 25 --request-timeout 30 --continue-on-failure \
    --suppress-health-check all --warnings off "${@:3}" >ran 2>&1 ||
    { cat ran; die 'an answer is not what the document says'; }
  grep -E "Selected:|generated" ran
}

known() { # parameters with the id of a new key
  printf '[parameters]\n"path.id" = "%s"\n' \
    "$(issue --owner sync --scope inventory:write | cut -d_ -f3)"
}
phases=(--phases examples,coverage,fuzzing --exclude-path /self/v1/rotate)
# The administrator comes last: what is revoked at random can be the others' keys.
echo 'a key that rotates itself'
ask "$client" '' --phases examples,coverage,fuzzing --include-path /self/v1/rotate
echo 'by a key that only looks'
ask "$reader" "$(known)" "${phases[@]}" --exclude-path '/admin/v1/decisions/{id}'
echo 'with a key that there is'
ask "$admin" "$(known)" "${phases[@]}" --exclude-path '/admin/v1/decisions/{id}'
echo 'whatever it comes to'
ask "$admin" '' "${phases[@]}"
echo 'one operation after another'
ask "$admin" '' --phases stateful --exclude-path /self/v1/rotate

kill "$service"
wait "$service" || die 'keyward did not end in good order'
service=
! grep -q '"level":"ERROR"' told || { cat told; die 'keyward tells of an error'; }
env -u SUDO_USER "$keyward" registry check
"$keyward" replay
echo 'every answer was what the document says'
