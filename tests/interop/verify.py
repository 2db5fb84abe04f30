"""Verifies a published log with aics-tlog and cryptography, and with none of our own code.

    verify.py LOG POLICY FILE...     a FILE is a .tlog-proof, or an older checkpoint

aics-tlog      the checkpoint's Ed25519 signature; every hash tile up to the root and every entry
               up to its tile; each proof's entry under the root of the proof's own checkpoint, and
               that the log leads to the same proof; that the log continues each older checkpoint
cryptography   the ML-DSA-44 signature of every checkpoint (c2sp.org/tlog-cosignature)

Ours is only what holds them together: reading POLICY and .tlog-proof, and the layout of the message
that an ML-DSA-44 key signs, as the specification has it. Exit status: 0 accepted, 1 rejected.
"""

import struct
import sys
from base64 import b64decode
from pathlib import Path

import aics_tlog as tlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

ED25519, ML_DSA_44 = 0x01, 0x06


def check(holds, otherwise):
    if not holds:
        raise ValueError(otherwise)


def read_keys(policy):
    lines = [line.split() for line in policy.read_text().splitlines()]
    keys = [tlog.parse_vkey(words[1]) for words in lines if words[:1] == ["log"]]
    return {key.key_type: key for key in keys}


def verify_signatures(text, keys):
    note = tlog.parse_note(text)
    head = tlog.verify_checkpoint(note, keys[ED25519], expected_origin=keys[ED25519].name)
    check(head.ok, head.error)

    key = keys[ML_DSA_44]
    own = [it for it in note.signatures if (it.name, it.key_id) == (key.name, key.key_id)]
    check(len(own) == 1, f"{len(own)} ML-DSA-44 signatures")
    time, signature = own[0].signature[:8], own[0].signature[8:]
    name, origin = key.name.encode(), head.origin.encode()
    message = b"subtree/v1\n\0" + bytes([len(name)]) + name + time
    message += bytes([len(origin)]) + origin + struct.pack(">QQ", 0, head.size) + head.root
    try:
        MLDSA44PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except InvalidSignature:
        raise ValueError("the ML-DSA-44 signature is wrong") from None
    return head


def read_proof(text):
    proof, _, checkpoint = text.partition("\n\n")
    first, extra, index, *hashes = proof.split("\n")
    check(first == "c2sp.org/tlog-proof@v1", "not a proof")
    entry = b64decode(extra.removeprefix("extra "), validate=True)
    hashes = [b64decode(line, validate=True) for line in hashes]
    return entry, int(index.removeprefix("index ")), hashes, checkpoint


def verify(log, policy, files):
    keys = read_keys(policy)
    head = verify_signatures((log / "checkpoint").read_bytes(), keys)
    files_of_log = tlog.FileSystemTileReader(log)
    tlog.audit_tiles(files_of_log, head.size, head.root)
    tiles = tlog.VerifiedTileReader(files_of_log, head.size, head.root)

    proofs = [path for path in files if path.suffix == ".tlog-proof"]
    for path in proofs:
        entry, index, hashes, checkpoint = read_proof(path.read_text())
        of = verify_signatures(checkpoint, keys)
        included = tlog.verify_leaf_inclusion(entry, index, of.size, hashes, of.root)
        check(included, f"{path.name}: the entry is not included")
        made = tlog.inclusion_proof_from_tiles(tiles, index, of.size, head.size)
        check(hashes == made, f"{path.name}: another proof than aics-tlog makes of the log")

    older = [path for path in files if path not in proofs]
    for path in older:
        old = verify_signatures(path.read_bytes(), keys)
        proof = tlog.consistency_proof_from_tiles(tiles, old.size, head.size)
        continued = tlog.verify_consistency(old.size, head.size, old.root, head.root, proof)
        check(continued, f"the log does not continue {path.name}")
    return f"{head.size} entries, {len(proofs)} proofs, {len(older)} older checkpoints, ML-DSA-44"


try:
    log, policy, *files = map(Path, sys.argv[1:])
    print("accepted:", verify(log, policy, files))
except (OSError, ValueError) as error:
    sys.exit(f"rejected: {error}")
