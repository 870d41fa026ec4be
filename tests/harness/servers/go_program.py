"""Build programs from Go modules, once, into a folder that git ignores."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[3] / ".cache" / "go"

BUILD_SECONDS = 3600.0
"""MinIO takes five minutes of a processor."""


def go_program(package: str, version: str) -> Path:
    """Return the path of a program that Go builds from a module; the first time takes minutes.

    Skip the test if there is no Go, or if it cannot build the program.

    Args:
        package: the import path of the command.
        version: the version of its module.
    """
    name = package.rpartition("/")[2]
    target = CACHE / f"{name}-{version}"
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            built = Path(scratch, "bin")
            _install(f"{package}@{version}", built)
            # Several test runs may do this at the same time: the first rename wins.
            with contextlib.suppress(OSError):
                built.rename(target)
    return target / name


def _install(program: str, directory: Path) -> None:
    """Build the program into `directory`, or skip the test."""
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"{program} is built with Go, which is missing")
    ran = subprocess.run(
        [go, "install", "-trimpath", "-ldflags=-s -w", program],
        env={**os.environ, "GOBIN": str(directory)},
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )
    if ran.returncode:
        pytest.skip(f"Go could not build {program}: {ran.stderr[-1000:]}")
