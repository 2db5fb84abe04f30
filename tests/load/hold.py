#!/usr/bin/env python3
"""What many connections cost `keyward serve`, and what those of attackers cost others.

  cargo build --release -p keyward --bin keyward
  tests/load/hold.py target/release [hold CONNECTIONS | attack | requests MILLIONS]

`hold` opens connections that each ask once and stay, `attack` lets one kind of attacker after the
other at the service, both while a client that behaves asks for checks on connections of its own, and
`requests` (Debian: nghttp2-client) asks by the million. Printed are the resident memory of the
service and the latencies of the client that behaves. It fails where that client is not answered.
"""

import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ADDRESS = ("127.0.0.1", 18490)
URL = f"http://{ADDRESS[0]}:{ADDRESS[1]}"
ATTACKERS = 2_000
ATTACK_SECONDS = 15


def run(keyward, folder, *arguments):
    done = subprocess.run([keyward, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def begin(keyward, folder):
    run(keyward, folder.parent, "init", str(folder))
    config = folder / "keyward.toml"
    text = config.read_text().replace('keys = "keys.jsonl"', 'path = "keyward.db"')
    config.write_text(text.replace("127.0.0.1:8180", "%s:%d" % ADDRESS))
    new = ["--owner", "load", "--scope", "inventory:read", "--expires-in-days", "90"]
    credential = run(keyward, folder, "key", "issue", *new).strip()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([keyward, "serve"], cwd=folder, **quiet)
    for _ in range(200):
        try:
            socket.create_connection(ADDRESS).close()
            return process, credential
        except OSError:
            time.sleep(0.05)
    raise SystemExit("it does not answer")


def memory_kib(process):
    """Resident memory without what is mapped from files, as the log's pages may be."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def check(credential):
    lines = [
        "GET /check/forward HTTP/1.1",
        "Host: keyward",
        f"X-API-Key: {credential}",
        "X-Forwarded-Method: GET",
        "X-Forwarded-Host: api.example.com",
        "X-Forwarded-Uri: /inventory/42",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def ask(connection, request):
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(4096)
        assert piece, "the connection was closed"
        answer += piece
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return answer


class Client(threading.Thread):
    """Behaves: asks fifty times a second, every other time on a connection of its own."""

    def __init__(self, credential):
        super().__init__(daemon=True)
        self.request, self.ended = check(credential), threading.Event()
        self.micros, self.failed = [], []

    def run(self):
        kept = socket.create_connection(ADDRESS, timeout=10)
        kept.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not self.ended.wait(0.02):
            begun = time.perf_counter()
            try:
                if len(self.micros) % 2:
                    ask(kept, self.request)
                else:
                    with socket.create_connection(ADDRESS, timeout=10) as fresh:
                        ask(fresh, self.request)
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))
            self.micros.append((time.perf_counter() - begun) * 1e6)

    def end(self):
        self.ended.set()
        self.join()
        return sorted(self.micros), self.failed


def frame(kind, flags, stream, payload=b""):
    """A frame of HTTP/2 (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
# :method GET, :path /, :scheme http, all in HPACK's static table.
HEADERS = b"\x82\x84\x86"
RESETS = b"".join(
    frame(1, 5, stream, HEADERS) + frame(3, 0, stream, b"\0\0\0\x08") for stream in range(1, 401, 2)
)
OPENED = b"".join(frame(1, 5, stream, HEADERS) for stream in range(1, 401, 2))
NO_WINDOW = PREFACE.replace(frame(4, 0, 0), frame(4, 0, 0, b"\0\4\0\0\0\0"))
FORWARD = b"POST /check/forward HTTP/1.1\r\nHost: keyward\r\n"

# What an attacker sends at first, and then again and again.
ATTACKS = {
    "silent": (b"", b""),
    "slow head": (b"GET / HTTP/1.1\r\nX-Slow: ", b"x"),
    "endless headers": (b"GET / HTTP/1.1\r\n", b"X-%d: y\r\n" % os.getpid() * 50),
    "giant header": (b"GET / HTTP/1.1\r\nX-Giant: ", b"x" * 16_384),
    "half of TLS": (b"\x16\x03\x01\x02\x00\x01", b""),
    "slow body": (FORWARD + b"Content-Length: 1000000000\r\n\r\n", b"x"),
    "slow chunks": (FORWARD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunks of nothing": (FORWARD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
    "HTTP/2, half a preface": (b"PRI * HT", b""),
    "HTTP/2, nothing after": (PREFACE, b""),
    "HTTP/2, garbage": (PREFACE, os.urandom(512)),
    "HTTP/2, pings": (PREFACE, frame(6, 0, 0, b"keyward!") * 50),
    "HTTP/2, rapid reset": (PREFACE + RESETS, b""),
    "HTTP/2, no window": (NO_WINDOW + OPENED, b""),
    "HTTP/2, endless continuation": (PREFACE + frame(1, 1, 1, HEADERS), frame(9, 0, 1, b"\0" * 1_000)),
}


def attack(first, again):
    """Many connections for some time; one that is closed is opened again."""
    until, attackers, opened = time.monotonic() + ATTACK_SECONDS, [], 0
    while time.monotonic() < until:
        for _ in range(min(200, ATTACKERS - len(attackers))):
            attacker = socket.create_connection(ADDRESS, timeout=10)
            attacker.sendall(first)
            attacker.setblocking(False)
            attackers.append(attacker)
            opened += 1
        left = []
        for attacker in attackers:
            try:
                if again:
                    attacker.send(again)
                if attacker.recv(65_536):
                    left.append(attacker)
                    continue
            except BlockingIOError:
                left.append(attacker)
                continue
            except OSError:
                pass
            attacker.close()
        attackers = left
        time.sleep(0.25)
    for attacker in attackers:
        attacker.close()
    return opened


def latency(micros):
    return f"median {statistics.median(micros):6.0f} µs, 99th {micros[len(micros) * 99 // 100]:7.0f}, most {micros[-1]:7.0f}"


def attacks(process, credential):
    print(f"each {ATTACKERS} connections for {ATTACK_SECONDS} s, opened again when they are closed")
    failures = 0
    for name, (first, again) in ATTACKS.items():
        before = memory_kib(process)
        client = Client(credential)
        client.start()
        opened = attack(first, again)
        most = memory_kib(process)
        micros, failed = client.end()
        failures += len(failed)
        print(
            f"{name:29} {opened:6} opened; {len(micros) - len(failed)} answered, {len(failed)} not; "
            f"{latency(micros)}; {before} -> {most} KiB",
            flush=True,
        )
        if failed:
            print("   ", failed[0])
    time.sleep(2)
    print(f"after all of them {memory_kib(process)} KiB")
    assert process.poll() is None, "the service has ended"
    return failures


def hold(process, credential, count):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    client = Client(credential)
    client.start()
    before, request, held = memory_kib(process), check(credential), []
    for _ in range(count):
        connection = socket.create_connection(ADDRESS, timeout=10)
        ask(connection, request)
        held.append(connection)
    micros, failed = client.end()
    after = memory_kib(process)
    print(f"{count} held: {(after - before) / count:.1f} KiB each, {before} -> {after} KiB; {latency(micros)}")
    for connection in held:
        ask(connection, request)
    print("each was answered once more")
    return len(failed)


def requests(process, credential, millions):
    fields = ["x-forwarded-method: GET", "x-forwarded-host: api.example.com"]
    fields += [f"x-api-key: {credential}", "x-forwarded-uri: /inventory/42"]
    headers = [f"-H{field}" for field in fields]
    for million in range(1, millions + 1):
        command = ["h2load", "-t1", "-c32", "-m8", "-n1000000", *headers, f"{URL}/check/forward"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert "1000000 2xx" in done.stdout, done.stdout + done.stderr
        print(f"{million} million requests: {memory_kib(process)} KiB", flush=True)
    return 0


def main():
    keyward = Path(sys.argv[1]).resolve() / "keyward"
    kind, *number = sys.argv[2:] or ["attack"]
    with tempfile.TemporaryDirectory() as work:
        process, credential = begin(keyward, Path(work) / "host")
        try:
            match kind:
                case "hold":
                    failures = hold(process, credential, int(*number or ["10000"]))
                case "attack":
                    failures = attacks(process, credential)
                case "requests":
                    failures = requests(process, credential, int(*number or ["10"]))
                case _:
                    raise SystemExit(__doc__)
        finally:
            process.terminate()
            process.wait()
    raise SystemExit(f"{failures} requests were not answered" if failures else 0)


main()
