"""A check service that answers what it is told: what keyward does not yet, or should never, answer.
HTTP/1.1, and as much of HTTP/2 as Envoy's gRPC needs, on one port."""

import socket
import socketserver
import struct
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# gRPC's codes for what HTTP calls so.
CODES = {401: 16, 403: 7, 429: 8}
IDENTITY = {
    "X-Keyward-Key-Id": "StandIn00001", "X-Keyward-Subject": "stand-in", "X-Keyward-Scopes": "-",
    "X-Keyward-Decision": "-", "X-Keyward-Warning": "-",
}


class Says:
    """An answer, or `raw` bytes in its place, with a pause before each line."""

    def __init__(self, status=200, headers=None, body=b"", raw=None, pause_s=0):
        self.status, self.headers, self.body = status, headers or {}, body
        self.raw, self.pause_s = raw, pause_s


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.connections.append(self.connection)

    def handle(self):
        line = self.rfile.readline(65537)
        if line == PREFACE[:16]:
            self.rfile.read(len(PREFACE) - 16)
            return self._http2()
        while line.strip():
            method, target, _version = line.decode("latin-1").split(" ", 2)
            headers = []
            while field := self.rfile.readline(65537).decode("latin-1").rstrip("\r\n"):
                name, value = field.split(":", 1)
                headers.append((name.lower(), value.strip()))
            self.rfile.read(int(dict(headers).get("content-length", 0)))
            said = self.server.answer(method, target, headers, None)
            if said.raw is not None:
                for part in said.raw.splitlines(keepends=True):
                    time.sleep(said.pause_s)
                    self.wfile.write(part)
                return
            fields = {"Content-Length": len(said.body), "Cache-Control": "no-store", **said.headers}
            lines = [f"HTTP/1.1 {said.status} X", *(f"{k}: {v}" for k, v in fields.items())]
            self.wfile.write("\r\n".join([*lines, "\r\n"]).encode() + said.body)
            if "close" in dict(headers).get("connection", ""):
                return
            line = self.rfile.readline(65537)

    def _http2(self):
        self._frame(4, 0, 0, b"")
        bodies = {}
        while len(head := self.rfile.read(9)) == 9:
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big")
            payload = self.rfile.read(length)
            if kind == 4 and not flags & 1:
                self._frame(4, 1, 0, b"")
            elif kind == 6 and not flags & 1:
                self._frame(6, 1, 0, payload)
            elif kind == 0:
                if flags & 8:
                    payload = payload[1:len(payload) - payload[0]]
                bodies[stream] = bodies.get(stream, b"") + payload
                if length:
                    self._frame(8, 0, 0, struct.pack(">I", length))
                if flags & 1:
                    self._check(stream, bodies.pop(stream))

    def _check(self, stream, body):
        said = self.server.answer("POST", "grpc", [], body[5:])
        if said.raw is not None:
            self._frame(0, 1, stream, said.raw)
            return
        message = check_response(said)
        self._frame(1, 4, stream, b"\x88" + field("content-type", "application/grpc"))
        self._frame(0, 0, stream, b"\0" + struct.pack(">I", len(message)) + message)
        self._frame(1, 5, stream, field("grpc-status", "0"))

    def _frame(self, kind, flags, stream, payload):
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        self.wfile.write(head + payload)


def field(name, value):
    """HPACK: a literal without indexing (RFC 7541 §6.2.2)."""
    name, value = name.encode(), value.encode()
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def proto(number, value):
    """A field of Protocol Buffers."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value if isinstance(value, bytes) else value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def check_response(said):
    """envoy.service.auth.v3.CheckResponse."""
    def options(number):
        overwrite = proto(3, 2)  # OVERWRITE_IF_EXISTS_OR_ADD
        pairs = [proto(1, proto(1, k.lower()) + proto(2, str(v))) for k, v in said.headers.items()]
        return b"".join(proto(number, pair + overwrite) for pair in pairs)

    if said.status == 200:
        return proto(1, b"") + proto(3, options(2))
    denied = proto(1, proto(1, said.status)) + options(2) + proto(3, said.body)
    return proto(1, proto(1, CODES.get(said.status, 14))) + proto(2, denied)


class StandIn(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, port, answer):
        self.answer, self.connections = answer, []
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A gateway that goes away."""

    def end(self):
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended
