"""The upstream: a server that notes and answers, as JSON, what reached it."""

import contextlib
import json
import socket
import socketserver
import threading


class _Handler(socketserver.StreamRequestHandler):
    def setup(self):
        super().setup()
        self.server.connections.append(self.connection)

    def handle(self):
        while self._one():
            pass

    def _one(self):
        first = self.rfile.readline(65537).decode("latin-1").rstrip("\r\n")
        if not first:
            return False
        method, target, _version = first.split(" ", 2)
        headers = []
        while line := self.rfile.readline(65537).decode("latin-1").rstrip("\r\n"):
            name, value = line.split(":", 1)
            headers.append((name, value.strip()))
        lower = {name.lower(): value for name, value in headers}
        seen = {
            "method": method, "target": target, "headers": headers,
            "body_bytes": len(self._body(lower)),
        }
        self.server.seen.append(seen)
        body = json.dumps(seen).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + head.encode() + body)
        return lower.get("connection", "").lower() != "close"

    def _body(self, headers):
        if "chunked" not in headers.get("transfer-encoding", ""):
            return self.rfile.read(int(headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(64).split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline(8)
        while self.rfile.readline(65537) not in (b"\r\n", b"\n", b""):
            pass
        return body


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), _Handler)
        self.seen, self.connections = [], []

    def handle_error(self, request, client_address):
        """A gateway that goes away."""


class Upstream:
    def __init__(self):
        self.port, self.server = 0, None
        self._begin()

    def _begin(self):
        self.server = _Server(self.port)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def taken(self):
        """What reached it since it was last asked."""
        seen, self.server.seen = self.server.seen, []
        return seen

    @contextlib.contextmanager
    def away(self):
        """Somebody else is the upstream, at the same port."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.server.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self._begin()
