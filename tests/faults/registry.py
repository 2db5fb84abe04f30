"""System calls on the registry's files that fail, and kills at them, by strace. See run.sh."""

import json
import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import begin, entries, must, run

# The database, its write-ahead log and the index of that; the log's own files are inject.py's.
FILES = ["keyward.db", "keyward.db-wal", "keyward.db-shm"]
# Which calls, how each fails, and how often a command makes it at most.
FAULTS = [
    ("pwrite64", ["error=EIO", "error=ENOSPC", "signal=KILL"], 12),
    ("/^f(data)?sync$", ["error=EIO", "error=ENOSPC", "signal=KILL"], 4),
    ("pread64", ["error=EIO", "signal=KILL"], 12),
    ("/^ftruncate$", ["error=EIO", "error=ENOSPC", "signal=KILL"], 2),
    ("/^openat$", ["error=EACCES", "error=EMFILE", "signal=KILL"], 3),
]
ISSUE = ["key", "issue", "--owner", "o", "--scope", "inventory:read", "--expires-in-days", "9"]
# What each command's events are.
COMMANDS = [
    (["key", "rotate", "KEY"], ["rotated", "succeeded"]),
    (["key", "import", "many.jsonl"], ["imported"]),
    (["key", "revoke", "KEY", "--reason", "r", "--emergency"], ["revoked-in-emergency"]),
    (["key", "revoke", "KEY", "--reason", "r"], ["revocation-ordered"]),
    (ISSUE, ["issued"]),
]


def kinds(keyward, folder):
    """The kinds of the key events in the log, which are numbered from 1."""
    events = [entry for entry in entries(keyward, folder) if entry["type"] == "key-event"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1)), events
    return [event["kind"] for event in events]


def trial(keyward, work, seed, number):
    """One fault in one command, and what is there afterwards. What happened, in words."""
    numbers = random.Random(f"registry {seed} {number}")
    calls, failures, most = FAULTS[number % len(FAULTS)]
    command, expected = COMMANDS[number // len(FAULTS) % len(COMMANDS)]
    failure, when = numbers.choice(failures), numbers.randint(1, most)
    folder = work / f"registry-{number}"
    shutil.copytree(work / "registry", folder)
    key = (folder / "key").read_text()
    fault = f"{' '.join(command[:2])}, {calls}:{failure}:when={when}"
    try:
        prefix = ["strace", "-f", "-qq", "-o", str(folder / "trace")]
        for name in FILES:
            prefix += ["-P", str(folder / name)]
        prefix += ["-e", f"trace={calls}", "-e", f"inject={calls}:{failure}:when={when}"]
        arguments = [key if it == "KEY" else it for it in command]
        ended = run(keyward, folder, *arguments, prefix=prefix)
        trace = (folder / "trace").read_text()
        met = "INJECTED" in trace or "killed by SIGKILL" in trace
        allowed = {0} if not met else {-9} if "KILL" in failure else {0, 2, 3}
        assert ended.returncode in allowed, f"ended with {ended.returncode}: {ended.stderr}"
        must(keyward, folder, "registry", "check")
        must(keyward, folder, *ISSUE)
        must(keyward, folder, "registry", "check")
        must(keyward, folder, "log", "verify")
        found = kinds(keyward, folder)
        made = found == ["issued", *expected, "issued"]
        assert made or found == ["issued", "issued"], found
        assert made or ended.returncode != 0, "said to be made, and is not"
        shutil.rmtree(folder)
        return met, f"{'met' if met else 'not met':8} {fault}: {'made' if made else 'not made'}"
    except BaseException as error:
        error.add_note(f"trial {number} of seed {seed}: {fault}; kept while it runs: {folder}")
        raise


def main():
    keyward, work, seed, trials = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    folder = work / "registry"
    begin(keyward, folder)
    config = folder / "keyward.toml"
    text = config.read_text()
    assert text.count('keys = "keys.jsonl"') == 1
    config.write_text(text.replace('keys = "keys.jsonl"', 'path = "keyward.db"'))
    credential = must(keyward, folder, *ISSUE)
    (folder / "key").write_text(credential.split("_")[2])
    key = {"owner": "o", "issued_at": "2026-01-01T00:00:00Z", "scopes": ["inventory:read"]}
    lines = [json.dumps({"id": f"{number:012}", **key}) for number in range(100)]
    (folder / "many.jsonl").write_text("\n".join(lines))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda number: trial(keyward, work, seed, number), range(trials)))
    for _, words in done:
        print(words)
    met = sum(met for met, _ in done)
    print(f"{trials} trials of the registry of seed {seed}, {met} met their fault")
    assert 2 * met > trials, "most of the faults were never met"


main()
