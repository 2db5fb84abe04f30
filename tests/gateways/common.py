"""What the parts of tests/gateways share: free ports, processes that end, and a client that sends
exactly what it is told."""

import os
import re
import signal
import socket
import socketserver
import subprocess
import threading
import time

# Nothing that starts, ends or is answered takes longer, on a busy machine too.
START_MAX_S = 60
END_MAX_S = 20
ANSWER_MAX_S = 60
# The largest answer that is read.
ANSWER_MAX_BYTES = 1 << 20


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Answer:
    """What the client got. `status` 0: the connection ended without an answer."""

    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        match = re.match(r"HTTP/1\.[01] (\d{3})", lines[0])
        self.status = int(match[1]) if match else 0
        self.headers = [tuple(line.split(":", 1)) for line in lines[1:] if ":" in line]

    def header(self, name):
        values = [value.strip() for key, value in self.headers if key.lower() == name.lower()]
        return values[0] if values else None

    def __str__(self):
        return f"{self.status} {self.headers} {self.body[:200]!r}"


def connect(port, source="127.0.0.9"):
    """Every address of 127.0.0.0/8 is this machine, so that clients can have several."""
    return socket.create_connection(("127.0.0.1", port), ANSWER_MAX_S, (source, 0))


def request(target, headers=(), method="GET", body=b"", close=True, host="api.example.com"):
    """The bytes of a request; nothing is normalised."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if close and not any(name.lower() == "connection" for name, _ in headers):
        lines.append("Connection: close")
    if body and not any(name.lower() == "transfer-encoding" for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def ask(port, *arguments, source="127.0.0.9", **named):
    """One request on a connection of its own."""
    try:
        with connect(port, source) as connection:
            try:
                connection.sendall(request(*arguments, **named))
            except OSError:
                pass  # it may be answered before all of it was read
            raw = b""
            while len(raw) < ANSWER_MAX_BYTES and (part := connection.recv(65536)):
                raw += part
    except OSError:
        return Answer(b"")
    return Answer(raw)


class Connection:
    """A connection that stays open."""

    def __init__(self, port):
        self.socket, self.raw = connect(port), b""

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.socket.close()

    def send(self, raw):
        self.socket.sendall(raw)

    def read(self):
        """The next answer."""
        while b"\r\n\r\n" not in self.raw:
            self._more()
        answer = Answer(self.raw)
        if length := answer.header("Content-Length"):
            end = len(self.raw) - len(answer.body) + int(length)
            while len(self.raw) < end:
                self._more()
        else:  # chunked
            while b"\r\n0\r\n\r\n" not in self.raw:
                self._more()
            end = self.raw.index(b"\r\n0\r\n\r\n") + 7
        one, self.raw = self.raw[:end], self.raw[end:]
        return Answer(one)

    def _more(self):
        part = self.socket.recv(65536)
        assert part, f"the connection ended after {self.raw!r}"
        self.raw += part


class Relay(socketserver.ThreadingTCPServer):
    """Passes connections on, so that they come from another address of this machine."""

    daemon_threads = True

    def __init__(self, port, source):
        self.to = port, source
        super().__init__(("127.0.0.1", 0), _Relayed)
        self.port = self.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)

    def handle_error(self, request, client_address):
        """One end goes away."""


class _Relayed(socketserver.BaseRequestHandler):
    def handle(self):
        with connect(*self.server.to) as near:
            back = threading.Thread(target=self.pass_on, args=(near, self.request), daemon=True)
            back.start()
            self.pass_on(self.request, near)
            back.join()

    @staticmethod
    def pass_on(taken, given):
        try:
            while part := taken.recv(65536):
                given.sendall(part)
            given.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has ended


def until(what, holds, limit_s=START_MAX_S):
    """Waits until something holds."""
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {limit_s} s")
        time.sleep(0.05)


class Process:
    """A process with all that it starts: a group of its own, ended as a whole."""

    running = []

    def __init__(self, command, folder, environment=None):
        self.log = folder / "output"
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                [str(part) for part in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        Process.running.append(self)

    def signal(self, number):
        os.kill(self.child.pid, number)

    def said(self):
        return self.log.read_text(errors="replace")[-2000:]

    def await_port(self, port):
        def is_open():
            assert self.child.poll() is None, f"{self.child.args} ended: {self.said()}"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(f"{self.child.args[0]} listens", is_open)

    def end(self):
        """In good order, else by force."""
        if self in Process.running:
            Process.running.remove(self)
        for number in [signal.SIGCONT, signal.SIGTERM]:
            self._group(number)
        try:
            self.child.wait(END_MAX_S)
        except subprocess.TimeoutExpired:
            pass
        self._group(signal.SIGKILL)
        self.child.wait(END_MAX_S)

    def _group(self, number):
        try:
            os.killpg(self.child.pid, number)
        except ProcessLookupError:
            pass


def end_all():
    while Process.running:
        Process.running[-1].end()
