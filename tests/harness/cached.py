"""Make programs and packages that tests need once, in a folder that git ignores."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache"


def made_once(name: str, make: Callable[[Path], Path]) -> Path:
    """Return a folder of the cache, which is made if it does not exist.

    Args:
        name: the path of the folder in the cache.
        make: makes a folder in the empty folder that it gets, and returns its path.
    """
    target = CACHE / name
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = make(Path(scratch))
            # Several test runs may do this at the same time: the first rename wins.
            with contextlib.suppress(OSError):
                made.rename(target)
    return target


def run_or_skip(command: Sequence[str], failure: str, *, seconds: float, **environ: str) -> None:
    """Run a command that makes something, or skip the test if the command fails.

    Args:
        command: the command.
        failure: what has failed then, for the reason of the skip.
        seconds: the timeout.
        environ: more environment variables.
    """
    ran = subprocess.run(
        command,
        env={**os.environ, **environ},
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if ran.returncode:
        pytest.skip(f"{failure}: {ran.stderr[-1000:]}")
