"""The upstream: a server that notes and answers, as JSON, what reached it."""

import json
import socketserver
import threading


class _Handler(socketserver.StreamRequestHandler):
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


class Upstream(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        self.seen = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A gateway that goes away."""

    def taken(self):
        """What reached it since it was last asked."""
        seen, self.seen = self.seen, []
        return seen
