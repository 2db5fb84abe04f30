"""Runs every check against every gateway. See run.sh."""

import fcntl
import os
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from pathlib import Path

import checks
import gateways
from common import end_all
from service import Service, is_small
from upstream import Upstream


def run(gateway_type, keyward, disk, upstream):
    """The gateway's name and version, and the outcome of each check: `ok`, `LEFT OUT`, `FAILED`."""
    outcomes = {}
    service = Service(keyward, disk / "keyward")
    gateway = gateway_type(disk.parent / gateway_type.__name__, service.port, upstream.port)
    name = f"{gateway.name} {gateway.version()}"
    try:
        service.start()
        gateway.start()
        case = checks.Case(gateway, service, upstream)
        for check in checks.ALL:
            if is_wanted(check):
                outcomes[check] = outcome(name, check, case)
    except Exception:  # it is reported, and the others go on
        traceback.print_exc()
        print(f"FAILED   {name} or keyward does not run")
    finally:
        end_all()
        shutil.rmtree(service.folder)
    if outcomes and "FAILED" in outcomes.values():
        print(f"{name} said: {gateway.process.said()}")
    return name, outcomes


def outcome(name, check, case):
    begin = time.monotonic()
    try:
        said = check(case)
        result = "LEFT OUT" if said == "LEFT OUT" else "ok"
    except Exception as error:
        result, said = "FAILED", error
        if not isinstance(error, AssertionError):
            traceback.print_exc()
    took = time.monotonic() - begin
    more = f": {said}" if said and said != result else ""
    print(f"{result:8} {name}: {check.__doc__}{more} ({took:.1f} s)", flush=True)
    if result == "FAILED":
        recover(case.service)
    return result


def recover(service):
    """After a check that broke off: keyward runs, and its disk has space."""
    (service.folder / "filling").unlink(missing_ok=True)
    service.end()
    service.start()


def network():
    """In a namespace of its own the loopback network is down at first, and can be set up."""
    if "GATEWAYS_NAMESPACE" not in os.environ:
        return
    up = struct.pack("16sh14x", b"lo", 0x49)  # IFF_UP, IFF_LOOPBACK, IFF_RUNNING
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    # As host/docs/gateways.md tells who reloads Caddy.
    Path("/proc/sys/net/ipv4/tcp_migrate_req").write_text("1")


def is_wanted(what):
    """Arguments restrict the run to some gateways and some checks, for one's own use."""
    wanted = sys.argv[3:]
    names = [it.__name__ for it in (gateways.ALL if what in gateways.ALL else checks.ALL)]
    return what.__name__ in wanted or not set(wanted) & set(names)


def table(results):
    names = [name for name, _ in results]
    chosen = [check for check in checks.ALL if is_wanted(check)]
    print("\n" + " " * 12 + "  ".join(names))
    for check in chosen:
        cells = [outcomes.get(check, "FAILED") for _, outcomes in results]
        line = "  ".join(cell.ljust(len(name)) for cell, name in zip(cells, names))
        print(f"{check.__name__:12}{line}  {check.__doc__}")
    return [outcomes.get(check, "FAILED") for _, outcomes in results for check in chosen]


def main():
    keyward, disk = sys.argv[1], Path(sys.argv[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    network()
    upstream = Upstream()
    results = []
    try:
        for gateway_type in gateways.ALL:
            if is_wanted(gateway_type):
                results.append(run(gateway_type, keyward, disk, upstream))
    finally:
        end_all()
    cells = table(results)
    print()
    if not is_small(disk):
        print("LEFT OUT: the full disk. Namespaces with mounts are not permitted here.")
    passed, failed, skipped = (cells.count(it) for it in ["ok", "FAILED", "LEFT OUT"])
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
