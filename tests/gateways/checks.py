"""What every gateway has to do and must not. A check is a function of a Case; it raises what is
wrong, and returns what is worth saying, or nothing."""

import json
import re
import subprocess
import threading
import time
from urllib.parse import unquote

from common import Connection, Relay, ask, request, until
from service import is_small
from stand_in import IDENTITY, Says, StandIn

# What keyward tells the upstream.
SETS = ["decision", "key-id", "scopes", "subject", "warning"]
# What a caller pretends; upstreams that derive variables from names read all of them alike.
FORGED = [
    "X-Keyward-Subject", "x-keyward-key-id", "X-KEYWARD-SCOPES", "X_Keyward_Subject",
    "x_keyward_key_id", "X.Keyward.Subject", "X.KEYWARD.SCOPES", "X-Keyward_Subject",
    "X_Keyward-Key-Id", "X-Keyward.Key_Id", "X!Keyward!Subject", "X~Keyward~Subject",
    "X-Keyward-Caller", "X-Keyward-Status",
]
# `GET /public/{item}` is all that the key may do.
PATHS = [
    "/admin", "/public/../admin", "/public/..%2fadmin", "/public/..%2Fadmin",
    "/public/%2e%2e/admin",
    "/public/.%2e/admin", "//admin", "///admin", "/public//../admin", "/public/x;/../admin",
    "/public/..;/admin", "/public/..;x=y/admin", "/public/%2e%2e%2fadmin", "/public%2f..%2fadmin",
    "/admin%2f", "/admin/", "/admin/.", "/admin;", "/admin;x", "/./admin", "/.//admin",
    "/%2e/admin",
    "/%61dmin", "/%2561dmin", "/public/..%252fadmin", "/public/..\\admin", "/public/..%5cadmin",
    "\\admin", "/public/%00/../../admin", "/public/..%00/admin", "/public/x/../../admin",
    "/public/..%c0%afadmin", "/public/x?/../../admin",
    "/public/../admin?x=/public/x", "/public/../admin#/public/x", "/admin#/../public/x",
    "/admin?/../public/x", "http://api.example.com/admin", "http://api.example.com//admin",
    "http://api.example.com/public/../admin", "http://127.0.0.1/admin", "/admin/../public/x",
    "/public/x/../../admin/../public/x", "admin", "*", "/public/../../admin", "/../admin",
    "/public/x%0d%0aX-Keyward-Subject:%20root", "/public/..%09/admin", "/public/. ./admin",
]
# What keyward never answers, or not in good order.
WRONG = {
    "500": Says(500), "502": Says(502), "503": Says(503), "404": Says(404),
    "302": Says(302, {"Location": "/elsewhere"}), "400": Says(400),
    "nothing": Says(raw=b""), "half a head": Says(raw=b"HTTP/1.1 200 OK\r\nX-Keyward-K"),
    "one line a second": Says(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20, pause_s=1),
    "no HTTP": Says(raw=b"\0" * 64 + b"\r\n\r\n"), "a word": Says(raw=b"allow\r\n\r\n"),
}
# How long an examination takes at most: some gateways wait for what does not come.
DOCTOR_MAX_S = 300
# How many clients there are during a reload.
CLIENTS = 4
# How many requests there are at least during each reload.
LOAD_MIN = 200
RELOADS = 3


class Case:
    """A gateway that runs, the service that it asks, and the upstream behind it."""

    def __init__(self, gateway, service, upstream):
        self.gateway, self.service, self.upstream = gateway, service, upstream

    def ask(self, target, headers=(), **named):
        """The answer, and what reached the upstream."""
        self.upstream.taken()
        answer = ask(self.gateway.port, target, headers, **named)
        return answer, self.upstream.taken()

    def key(self, which="reader"):
        return ("X-API-Key", getattr(self.service, which))

    def allowed(self, target="/public/x", headers=None, **named):
        """Asks what has to be allowed; what reached the upstream."""
        answer, seen = self.ask(target, [self.key()] if headers is None else headers, **named)
        assert answer.status == 200 and len(seen) == 1, f"{answer}; upstream: {seen}"
        return seen[0]

    def denied(self, expected, target="/public/x", headers=(), **named):
        answer, seen = self.ask(target, headers, **named)
        assert answer.status in expected and not seen, f"not {expected}: {answer}; upstream: {seen}"
        return answer

    def closed(self, what):
        """There is no allow, and an answer in time."""
        begin = time.monotonic()
        answer, seen = self.ask("/public/x", [self.key()])
        took = time.monotonic() - begin
        assert not seen and not 200 <= answer.status < 300, f"{what}: {answer}; upstream: {seen}"
        assert took < self.gateway.waits_s, f"{what}: closed only after {took:.1f} s"
        return f"{answer.status or 'no answer'}"

    def opens(self):
        """It allows again."""
        until("it allows again", lambda: self.ask("/public/x", [self.key()])[0].status == 200)

    def examined(self, port):
        """The exit status of `keyward doctor gateway`, and its report by probe."""
        service = self.service
        for name in ["reader", "stranger", "here"]:
            (service.folder / f"{name}.key").write_text(getattr(service, name))
        # Not from 127.0.0.1, which keyward believes as a proxy.
        with self.upstream.away(), Relay(port, "127.0.0.10") as relay:
            ended = subprocess.run(
                [service.keyward, "doctor", "gateway", "http://api.example.com/public/x",
                 "--connect", f"127.0.0.1:{relay.port}", "--echo",
                 f"127.0.0.1:{self.upstream.port}",
                 "--credential-file", "reader.key", "--denied-credential-file", "stranger.key",
                 "--denied-path", "/admin", "--elsewhere-credential-file", "here.key",
                 "--elsewhere-address", "127.0.0.9", "--format", "json"],
                cwd=service.folder, capture_output=True, text=True, timeout=DOCTOR_MAX_S,
            )
        assert ended.returncode in (0, 1), f"exit {ended.returncode}: {ended.stderr}"
        rows = [json.loads(line) for line in ended.stdout.splitlines()]
        for name in ["reader", "stranger", "here"]:
            assert getattr(service, name) not in ended.stdout + ended.stderr, "a key is shown"
        return ended.returncode, {row["probe"]: row for row in rows}

    def stand_in(self, says):
        return StandIn(self.service.port, lambda *_asked: says)


def sets(seen):
    """What the upstream is told of the caller, by name without prefix, whatever the spelling."""
    told = {}
    for name, value in seen["headers"]:
        name = re.sub("[^a-z0-9]", "-", name.lower())
        if name.startswith("x-keyward-"):
            told.setdefault(name.removeprefix("x-keyward-"), []).append(value)
    return told


def no_credential(case, seen):
    for which in ["reader", "writer", "here", "limited"]:
        assert getattr(case.service, which) not in str(seen), f"the credential is in {seen}"


def identified(case, seen, owner="reader"):
    told = sets(seen)
    assert sorted(told) == SETS and all(len(it) == 1 for it in told.values()), f"told: {told}"
    key = getattr(case.service, owner).split("_")[2]
    assert told["key-id"] == [key] and told["subject"] == [owner], f"not of {owner}: {told}"
    no_credential(case, seen)


def allow(case):
    """200; the upstream gets the request, and who calls"""
    seen = case.allowed("/public/x?q=%20a&r=1", [case.key(), ("X-Mine", "yes")])
    assert seen["target"] == "/public/x?q=%20a&r=1" and seen["method"] == "GET", seen
    assert ("yes" in dict((k.lower(), v) for k, v in seen["headers"])["x-mine"]), seen
    identified(case, seen)
    seen = case.allowed("/public/x", [("authorization", f"bearer {case.service.reader}")])
    identified(case, seen)


def body(case):
    """the upstream gets the whole body"""
    payload = b"x" * 100_000
    seen = case.allowed(headers=[case.key("writer")], method="POST", body=payload)
    assert seen["body_bytes"] == len(payload) and seen["method"] == "POST", seen
    identified(case, seen, "writer")
    chunks = b"186a0\r\n" + payload + b"\r\n0\r\n\r\n"
    headers = [case.key("writer"), ("Transfer-Encoding", "chunked")]
    seen = case.allowed(headers=headers, method="POST", body=chunks)
    assert seen["body_bytes"] == len(payload), seen
    case.denied([403], headers=[case.key()], method="POST", body=payload[:1000])


def unknown(case):
    """401 with WWW-Authenticate, without a key or with a bad one"""
    wrong = case.service.reader
    wrong = wrong[:30] + ("a" if wrong[30] != "a" else "b") + wrong[31:]
    for headers in [
        [], [("X-API-Key", "kw_live_")], [("X-API-Key", wrong)], [("X-API-Key", "")],
        [("Authorization", f"Bearer {wrong}")], [("Authorization", "Basic cjpy")],
    ]:
        answer = case.denied([401], headers=headers)
        challenge = answer.header("WWW-Authenticate") or ""
        assert challenge.startswith("Bearer"), f"{headers}: {answer}"


def forbidden(case):
    """403 to a known key that may not"""
    for target, method in [("/public/x", "DELETE"), ("/elsewhere", "GET")]:
        answer = case.denied([403], target, [case.key()], method=method)
        assert answer.header("X-Keyward-Decision"), f"there is no decision's id: {answer}"


def too_many(case):
    """429 with Retry-After and RateLimit"""
    headers = [case.key("limited")]
    # The first may be one that a gateway asked about twice.
    case.ask("/public/x", headers)
    answer = case.denied([429], headers=headers)
    for name, value in [
        ("Retry-After", "86400"),
        ("RateLimit", '"key";r=0;t=86400'),
        ("RateLimit-Policy", '"key";q=1;w=86400'),
    ]:
        assert answer.header(name) == value, f"{name} is not {value}: {answer}"


def forged(case):
    """forged identity headers, in no spelling, reach the upstream"""
    names = FORGED + (["X-Keyward-Else", "X_Keyward_Else"] if case.gateway.strips_any_name else [])
    for name in names:
        identified(case, case.allowed(headers=[case.key(), (name, "root")]))
    everything = [(name, f"root{at}") for at, name in enumerate(names * 2)]
    identified(case, case.allowed(headers=[*everything, case.key()]))
    # What `Connection` names is for the next hop only: it must not take away who calls.
    for name in ["X-Keyward-Subject", "x-keyward-key-id", "X-API-Key", "Authorization"]:
        answer, seen = case.ask("/public/x", [case.key(), ("Connection", f"close, {name}")])
        for it in seen:
            identified(case, it)
        assert seen or answer.status >= 400, str(answer)


def credential(case):
    """the credential does not reach the upstream"""
    for name, value in [
        ("X-API-Key", case.service.reader), ("x-api-key", case.service.reader),
        ("Authorization", f"Bearer {case.service.reader}"),
    ]:
        seen = case.allowed(headers=[(name, value)])
        no_credential(case, seen)
        names = [name.lower() for name, _ in seen["headers"]]
        assert "x-api-key" not in names and "authorization" not in names, seen


def spoofed(case):
    """X-Forwarded-For and its like do not change who calls"""
    case.allowed(headers=[case.key("here")])
    case.denied([403], headers=[case.key("here")], source="127.0.0.10")
    here = "127.0.0.9"
    spoofs = [
        ("X-Forwarded-For", here), ("X-Forwarded-For", f"{here}, {here}"), ("X-Real-IP", here),
        ("Forwarded", f"for={here}"), ("X-Forwarded-For", f"{here}, 127.0.0.1"),
        ("True-Client-IP", here), ("X_Forwarded_For", here), ("X-Envoy-External-Address", here),
        ("X-Original-Forwarded-For", here),
    ]
    for spoof in spoofs:
        case.denied([403], headers=[case.key("here"), spoof], source="127.0.0.10")
    case.denied([403], headers=[case.key("here"), *spoofs], source="127.0.0.10")
    # Neither does a spoof keep anybody out, who calls from where the key may be used.
    case.allowed(headers=[case.key("here"), ("X-Forwarded-For", "203.0.113.9")])


def twice(case):
    """two credentials are none"""
    key, writer = case.service.reader, case.service.writer
    bearer = f"Bearer {key}"
    for headers in [
        [("X-API-Key", key), ("X-API-Key", writer)], [("X-API-Key", key), ("X-API-Key", key)],
        [("X-API-Key", key), ("Authorization", bearer)],
        [("Authorization", bearer), ("Authorization", f"Bearer {writer}")],
        [("X-API-Key", f"{key},{writer}")], [("X-API-Key", f"{key}, {key}")],
        [("X-API-Key", "bad"), ("X-API-Key", key)], [("X-API-Key", key), ("X-API-Key", "bad")],
        [("Authorization", "Bearer bad"), ("X-API-Key", key)],
    ]:
        # nginx refuses two lines of `Authorization` by itself.
        case.denied([400, 401], headers=headers)


def overridden(case):
    """headers about the original request are the gateway's, not the caller's"""
    for name in [
        "X-Original-URI", "X-Original-URL", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Rewrite-URL",
        "X-Envoy-Original-Path", "X_Forwarded_Uri", "X-Forwarded-Prefix",
    ]:
        case.denied([403], "/admin", [case.key(), (name, "/public/x")])
        assert case.allowed(headers=[case.key(), (name, "/admin")])["target"] == "/public/x"
    for name in ["X-Original-Method", "X-Forwarded-Method", "X-HTTP-Method-Override"]:
        case.denied([403], headers=[case.key(), (name, "GET")], method="DELETE")
        case.allowed(headers=[case.key(), (name, "DELETE")])
    pretends = ("X-Forwarded-Host", "api.example.com")
    case.denied([403], headers=[case.key(), pretends], host="other.test")
    case.allowed(headers=[case.key(), ("X-Forwarded-Host", "other.test")])


def readings(target):
    """Every path that a server may make of a target."""
    target = re.sub(r"^https?://[^/]*", "", target, flags=re.I).split("?")[0]
    found, fresh = set(), {target, target.split("#")[0]}
    while fresh:
        text = fresh.pop()
        if text in found:
            continue
        found.add(text)
        segments = []
        for segment in text.split("/"):
            if segment == "..":
                segments = segments[:-1]
            elif segment != ".":
                segments.append(segment)
        fresh |= {
            unquote(text, "latin-1"), text.replace("\\", "/"), re.sub("/+", "/", text),
            re.sub(";[^/]*", "", text), text.split("\0")[0], "/" + "/".join(segments).lstrip("/"),
            text.replace("\xc0\xaf", "/"),
        } - found
    return found


def paths(case):
    """no odd path reaches what the key may not"""
    refused = 0
    for path in PATHS:
        answer, seen = case.ask(path, [case.key()])
        for it in seen:
            bad = [way for way in readings(it["target"]) if re.match(r"/*admin(?![a-z])", way)]
            assert not bad and it["target"].startswith("/public/"), (
                f"{path} reached the upstream as {it['target']}, which may be read as {bad}"
            )
        assert seen or not 200 <= answer.status < 300, f"{path}: {answer}"
        refused += not seen
    return f"{refused} of {len(PATHS)} refused"


def connection(case):
    """on one connection each request is decided by itself"""
    with Connection(case.gateway.port) as held:
        for key, expected in [(True, 200), (False, 401), (True, 200), (False, 401)]:
            headers = [case.key()] if key else []
            held.send(request("/public/x", headers, close=False))
            answer = held.read()
            assert answer.status == expected, f"not {expected}: {answer}"
        # Two at once.
        case.upstream.taken()
        held.send(request("/public/x", [case.key()], close=False) + request("/admin", [case.key()]))
        assert [held.read().status, held.read().status] == [200, 403]
        assert [it["target"] for it in case.upstream.taken()] == ["/public/x"]


def down(case):
    """closed while keyward is down, and open from when it is back"""
    case.service.end()
    try:
        said = [case.closed("down") for _ in range(2)]
    finally:
        case.service.start()
    case.allowed()
    return said[0]


def hanging(case):
    """closed while keyward hangs, and open again afterwards"""
    case.opens()
    case.service.stop()
    try:
        said = case.closed("hanging")
    finally:
        case.service.go_on()
    case.opens()
    return said


def wrong(case):
    """closed on answers that are none (a stand-in gives them)"""
    case.service.end()
    said = {}
    for what, says in WRONG.items():
        stand_in = case.stand_in(says)
        try:
            said[what] = case.closed(what)
        finally:
            stand_in.end()
    case.service.start()
    case.opens()
    return " ".join(sorted(set(said.values())))


def incomplete(case):
    """an allow without some of keyward's headers does not let the caller's own through"""
    case.service.end()
    partial = {k: v for k, v in IDENTITY.items() if k != "X-Keyward-Subject"}
    for headers in [{}, partial]:
        stand_in = case.stand_in(Says(200, headers))
        try:
            _, seen = case.ask("/public/x", [case.key(), *((name, "root") for name in FORGED)])
        finally:
            stand_in.end()
        assert "root" not in str(seen), seen
    case.service.start()
    case.opens()


def full(case):
    """closed while the disk of keyward's log is full, and open again afterwards"""
    if not is_small(case.service.folder):
        return "LEFT OUT"
    case.service.fill()
    try:
        said = case.closed("full")
    finally:
        case.service.free()
    case.opens()
    return said


def reloads(case):
    """a reload under load drops nothing"""
    if not case.gateway.reloads:
        return "LEFT OUT"
    answers, is_over = [], threading.Event()

    def load():
        while not is_over.is_set():
            answers.append(ask(case.gateway.port, "/public/x", [case.key()]))

    case.upstream.taken()
    threads = [threading.Thread(target=load) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(RELOADS):
            case.gateway.reload()
            before = len(answers)
            until("there is load", lambda: len(answers) >= before + LOAD_MIN)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    seen = len(case.upstream.taken())
    allowed = sum(answer.status == 200 for answer in answers)
    unread = sum(answer.status == 0 for answer in answers)
    said = f"{len(answers)} requests, {unread} connections ended unread"
    assert allowed == seen and allowed + unread == len(answers), f"{said}, {allowed} allowed"
    assert unread <= case.gateway.unread_max_share * len(answers), said
    return said


def doctor(case):
    """`keyward doctor gateway` finds nothing, and in a loosened nginx what is loose"""
    status, rows = case.examined(case.gateway.port)
    failed = {probe: row["findings"] for probe, row in rows.items() if row["outcome"] == "fail"}
    assert status == 0 and not failed, f"exit {status}: {failed}"
    unseen = {probe for probe, row in rows.items() if row["outcome"] == "not-checked"}
    assert unseen == {"http2"}, f"not checked: {unseen}"
    if hasattr(case.gateway, "loosen"):
        case.gateway.loosen()
        try:
            status, loose = case.examined(case.gateway.port)
        finally:
            case.gateway.tighten()
        failed = {probe for probe, row in loose.items() if row["outcome"] == "fail"}
        assert status == 1 and failed == set(case.gateway.LOOSE), f"loosened: {failed}"
    notes = " ".join(probe for probe, row in rows.items() if row["outcome"] == "note")
    sent = sum(row["sent"] for row in rows.values())
    return f"{sent} requests, notes on: {notes or 'nothing'}"


ALL = [
    allow, body, unknown, forbidden, too_many, forged, credential, spoofed, twice, overridden,
    paths, connection, doctor, down, hanging, wrong, incomplete, full, reloads,
]
