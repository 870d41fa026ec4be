"""The key that signs sessions."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def secret_key(path: Path) -> str:
    """Return the key in a file, and create it if it is missing. All workers get the same key."""
    if not path.exists():
        new = path.with_suffix(f".{os.getpid()}")
        # A hard link appears with its content, so no worker reads an unfinished key.
        new.write_text(secrets.token_hex(), encoding="ascii")
        with suppress(FileExistsError):  # another worker was first
            path.hardlink_to(new)
        new.unlink()
    return path.read_text(encoding="ascii")
