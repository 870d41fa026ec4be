"""Bytes to upload: pseudo-random, never twice the same, and made as fast as they are read."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from tus_wsgi.domain.model import MIB

_STEP = 4 * MIB
_BLOCK = random.Random(20).randbytes(_STEP)


def pieces(size: int, *, seed: int = 0) -> Iterator[bytes]:
    """The first `size` bytes of an endless file: a longer one begins with the shorter one.

    Each piece begins with its own number, so bytes that land in the wrong place are noticed.
    """
    for number in range(-(-size // _STEP)):
        mark = random.Random(f"{seed} {number}").randbytes(64)
        yield (mark + _BLOCK[len(mark) :])[: size - number * _STEP]


def some_bytes(size: int, *, seed: int = 0) -> bytes:
    """The same in one piece."""
    return b"".join(pieces(size, seed=seed))


def write_file(path: Path, size: int) -> str:
    """Write the bytes to a file, and return their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in pieces(size):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()
