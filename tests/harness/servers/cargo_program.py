"""Build programs from Rust crates, once, into a folder that git ignores."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[3] / ".cache" / "cargo"

BUILD_SECONDS = 3600.0


def cargo_program(crate: str, version: str, *, features: Sequence[str]) -> Path:
    """Return the path of a program that Cargo builds from a crate; the first time takes minutes.

    Skip the test if there is no Cargo, or if it cannot build the program.

    Args:
        crate: the name of the crate and of its program.
        version: the version of the crate.
        features: the features to build, instead of the default features.
    """
    target = CACHE / f"{crate}-{version}"
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _install(crate, version, features, Path(scratch))
            # Several test runs may do this at the same time: the first rename wins.
            with contextlib.suppress(OSError):
                Path(scratch, "bin").rename(target)
    return target / crate


def _install(crate: str, version: str, features: Sequence[str], root: Path) -> None:
    """Build the program into the folder `bin` of `root`, or skip the test."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip(f"{crate} is built with Cargo, which is missing")
    ran = subprocess.run(
        [
            *(cargo, "install", crate, "--version", version, "--locked", "--root", root),
            # This profile omits the optimisation, which takes twice as long as everything else.
            *("--profile", "dev", "--no-default-features", "--features", ",".join(features)),
        ],
        env={**os.environ, "CARGO_PROFILE_DEV_DEBUG": "0"},
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )
    if ran.returncode:
        pytest.skip(f"Cargo could not build {crate}: {ran.stderr[-1000:]}")
