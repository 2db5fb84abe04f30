"""What both parts of tests/faults share: a folder with a log, and what is asked of it."""

import json
import subprocess

# No command takes as long.
TIME_MAX_S = 60


def run(keyward, folder, *arguments, prefix=()):
    """Runs a command of keyward; it has to end."""
    return subprocess.run(
        [*prefix, keyward, *arguments], cwd=folder, capture_output=True, text=True, timeout=TIME_MAX_S
    )


def must(keyward, folder, *arguments):
    """Runs a command that has to end well; what it prints."""
    ended = run(keyward, folder, *arguments)
    assert ended.returncode == 0, f"{arguments} ended with {ended.returncode}: {ended.stderr}"
    return ended.stdout


def begin(keyward, folder, durability="written", log="log"):
    """Makes a signed log's folder; the log itself may stand elsewhere."""
    must(keyward, folder.parent, "init", folder.name)
    config = folder / "keyward.toml"
    text = config.read_text()
    assert text.count('durability = "written"') == 1 and text.count('path = "log"') == 1
    text = text.replace('durability = "written"', f'durability = "{durability}"')
    config.write_text(text.replace('path = "log"', f'path = "{log}"'))
    must(keyward, folder, "log", "init")


def entries(keyward, folder, log="log"):
    """The entries, by index."""
    return [json.loads(line) for line in must(keyward, folder, "log", "cat", str(log)).splitlines()]


def answers(stdout):
    """What was answered: whole lines only, after a kill the last one may be cut off."""
    return [json.loads(line) for line in stdout.splitlines(keepends=True) if line.endswith("\n")]


def check_answers(given, found):
    """What was answered as recorded is in the log; the rest was denied for that reason."""
    for answer in given:
        index = answer.get("index")
        if index is None:
            assert answer["effect"] == "deny", answer
            assert answer["reason"] == "log.unavailable", answer
        else:
            assert index < len(found), f"entry {index} is lost, of {len(found)}"
            recorded = found[index]
            assert recorded["index"] == index, recorded
            assert recorded["decision"] == answer["decision"], f"entry {index} is another"
            assert recorded["effect"] == answer["effect"], f"entry {index} says otherwise"
