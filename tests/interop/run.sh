#!/usr/bin/env bash
# Interoperability: implementations that we did not write accept the logs that keyward publishes, at
# sizes around the edges of the tiles, and reject copies that were tampered with, each for the right
# reason. keyward's own verifiers have to agree with them.
#
#   tests/interop/run.sh FOLDER_WITH_keyward_binary
#
# aics-tlog   PyPI, with cryptography   verify.py    signatures, tiles, entries, proofs, consistency
# x/mod       Debian, of Go itself      verify.go    Ed25519, entries, tiles, proofs, consistency
# sigstore    npm                       verify.mjs   Ed25519, proofs
# aics-witness PyPI                     on loopback  cosigns what goes on, tells what was taken back
# pycose      PyPI, with cbor2          verify_cose.py   what governance signs
#
# What the machine lacks is installed: Go and Node.js by apt-get, the rest into the folder of
# KEYWARD_INTEROP_CACHE; without one, into a folder that is removed at the end.
set -euo pipefail

AICS_TLOG=0.2.1 AICS_WITNESS=0.1.0 CRYPTOGRAPHY=50.0.2 SIGSTORE=3.1.1
PYCOSE=1.1.0 CBOR2=5.9.0
SIZES=(1 256 257 65536 69950 70000)

die() { printf 'interop: %s\n' "$*" >&2; exit 2; }

[ $# = 1 ] && [ -x "$1/keyward" ] || die "usage: $0 FOLDER_WITH_keyward_binary"
keyward=$(cd "$1" && pwd)/keyward
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
witness=
trap '[ -z "$witness" ] || kill "$witness"; rm -rf "$work"' EXIT
cache=${KEYWARD_INTEROP_CACHE:-$work/tools}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
export XDG_CACHE_HOME="$work" NODE_PATH="$cache/npm/node_modules" PYTHONDONTWRITEBYTECODE=1

# --- the verifiers ---------------------------------------------------------------------------------

packages=()
command -v go >/dev/null || packages+=(golang-go)
[ -d /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog ] || packages+=(golang-golang-x-mod-dev)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  { apt-get update -q && apt-get install -yq --no-install-recommends "${packages[@]}"; } \
    >"$work/apt" 2>&1 || { cat "$work/apt" >&2; die "apt-get cannot install ${packages[*]}"; }
fi

python=$cache/venv/bin/python
versions='from importlib.metadata import version as of
print(of("aics-tlog"), of("aics-witness"), of("cryptography"), of("pycose"), of("cbor2"))'
if [ "$("$python" -c "$versions" 2>/dev/null)" != \
  "$AICS_TLOG $AICS_WITNESS $CRYPTOGRAPHY $PYCOSE $CBOR2" ]; then
  python3 -m venv --clear "$cache/venv"
  # aics-tlog asks for a newer Python than it needs; pycose cannot read with cbor2 6.
  pip=("$python" -m pip install --quiet --disable-pip-version-check)
  "${pip[@]}" "cryptography==$CRYPTOGRAPHY" "pycose==$PYCOSE" \
    "cbor2==$CBOR2" &&
    "${pip[@]}" --no-deps --ignore-requires-python "aics-tlog==$AICS_TLOG" \
      "aics-witness==$AICS_WITNESS" ||
    die "pip cannot install aics-tlog, aics-witness, cryptography and pycose"
fi

version='console.log(require("@sigstore/verify/package.json").version)'
if [ "$(node -e "$version" 2>/dev/null)" != "$SIGSTORE" ]; then
  npm install --silent --ignore-scripts --no-audit --no-fund --prefix "$cache/npm" \
    "@sigstore/verify@$SIGSTORE" || die "npm cannot install @sigstore/verify $SIGSTORE"
fi

GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS='' GOCACHE="$cache/go" \
  go build -o "$work/verify-go" "$here/verify.go" || die "verify.go cannot be built"

printf 'Python %s, aics-tlog %s, cryptography %s, pycose %s; %s; Node.js %s, @sigstore/verify %s\n' \
  "$("$python" -V | cut -d' ' -f2)" "$AICS_TLOG" "$CRYPTOGRAPHY" "$PYCOSE" \
  "$(go version | cut -d' ' -f3)" "$(node --version)" "$SIGSTORE"

# --- what a verifier says --------------------------------------------------------------------------

passed=0 failed=0

# says WHO 'accepts|rejects: TEXT' COMMAND...: the command ends so, and TEXT is in what it prints, for
# which a crash does not pass. One line.
says() {
  local who=$1 verdict=${2%%: *} text=${2#*: } out actual
  shift 2
  if out=$("$@" 2>&1); then actual=accepts; else actual=rejects; fi
  if [ "$actual" = "$verdict" ] && [[ $out == *"$text"* ]]; then
    passed=$((passed + 1))
    printf 'ok      %-34s %-16s %s: %s\n' "$case" "$who" "$verdict" "${text#"${verdict%s}ed: "}"
  else
    failed=$((failed + 1))
    printf 'FAILED  %-34s %-16s %s, and should be: %s: %s; it says:\n%s\n' \
      "$case" "$who" "$actual" "$verdict" "$text" "$out"
  fi
}

aics_tlog() { "$python" "$here/verify.py" "$@"; }
pycose() { "$python" "$here/verify_cose.py" "$@"; }
x_mod() { "$work/verify-go" "$@"; }
sigstore() { node "$here/verify.mjs" "$@"; }
log_verify() { "$keyward" log verify --policy log.policy "$@"; }
cert_check() { "$keyward" cert check --policy log.policy --key governance.pub "$@"; }
check_proof() { "$keyward" log check-proof --policy log.policy "$@"; }
each() { for it in "${@:2}"; do "$1" "$it" || return; done; }
continues() { log_verify log --since "$1"; }

# --- a log that grows: accepted at every size ------------------------------------------------------

cd "$work"
"$keyward" init demo >/dev/null
cd demo
"$keyward" log init >/dev/null
lines=$(wc -l <requests.jsonl)
for ((i = 0; i < SIZES[-1]; i += lines)); do cat requests.jsonl; done >many.jsonl
mapfile -t ids < <(sed -n 's/^log [^+]*+\([0-9a-f]*\)+.*/\1/p' log.policy) # Ed25519, ML-DSA-44
mkdir proofs older

size=1
for next in "${SIZES[@]}"; do
  # Every run records one entry of its own, when it begins; `log init` is the first.
  if [ "$next" -gt "$size" ]; then
    tail -n "+$((size + 1))" many.jsonl | head -n "$((next - size - 1))" >some.jsonl || true
    "$keyward" evaluate --format json some.jsonl >/dev/null 2>errors || die "$(cat errors)"
  fi
  size=$(sed -n 2p log/checkpoint)
  [ "$size" = "$next" ] || die "a checkpoint of $size entries, where there should be $next"

  for index in 0 1 255 256 25600 65535 65536 $((size / 2)) $((size - 1)); do
    [ "$index" -ge "$size" ] || "$keyward" log prove "$index" --out "proofs/$size-$index.tlog-proof"
  done
  proofs=(proofs/*) olds=(older/*)
  [ "$size" != 1 ] || olds=()
  counts="$size entries, ${#proofs[@]} proofs, ${#olds[@]} older checkpoints"

  case="intact, $size entries"
  says aics-tlog "accepts: accepted: $counts, ML-DSA-44" \
    aics_tlog log log.policy "${proofs[@]}" "${olds[@]}"
  says x/mod "accepts: accepted: $counts" x_mod log log.policy "${proofs[@]}" "${olds[@]}"
  says sigstore "accepts: accepted: a checkpoint of $size entries, ${#proofs[@]} proofs" \
    sigstore log log.policy "${proofs[@]}"
  says 'log verify' "accepts: verified: $size entries" log_verify log
  says check-proof 'accepts: ML-DSA-44' each check_proof "${proofs[@]}"
  [ "$size" = 1 ] || says 'verify --since' 'accepts: verified: ' each continues "${olds[@]}"
  cp log/checkpoint "older/$size"
done

# --- copies ----------------------------------------------------------------------------------------

# copy: makes `copy`, of what is published.
copy() {
  rm -rf copy && mkdir copy
  cp log/checkpoint copy
  cp -rl log/tile copy/tile
}

# change FILE HOW: a new file in the place of one that the copy shares with the log.
change() {
  python3 - "copy/$1" "$2" <<'END'
import base64, os, sys

path, how = sys.argv[1:]
data = open(path, "rb").read()
flip = lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:]
if how == "flip":
    data = flip(data)
elif how == "cut":
    data = data[:-1]
else:  # `flip N`: in the base64 that ends line N
    lines = data.split(b"\n")
    line = int(how.split()[1])
    head, space, word = lines[line].rpartition(b" ")
    lines[line] = head + space + base64.b64encode(flip(base64.b64decode(word)))
    data = b"\n".join(lines)
os.remove(path)
open(path, "wb").write(data)
END
}

# judged INDEX AICS-TLOG X/MOD SIGSTORE VERIFY CHECK-PROOF: what each says of the copy, the last and
# sigstore of a proof for an entry that keyward makes from the copy, without verifying it. Without
# SIGSTORE no such proof can be made.
judged() {
  says aics-tlog "$2" aics_tlog copy log.policy
  says x/mod "$3" x_mod copy log.policy
  says 'log verify' "$5" log_verify copy
  if [ -z "$4" ]; then
    says 'log prove' "$6" "$keyward" log prove "$1" copy
  else
    "$keyward" log prove "$1" copy --out copy.tlog-proof
    says sigstore "$4" sigstore copy log.policy copy.tlog-proof
    says check-proof "$6" check_proof copy.tlog-proof
  fi
}

case='a copy'
copy
judged 25600 "accepts: accepted: $size" "accepts: accepted: $size" \
  "accepts: $size entries, 1 proofs" "accepts: verified: $size" 'accepts: ML-DSA-44'

# At 257 full tiles have taken the place of the partial ones; at 69950 they have not, and have to stay.
for old in 257 69950; do
  case="checkpoint of $old, newer tiles"
  copy
  cp "older/$old" copy/checkpoint
  judged $((old - 1)) "accepts: accepted: $old" "accepts: accepted: $old" \
    "accepts: $old entries, 1 proofs" "accepts: verified: $old" 'accepts: ML-DSA-44'
done

case='a bit of a bundle'
copy
change tile/entries/100 flip
judged 25600 'rejects: rejected: tile/entries/100 does not match its level 0 tile' \
  'rejects: rejected: the entries lead to the root' \
  'rejects: rejected: calculated root hash does not match' \
  'rejects: `tile/entries/100` has other entries than were signed' \
  'rejects: the checkpoint does not include the entry'

case='a bit of a hash tile'
copy
change tile/0/100 flip
judged 25601 'rejects: rejected: tile/0/100 does not match its parent tile' \
  'rejects: rejected: copy/tile/0/100: not what the entries lead to' \
  'rejects: rejected: calculated root hash does not match' \
  'rejects: `tile/entries/100` and its hash tile do not fit each other' \
  'rejects: the checkpoint does not include the entry'

case='a bit of a partial hash tile'
copy
change tile/1/001.p/17 flip
judged 0 'rejects: rejected: the right-edge tiles do not match the root' \
  'rejects: rejected: copy/tile/1/001.p/17: not what the entries lead to' \
  'rejects: rejected: calculated root hash does not match' \
  'rejects: `tile/1/001.p/17` has other hashes than the tiles below it' \
  'rejects: the checkpoint does not include the entry'

case='a bit of the root hash'
copy
change checkpoint 'flip 2'
judged 0 'rejects: rejected: log signature from keyward.example/quickstart failed' \
  "rejects: rejected: invalid signature for key keyward.example/quickstart+${ids[0]}" \
  'rejects: rejected: invalid checkpoint signature' \
  "rejects: with the key id ${ids[0]} is wrong" "rejects: with the key id ${ids[0]} is wrong"

case='a bit of the ML-DSA-44 signature'
copy
change checkpoint 'flip -2'
judged 0 'rejects: rejected: the ML-DSA-44 signature is wrong' \
  "accepts: accepted: $size" "accepts: $size entries, 1 proofs" \
  "rejects: with the key id ${ids[1]} is wrong" "rejects: with the key id ${ids[1]} is wrong"

case='a truncated bundle'
copy
change tile/entries/100 cut
judged 25600 'rejects: rejected: tile/entries/100 does not match its level 0 tile' \
  'rejects: rejected: copy/tile/entries/100: ends inside of an entry' '' \
  'rejects: `tile/entries/100` is damaged' 'rejects: `tile/entries/100` is damaged'

case='swapped bundles'
copy
mv copy/tile/entries/100 swapped
mv copy/tile/entries/101 copy/tile/entries/100
mv swapped copy/tile/entries/101
judged 25600 'rejects: rejected: tile/entries/100 does not match its level 0 tile' \
  'rejects: rejected: the entries lead to the root' \
  'rejects: rejected: calculated root hash does not match' \
  'rejects: `tile/entries/101` has other entries than were signed' \
  'rejects: the checkpoint does not include the entry'

# Only the log itself can sign another history. A proof of it holds alone, and not with this log.
case='another history under the same key'
"$keyward" init fork >/dev/null
cp log.key fork
(cd fork && "$keyward" log init && "$keyward" evaluate --format json requests.jsonl) >/dev/null 2>&1
"$keyward" log prove 0 fork/log --out fork.tlog-proof
fork=fork/log/checkpoint
says aics-tlog 'rejects: rejected: the log does not continue' aics_tlog log log.policy $fork
says x/mod 'rejects: rejected: the log does not continue' x_mod log log.policy $fork
says 'verify --since' 'rejects: the log does not continue the checkpoint' continues $fork
says aics-tlog 'rejects: rejected: fork.tlog-proof: another proof than aics-tlog makes of the log' \
  aics_tlog log log.policy fork.tlog-proof
says x/mod 'rejects: rejected: fork.tlog-proof: another proof than tlog makes of the log' \
  x_mod log log.policy fork.tlog-proof
says sigstore "accepts: accepted: a checkpoint of $size entries, 1 proofs" \
  sigstore log log.policy fork.tlog-proof
says check-proof 'accepts: ML-DSA-44' check_proof fork.tlog-proof

# --- what governance signs -------------------------------------------------------------------------

cd "$work"
"$keyward" init governed >/dev/null
cd governed
sed -i 's|^keys = .*|path = "keyward.db"|' keyward.toml
"$keyward" log init >/dev/null
"$keyward" cert init >/dev/null
key=$("$keyward" key issue --owner sync --scope inventory:read --expires-in-days 30 2>/dev/null |
  cut -d_ -f3)
for method in GET PUT; do
  printf '{"key":"%s","method":"%s","host":"api.example.com","path":"/inventory/4"}\n' "$key" "$method"
done >requests.jsonl
decide() { "$keyward" evaluate --format json requests.jsonl >/dev/null 2>errors || die "$(cat errors)"; }
decide
"$keyward" key revoke "$key" --reason 'it leaked' --emergency >/dev/null 2>&1 || die "not revoked"
decide
certificate=$key.tlog-proof statement=$key.no-allow
"$keyward" cert revocation "$key" --out "$certificate"
"$keyward" audit no-allow-after "$key" --out "$statement" >/dev/null
size=$(sed -n 2p log/checkpoint)

case='a revocation certificate'
says aics-tlog "accepts: accepted: $size entries, 1 proofs" aics_tlog log log.policy "$certificate"
says x/mod "accepts: accepted: $size entries, 1 proofs" x_mod log log.policy "$certificate"
says sigstore "accepts: accepted: a checkpoint of $size entries, 1 proofs" \
  sigstore log log.policy "$certificate"
says pycose "accepts: revocation+cbor key $key of keyward.example/quickstart" \
  pycose governance.pub "$certificate"
says 'cert check' "accepts: key $key was revoked at " cert_check "$certificate"

case='that nothing was allowed'
says pycose "accepts: no-allow+cbor key $key of keyward.example/quickstart" \
  pycose governance.pub "$statement"
says 'cert check' 'accepts: the log bears it out' cert_check "$statement" --log log

# changed_signature FILE: the last bit of governance's signature is another one.
changed_signature() {
  python3 - "$1" <<'END'
import base64, sys

data = open(sys.argv[1], "rb").read()
flip = lambda data: data[:-1] + bytes([data[-1] ^ 1])
if data.startswith(b"c2sp.org"):
    lines = data.split(b"\n")
    lines[1] = b"extra " + base64.b64encode(flip(base64.b64decode(lines[1][6:])))
    data = b"\n".join(lines)
else:
    data = flip(data)
open(sys.argv[1], "wb").write(data)
END
}

case="a bit of governance's signature"
cp "$certificate" changed.tlog-proof
cp "$statement" changed.no-allow
changed_signature changed.tlog-proof
changed_signature changed.no-allow
says aics-tlog 'rejects: rejected: changed.tlog-proof: the entry is not included' \
  aics_tlog log log.policy changed.tlog-proof
says pycose 'rejects: rejected: the signature is wrong' pycose governance.pub changed.tlog-proof
says 'cert check' 'rejects: the checkpoint does not include the entry' cert_check changed.tlog-proof
says pycose 'rejects: rejected: the signature is wrong' pycose governance.pub changed.no-allow
says 'cert check' 'rejects: the signature by the governance key' cert_check changed.no-allow

case='another governance key'
mkdir other
cp governance.pub other/
rm governance.key governance.pub
"$keyward" cert init >/dev/null
says pycose 'rejects: rejected: signed by an unknown key' pycose governance.pub "$certificate"
says 'cert check' 'rejects: which is not a governance key that you trust' cert_check "$certificate"
cp other/governance.pub .

# --- a witness that is not ours, over HTTP ---------------------------------------------------------

cd "$work"
"$keyward" init witnessed >/dev/null
cd witnessed
"$keyward" log init >/dev/null
export AICS_WITNESS_CONFIG=$work/witness/witness.json
mkdir "$work/witness"
aics_witness=$cache/venv/bin/aics-witness
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
key=$("$aics_witness" init --name witness.example/w1 --listen "127.0.0.1:$port" 2>&1 | grep -o 'witness.example/w1+.*')
"$aics_witness" add-log --origin keyward.example/quickstart \
  --vkey "$(sed -n 's/^log \(.*\)/\1/p' log.policy | head -1)" >/dev/null 2>&1
"$aics_witness" serve >"$work/witness/log" 2>&1 &
witness=$!
for ((i = 0; i < 100; i++)); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.1
done
sed -i '/^quorum/d' log.policy
printf 'witness w1 %s http://127.0.0.1:%s\nquorum w1\n' "$key" "$port" >>log.policy
sed -i 's|^origin = .*|&\nwitnesses = "log.policy"|' keyward.toml

evaluate() { "$keyward" evaluate --format json requests.jsonl 2>&1 >/dev/null; }
case='a witness'
says evaluate 'accepts: 28 requests' evaluate
says 'log verify' 'accepts: witnessed w1 at ' log_verify log
cp -r log older-log
says 'evaluate again' 'accepts: 28 requests' evaluate
says 'log verify' 'accepts: verified: 59 entries' log_verify log
"$keyward" log prove q04 --out q04.tlog-proof
says check-proof 'accepts: witnessed w1 at ' check_proof q04.tlog-proof

case='a log restored from an older copy'
mv log newest-log
mv older-log log
says evaluate 'rejects: the witness `w1` has cosigned 59 entries, and 30 are signed here' evaluate
rm -r log
mv newest-log log

case='no witness'
kill "$witness"
wait "$witness" || true
witness=
says evaluate 'accepts: the witness `w1` has not cosigned' evaluate
says 'log verify' 'rejects: are not the quorum' log_verify log

echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
