"""keyward: a folder with routes and keys, and `keyward serve` in it."""

import errno
import re
import shutil
import signal
import subprocess
from pathlib import Path

from common import END_MAX_S, START_MAX_S, Process, ask, free_port, until

CONFIG = """
[registry]
path = "keyward.db"

[log]
path = "log"
origin = "keyward.example/gateways"
durability = "written"

[server]
listen = ["127.0.0.1:{port}"]
allow_loopback = true
trusted_proxies = ["127.0.0.1/32"]
# Late answers are not what is looked for here, and the machine may be busy.
deadline_ms = 1500

[[route]]
method = ["GET", "HEAD"]
host = "api.example.com"
path = "/public/{{item}}"
scope = "public:read"

[[route]]
method = ["POST", "PUT", "DELETE"]
host = "api.example.com"
path = "/public/{{item}}"
scope = "public:write"

[[route]]
method = "GET"
host = "api.example.com"
path = "/admin"
scope = "admin:read"

[[policy]]
name = "scope"
module = "builtin:scope"
[policy.settings]
implies = {{ write = ["read"] }}
read_only_actions = ["read"]

[[policy]]
name = "rotation"
module = "builtin:rotation"
[policy.settings]
max_lifetime_days = 90
notice_days = [1]

[[policy]]
name = "ip"
module = "builtin:ip"

[[policy]]
name = "rate"
module = "builtin:rate"
[policy.settings]
limits = [{{ requests = 1_000_000_000, per = "1d", label = "rate-1d" }}]
"""


class Service:
    def __init__(self, keyward, folder):
        self.keyward, self.folder, self.process = keyward, folder, None
        self.port = free_port()
        folder.mkdir(exist_ok=True)
        (folder / "keyward.toml").write_text(CONFIG.format(port=self.port))
        self.run("log", "init")
        self.reader = self.issue("reader", "public:read")
        self.writer = self.issue("writer", "public:write")
        self.stranger = self.issue("stranger", "admin:read")
        self.here = self.issue("here", "public:read", "--allow-network", "127.0.0.9/32")
        self.limited = self.issue("limited", "public:read", "--label", "rate-1d=1")

    def run(self, *arguments):
        ended = subprocess.run(
            [self.keyward, *arguments], cwd=self.folder, capture_output=True, text=True,
            timeout=START_MAX_S,
        )
        assert ended.returncode == 0, f"keyward {arguments}: {ended.returncode}: {ended.stderr}"
        return ended.stdout

    def issue(self, owner, scope, *more):
        out = self.run(
            "key", "issue", "--owner", owner, "--scope", scope, "--expires-in-days", "30", *more
        )
        return re.search(r"kw_\w+", out)[0]

    def start(self):
        self.process = Process([self.keyward, "serve"], self.folder)
        self.process.await_port(self.port)
        until("keyward is ready", lambda: ask(self.port, "/readyz").status == 200)

    def end(self):
        self.process.end()

    def stop(self):
        """It hangs: the kernel still takes connections for it."""
        self.process.signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.child.pid}/task")

        def are_stopped():
            stats = [(thread / "stat").read_text() for thread in threads.iterdir()]
            return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

        until("keyward hangs", are_stopped)

    def go_on(self):
        self.process.signal(signal.SIGCONT)

    def allows(self):
        """Whether it allows, asked without a gateway."""
        headers = [
            ("X-Forwarded-Method", "GET"), ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "api.example.com"), ("X-Forwarded-Uri", "/public/x"),
            ("X-Forwarded-For", "127.0.0.9"), ("X-API-Key", self.reader),
        ]
        return ask(self.port, "/check/forward", headers, source="127.0.0.1").status == 200

    def fill(self):
        """Leaves no block of the disk, and uses up what the log had allocated."""
        with open(self.folder / "filling", "wb", buffering=0) as file:
            for size in [1 << 20, 1 << 12, 1]:
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error
        for _ in range(20_000):
            if not self.allows():
                return
        raise AssertionError("a full disk takes decisions without end")

    def free(self):
        (self.folder / "filling").unlink()
        until("keyward records again", self.allows, END_MAX_S)


def is_small(disk):
    """Whether it is a disk that may be filled."""
    return shutil.disk_usage(disk).total <= 1 << 26
