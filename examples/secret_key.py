"""The key that signs sessions."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def secret_key(path: Path) -> str:
    """Return the key in a file: the same for all workers and after a restart."""
    if not path.exists():
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(secrets.token_hex(), encoding="ascii")
        with suppress(FileExistsError):  # another worker was first
            path.hardlink_to(new)
        new.unlink()
    return path.read_text(encoding="ascii")
