"""A disk that is full, and is freed. See run.sh."""

import errno
import json
import os
import pty
import subprocess
import sys
import time
import tty
from pathlib import Path

from common import TIME_MAX_S, answers, begin, check_answers, entries, must, run


class Host:
    """`keyward evaluate`, line by line: on a terminal it answers each at once."""

    def __init__(self, keyward, folder):
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        self.process = subprocess.Popen(
            [keyward, "evaluate", "--format", "json", "-"],
            cwd=folder, stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.PIPE, text=True,
        )
        os.close(theirs)
        self.out = os.fdopen(ours)
        self.lines = (folder / "requests.jsonl").read_text().splitlines()
        self.given = []

    def ask(self):
        """One decision."""
        self.process.stdin.write(self.lines[len(self.given) % len(self.lines)] + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.out.readline())
        self.given.append(answer)
        return answer

    def end(self):
        self.process.stdin.close()
        self.process.wait(TIME_MAX_S)
        return self.process.returncode, self.process.stderr.read()


def fill(disk):
    """Leaves not one block."""
    with open(disk / "filling", "wb", buffering=0) as file:
        for size in [1 << 20, 1 << 12, 1]:
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error


def free(disk):
    (disk / "filling").unlink()


def of_type(found, name):
    return [entry for entry in found if entry["type"] == name]


def uses_up(host):
    """What is allocated beyond the reserve is used up before the first decision is denied."""
    while host.ask()["index"] is not None:
        assert len(host.given) < 20_000, "a full disk takes decisions without end"


def resumes(keyward, folder, disk):
    """The disk gets full and is freed under a running host."""
    host = Host(keyward, folder)
    for _ in host.lines:
        assert host.ask()["index"] is not None, "denied before the disk is full"
    fill(disk)
    uses_up(host)
    for _ in range(500):
        answer = host.ask()
        assert answer["index"] is None and answer["reason"] == "log.unavailable", answer
    free(disk)
    deadline = time.monotonic() + 5
    while host.ask()["index"] is None:
        assert time.monotonic() < deadline, "the disk is free, and the log does not go on"
        time.sleep(0.01)
    for _ in range(100):
        assert host.ask()["index"] is not None, "denied after the disk is freed"
    code, said = host.end()
    denied = sum(answer["index"] is None for answer in host.given)
    assert code != 0 and f"{denied} decisions could not be recorded" in said, said
    found = entries(keyward, folder, disk / "log")
    check_answers(host.given, found)
    outages = of_type(found, "outage")
    assert [outage["refused"] for outage in outages] == [denied], (outages, denied)
    first = next(it["index"] for it in reversed(host.given[:-100]) if it["index"] is not None)
    assert outages[0]["index"] == first - 1, "the outage does not stand before what follows it"
    print(f"full and freed: {len(host.given)} decisions, {denied} denied, as the outage says")


def starts(keyward, folder, disk):
    """A host ends on the full disk, and another starts and ends there."""
    fill(disk)
    host = Host(keyward, folder)
    uses_up(host)
    host.end()
    last = entries(keyward, folder, disk / "log")[-1]
    assert (last["type"], last["refused"]) == ("outage", 1), last
    before = len(entries(keyward, folder, disk / "log"))
    ended = run(keyward, folder, "evaluate", "--format", "json", "requests.jsonl")
    given = answers(ended.stdout)
    assert given and all(answer["reason"] == "log.unavailable" for answer in given), ended.stderr
    new = entries(keyward, folder, disk / "log")[before:]
    assert [entry["type"] for entry in new] == ["boot", "outage"], new
    assert new[1]["refused"] == len(given), new
    print("full at the start: the boot and, at the end, the outage are recorded")


def rotates(keyward, folder, disk):
    """An entry that is no decision, on the full disk."""
    ended = run(keyward, folder, "log", "rotate-key")
    assert ended.returncode != 0 and "No space left" in ended.stderr, ended.stderr
    found = entries(keyward, folder, disk / "log")
    assert len(of_type(found, "log-key")) == 1, [entry["type"] for entry in found[-4:]]
    print("full: the new log key is recorded; its checkpoint waits for room")
    free(disk)
    must(keyward, folder, "log", "rotate-key")
    given = answers(must(keyward, folder, "evaluate", "--format", "json", "requests.jsonl"))
    found = entries(keyward, folder, disk / "log")
    check_answers(given, found)
    assert all(answer["index"] is not None for answer in given)
    # Run again it may say the same once more.
    keys = {tuple(entry["keys"]) for entry in of_type(found, "log-key")}
    assert len(keys) == 1, keys
    print("freed: the rotation ends, and decisions are recorded")


def restricts(keyward, folder, disk):
    """What takes away from a key is done on the full disk, as often as it is asked for."""
    config = folder / "keyward.toml"
    text = config.read_text()
    assert text.count('keys = "keys.jsonl"') == 1
    config.write_text(text.replace('keys = "keys.jsonl"', f'path = "{disk / "keyward.db"}"'))
    ids = []
    for owner in ["a", "b", "c"]:
        new = ["--owner", owner, "--scope", "inventory:read", "--expires-in-days", "30"]
        ids.append(must(keyward, folder, "key", "issue", *new).split("_")[2])
    reserve = disk / "keyward.db-reserve"
    assert reserve.stat().st_blocks * 512 >= 4 << 20, reserve.stat()
    a, b, c = ids

    for _ in range(3):
        # Somebody takes all the room that there is, before each command.
        fill(disk)
        must(keyward, folder, "key", "suspend", a, "--reason", "a test")
        fill(disk)
        refused = run(keyward, folder, "key", "resume", a, "--reason", "a test")
        assert refused.returncode != 0 and "full" in refused.stderr, refused.stderr
        fill(disk)
        must(keyward, folder, "key", "mask", b)
        free(disk)
        must(keyward, folder, "key", "resume", a, "--reason", "a test")
        must(keyward, folder, "key", "unmask", b)
    fill(disk)
    must(keyward, folder, "key", "revoke", c, "--emergency", "--reason", "leaked")
    free(disk)
    states = must(keyward, folder, "key", "list")
    assert states.count(" active ") == 4 and states.count(" revoked ") == 2, states
    must(keyward, folder, "registry", "check")
    assert reserve.stat().st_blocks * 512 >= 4 << 20, "the reserve is not made again"
    told = [it["kind"] for it in of_type(entries(keyward, folder, disk / "log"), "key-event")]
    for kind, count in [("suspended", 3), ("masked", 3), ("revoked-in-emergency", 1)]:
        assert told.count(kind) == count, told
    print("full: keys are suspended, masked and revoked; nothing is given")


def main():
    keyward, work = sys.argv[1], Path(sys.argv[2])
    folder, disk = work / "full", work / "disk"
    begin(keyward, folder, log=disk / "log")
    for part in [resumes, starts, rotates, restricts]:
        part(keyward, folder, disk)
        if part is not starts:
            must(keyward, folder, "log", "verify", str(disk / "log"), "--policy", "log.policy")


main()
