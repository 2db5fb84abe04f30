"""System calls that fail, and kills at them, by strace. See run.sh."""

import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import answers, begin, check_answers, entries, must, run

# Which calls, how each fails, and how often a thread makes it at most in a run: strace counts by
# thread.
FAULTS = [
    ("fdatasync", ["error=EIO", "error=ENOSPC", "signal=KILL"], 12),
    ("fsync", ["error=EIO", "signal=KILL"], 8),
    ("syncfs", ["error=EIO", "signal=KILL"], 1),
    ("pwrite64", ["error=EIO", "error=ENOSPC", "signal=KILL"], 300),
    ("write", ["error=EIO", "error=ENOSPC", "signal=KILL"], 12),
    ("fallocate", ["error=EIO", "error=ENOSPC", "error=EOPNOTSUPP", "signal=KILL"], 1),
    ("ftruncate", ["error=EIO", "signal=KILL"], 1),
    ("/^rename(at2?)?$", ["error=EIO", "error=ENOSPC", "signal=KILL"], 7),
]


def trial(keyward, work, seed, number):
    """One fault in one run, and what is there afterwards. What happened, in words."""
    numbers = random.Random(f"{seed} {number}")
    calls, failures, most = FAULTS[number % len(FAULTS)]
    failure = numbers.choice(failures)
    when = numbers.randint(1, most)
    # Some faults stay.
    if failure.startswith("error") and numbers.random() < 0.3:
        when = f"{when}+"
    durability = numbers.choice(["written", "durable"])
    fault = f"{durability}, {calls}:{failure}:when={when}"
    folder = work / f"trial-{number}"
    shutil.copytree(work / durability, folder)
    shutil.copy(folder / "log/checkpoint", folder / "before")
    try:
        prefix = ["strace", "-f", "-qq", "-o", str(folder / "trace")]
        prefix += ["-e", f"trace={calls}", "-e", f"inject={calls}:{failure}:when={when}"]
        ended = run(keyward, folder, "evaluate", "--format", "json", "many.jsonl", prefix=prefix)
        trace = (folder / "trace").read_text()
        met = "INJECTED" in trace or "killed by SIGKILL" in trace
        # strace ends as what it has run: by that signal.
        expected = {0} if not met else {-9} if "KILL" in failure else {0, 2, 3}
        assert ended.returncode in expected, f"ended with {ended.returncode}: {ended.stderr}"
        shutil.copy(folder / "log/checkpoint", folder / "after")
        given = answers(ended.stdout)
        check_answers(given, entries(keyward, folder))
        # What comes next goes on where that ended.
        again = answers(must(keyward, folder, "evaluate", "--format", "json", "requests.jsonl"))
        assert all(answer["index"] is not None for answer in again), "denied without a fault"
        check_answers([*given, *again], entries(keyward, folder))
        for since in ["before", "after"]:
            must(keyward, folder, "log", "verify", "log", "--policy", "log.policy", "--since", since)
        refused = sum(answer["index"] is None for answer in given)
        shutil.rmtree(folder)
        return met, f"{'met' if met else 'not met':8} {fault}: {len(given)} answered, {refused} denied"
    except BaseException as error:
        error.add_note(f"trial {number} of seed {seed}: {fault}; kept while it runs: {folder}")
        raise


def main():
    keyward, work, seed, trials = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    for durability in ["written", "durable"]:
        folder = work / durability
        begin(keyward, folder, durability)
        lines = (folder / "requests.jsonl").read_text()
        (folder / "many.jsonl").write_text(lines * 10)
        must(keyward, folder, "evaluate", "--format", "json", "requests.jsonl")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda number: trial(keyward, work, seed, number), range(trials)))
    for _, words in done:
        print(words)
    met = sum(met for met, _ in done)
    print(f"{trials} trials of seed {seed}, {met} met their fault")
    assert 2 * met > trials, "most of the faults were never met"


main()
