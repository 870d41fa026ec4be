"""Build programs from Go modules, once, into a folder that git ignores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.harness.cached import made_once, run_or_skip

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

    def install(scratch: Path) -> Path:
        go = shutil.which("go")
        if go is None:
            pytest.skip(f"{name} is built with Go, which is missing")
        built = scratch / "bin"
        command = [go, "install", "-trimpath", "-ldflags=-s -w", f"{package}@{version}"]
        failure = f"Go could not build {name}"
        run_or_skip(command, failure, seconds=BUILD_SECONDS, GOBIN=str(built))
        return built

    return made_once(f"go/{name}-{version}", install) / name
