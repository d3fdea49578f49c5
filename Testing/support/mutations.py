"""Damage to files, repeatable by seed."""

from __future__ import annotations

import random
import struct

_INTEGERS = (0, 1, 7, 255, 0x7FFF, 0x8000, 0xFFFF, 10**6, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_FLOATS = (0.0, -1.0, 1e-30, 1e30, float("inf"), float("nan"))
_WORDS = (b"0", b"-1", b"999999999", b"nan", b"inf", b"1e300", b"", b"x", b" ", b"\n")


def mutated(raw: bytes, header_bytes: int, rng: random.Random) -> bytes:
    """Return a file with one to four kinds of damage in its header, or cut short.

    Args:
        raw: A good file.
        header_bytes: How far its header reaches.
        rng: Source of chance.
    """
    result = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if result:
            _damage(result, rng.randrange(min(header_bytes, len(result))), rng)
    return bytes(result)


def _damage(raw: bytearray, at: int, rng: random.Random) -> None:
    kind = rng.randrange(8)
    if kind == 0:
        raw[at] = rng.randrange(256)
    elif kind == 1:
        raw[at] ^= 1 << rng.randrange(8)
    elif kind == 2:
        raw[at : at + 4] = struct.pack("<I", rng.choice(_INTEGERS))
    elif kind == 3:
        raw[at : at + 4] = struct.pack("<f", rng.choice(_FLOATS))
    elif kind == 4:
        raw[at : at + 2] = struct.pack("<H", rng.choice(_INTEGERS) % 65536)
    elif kind == 5:
        digits = [i for i, byte in enumerate(raw[:at]) if 48 <= byte < 58] or [at]
        at = rng.choice(digits)
        raw[at : at + 1] = rng.choice(_WORDS)
    elif kind == 6:
        raw[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    else:
        del raw[rng.randrange(len(raw)) :]
