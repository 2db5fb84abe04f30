"""Verifies what governance has signed with pycose and cbor2, and with none of our own code.

    verify_cose.py KEYS FILE...     a FILE is a .tlog-proof of a revocation, or a statement

pycose   the COSE_Sign1: its Sig_structure and its EdDSA signature
cbor2    the entry and the claims

Ours is only what holds them together: where the COSE_Sign1 is in a .tlog-proof, and what a vkey says.
Exit status: 0 accepted, 1 rejected.
"""

import sys
from base64 import b64decode
from pathlib import Path

import cbor2
from pycose.algorithms import EdDSA
from pycose.exceptions import CoseException
from pycose.headers import KID, Algorithm, ContentType
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import CoseMessage, Sign1Message

REVOCATION = "application/vnd.keyward.revocation+cbor"
NO_ALLOW = "application/vnd.keyward.no-allow+cbor"


def check(holds, otherwise):
    if not holds:
        raise ValueError(otherwise)


def read_keys(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    keys = {}
    for line in lines:
        _, key_id, key = line.split("+", 2)
        key = b64decode(key, validate=True)
        check(key[0] == 1, "not an Ed25519 key")
        keys[bytes.fromhex(key_id)] = OKPKey(crv=Ed25519, x=key[1:])
    return keys


def read_cose(path):
    data = path.read_bytes()
    if not data.startswith(b"c2sp.org/tlog-proof@v1\n"):
        return data, NO_ALLOW
    extra = data.split(b"\n")[1].removeprefix(b"extra ")
    kind, layout, _, cose = cbor2.loads(b64decode(extra, validate=True))
    check((kind, layout) == (9, 1), "the entry is not a revocation")
    return cose, REVOCATION


def verify(path, keys):
    cose, content_type = read_cose(path)
    message = CoseMessage.decode(cose)
    check(isinstance(message, Sign1Message), "not a COSE_Sign1")
    check(message.phdr[Algorithm] is EdDSA, "not EdDSA")
    check(message.phdr[ContentType] == content_type, "signed as something else")
    check(message.phdr[KID] in keys, "signed by an unknown key")
    message.key = keys[message.phdr[KID]]
    check(message.verify_signature(), "the signature is wrong")
    claims = cbor2.loads(message.payload)
    check(cbor2.dumps(claims, canonical=True) == message.payload, "the claims are not canonical")
    return f"{content_type.split('.')[2]} key {claims[2]} of {claims[1]}"


try:
    keys, *files = map(Path, sys.argv[1:])
    keys = read_keys(keys)
    for path in files:
        print("accepted:", verify(path, keys))
except (OSError, ValueError, CoseException) as error:
    sys.exit(f"rejected: {error}")
