#!/usr/bin/env python3
"""What a check costs: `keyward serve` against the same stack with nothing behind it, in one run.

  cargo build --release -p keyward --bin keyward --example empty_handler
  tests/load/run.py target/release [SECONDS [ROUNDS]]

Each round loads one and then the other with h2load (Debian: nghttp2-client), so that what else the
machine does meets both. Printed are the medians of requests a second, of the 99th percentile and of
processor time for each request, and their ratios. Nothing is asserted.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

CONNECTIONS = 32
STREAMS = 8
LISTEN = {"keyward": "127.0.0.1:18480", "empty": "127.0.0.1:18481"}
TICKS = os.sysconf("SC_CLK_TCK")


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    """A length-delimited field of Protocol Buffers."""
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def check_request(credential):
    """A framed CheckRequest: attributes.request.http with method, headers, path and host."""
    header = field(1, "x-api-key") + field(2, credential)
    http = field(2, "GET") + field(3, header) + field(4, "/inventory/42") + field(5, "api.example.com")
    message = field(1, field(4, field(2, http)))
    return b"\0" + len(message).to_bytes(4, "big") + message


def run(keyward, folder, *arguments):
    done = subprocess.run([keyward, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def begin(binaries, folder):
    """Starts both; the key's credential."""
    keyward = binaries / "keyward"
    run(keyward, folder.parent, "init", str(folder))
    config = folder / "keyward.toml"
    text = config.read_text().replace('keys = "keys.jsonl"', 'path = "keyward.db"')
    listen = f'listen = ["{LISTEN["keyward"]}"]'
    config.write_text(text.replace('listen = ["127.0.0.1:8180"]', listen))
    new = ["--owner", "load", "--scope", "inventory:read", "--expires-in-days", "90"]
    credential = run(keyward, folder, "key", "issue", *new).strip()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    empty = [binaries / "examples" / "empty_handler", LISTEN["empty"]]
    servers = {
        "keyward": subprocess.Popen([keyward, "serve"], cwd=folder, **quiet),
        "empty": subprocess.Popen(empty, **quiet),
    }
    for address in LISTEN.values():
        until_it_answers(f"http://{address}/healthz")
    return servers, credential


def until_it_answers(url):
    for _ in range(200):
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


def processor_seconds(process):
    times = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(times[11]) + int(times[12])) / TICKS


def load(name, process, arguments, seconds):
    """Requests a second, the 99th percentile in microseconds, microseconds of processor time."""
    with tempfile.NamedTemporaryFile() as log:
        before = processor_seconds(process)
        common = ["h2load", "-t1", f"-c{CONNECTIONS}", f"-D{seconds}", f"--log-file={log.name}"]
        done = subprocess.run(common + arguments, capture_output=True, text=True)
        used = processor_seconds(process) - before
        assert done.returncode == 0, done.stderr
        lines = [line.split() for line in Path(log.name).read_text().splitlines()]
    statuses = {line[1] for line in lines}
    assert statuses == {"200"}, f"{name}: {statuses}"
    micros = sorted(int(line[2]) for line in lines)
    return len(lines) / seconds, micros[len(micros) * 99 // 100], used * 1e6 / len(lines)


def main():
    binaries = Path(sys.argv[1]).resolve()
    given = [int(text) for text in sys.argv[2:4]]
    times = given + [4, 5][len(given):]
    with tempfile.TemporaryDirectory() as work:
        servers, credential = begin(binaries, Path(work) / "host")
        try:
            measure(servers, credential, Path(work), times)
        finally:
            for process in servers.values():
                process.terminate()
                process.wait()


def measure(servers, credential, work, times):
    seconds, rounds = times
    body = work / "check.bin"
    body.write_bytes(check_request(credential))
    headers = {
        "x-api-key": credential,
        "x-forwarded-method": "GET",
        "x-forwarded-host": "api.example.com",
        "x-forwarded-uri": "/inventory/42",
    }
    forward = [f"-H{name}: {value}" for name, value in headers.items()]
    grpc = ["-Hcontent-type: application/grpc", "-Hte: trailers", f"-d{body}", f"-m{STREAMS}"]
    kinds = {
        "HTTP/1.1": (["--h1", *forward], "/check/forward"),
        "HTTP/2": ([f"-m{STREAMS}", *forward], "/check/forward"),
        "gRPC": (grpc, "/envoy.service.auth.v3.Authorization/Check"),
    }
    print(f"{CONNECTIONS} connections, {STREAMS} streams each over HTTP/2; {rounds} rounds of {seconds} s")
    print("             requests/s           p99 µs         processor µs/request")
    for kind, (arguments, path) in kinds.items():
        found = {name: [] for name in servers}
        for _ in range(rounds):
            for name, process in servers.items():
                url = f"http://{LISTEN[name]}{path}"
                found[name].append(load(name, process, [*arguments, url], seconds))
        rows = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in found.items()}
        for name, (rate, p99, cost) in rows.items():
            print(f"{kind:8} {name:8} {rate:10.0f} {p99:16.0f} {cost:18.2f}")
        ratios = [ours / theirs for ours, theirs in zip(rows["keyward"], rows["empty"])]
        print(f"{kind:8} ratio    {ratios[0]:10.2f} {ratios[1]:16.2f} {ratios[2]:18.2f}", flush=True)


main()
