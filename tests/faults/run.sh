#!/usr/bin/env bash
# Real faults: the real binary with system calls that fail (strace), with kills at system calls, and
# on a file system that is full (a small tmpfs in a namespace of its own).
#
#   tests/faults/run.sh FOLDER_WITH_keyward_binary [SEED [TRIALS]]
#
# inject.py  after each fault: the process ends in time; every line that was answered with an index is
#            in the log under it, the others are denials with `log.unavailable`; the next run opens the
#            log and records; `keyward log verify` is clean, also against the checkpoints that were
#            shown before and after the fault
# registry.py the same for commands that change keys, with faults on the registry's files alone: each
#            change is made wholly or not at all, and made if the command said so; `keyward registry
#            check` and `keyward log verify` are clean, and the next command goes on
# full.py    decisions are denied while the disk is full, and the same process goes on when it is not;
#            the outage has their exact count; starting, ending and a new log key are recorded on the
#            full disk; keys are suspended, masked and revoked there
#
# A failure prints what was injected; the same SEED makes the same faults (threads may still meet
# them in another order). TRIALS is how many, 60 unless it is given; the registry has 40.
#
# What the machine lacks is installed: strace by apt-get. Where namespaces are not permitted, the
# part on the full disk is left out, and the last line says so.
set -euo pipefail

die() { printf 'faults: %s\n' "$*" >&2; exit 2; }

[ $# -ge 1 ] && [ $# -le 3 ] && [ -x "$1/keyward" ] ||
  die "usage: $0 FOLDER_WITH_keyward_binary [SEED [TRIALS]]"
keyward=$(cd "$1" && pwd)/keyward
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The compiled policies are kept there from one run to the next.
export XDG_CACHE_HOME=$work PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here

command -v strace >/dev/null ||
  { apt-get update -q && apt-get install -yq --no-install-recommends strace; } >"$work/apt" 2>&1 ||
  { cat "$work/apt" >&2; die 'apt-get cannot install strace'; }
strace -f -qq -o /dev/null -e trace=fsync true 2>"$work/strace" ||
  die "strace cannot trace here: $(cat "$work/strace")"

python3 "$here/inject.py" "$keyward" "$work" "${2:-1}" "${3:-60}"
python3 "$here/registry.py" "$keyward" "$work" "${2:-1}" 40

for namespace in 'unshare -rm' 'unshare -m'; do
  if $namespace mount -t tmpfs -o size=24m none "$work" 2>/dev/null; then
    mkdir "$work/disk"
    # Its own mount: it ends with the namespace.
    $namespace sh -c 'mount -t tmpfs -o size=24m none "$1/disk" && exec python3 "$2" "$3" "$1"' \
      sh "$work" "$here/full.py" "$keyward"
    exit
  fi
done
echo 'LEFT OUT: the full disk. Namespaces with mounts are not permitted here.'
