"""Pseudo-random bytes to upload, which are generated as fast as they are read."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

from tus_wsgi.domain.model import MIB

_BLOCK_SIZE = 4 * MIB
_BLOCK = random.Random(20).randbytes(_BLOCK_SIZE)


def blocks(size: int, *, seed: int = 0) -> Iterator[bytes]:
    """Yield the first `size` bytes of an endless file, which depends on `seed` only.

    Each block begins with bytes of its own, so tests notice bytes in the wrong place.
    """
    for start in range(0, size, _BLOCK_SIZE):
        mark = random.Random(f"{seed} {start // _BLOCK_SIZE}").randbytes(64)
        block = mark + _BLOCK[len(mark) :]
        yield block[: size - start]


def some_bytes(size: int, *, seed: int = 0) -> bytes:
    """Return the bytes of `blocks` in one piece."""
    return b"".join(blocks(size, seed=seed))


def write_file(path: Path, size: int) -> str:
    """Write the bytes of `blocks` to a file; return their SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in blocks(size):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
