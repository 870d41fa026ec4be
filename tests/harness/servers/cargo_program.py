"""Build programs from Rust crates, once, into a folder that git ignores."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.harness.cached import made_once, run_or_skip

BUILD_SECONDS = 3600.0


def cargo_program(crate: str, version: str, *, features: Sequence[str]) -> Path:
    """Return the path of a program that Cargo builds from a crate; the first time takes minutes.

    Skip the test if there is no Cargo, or if it cannot build the program.

    Args:
        crate: the name of the crate and of its program.
        version: the version of the crate.
        features: the features to build, instead of the default features.
    """

    def install(scratch: Path) -> Path:
        cargo = shutil.which("cargo")
        if cargo is None:
            pytest.skip(f"{crate} is built with Cargo, which is missing")
        command = [
            *(cargo, "install", crate, "--version", version, "--locked", "--root", str(scratch)),
            # This profile omits the optimisation, which takes twice as long as everything else.
            *("--profile", "dev", "--no-default-features", "--features", ",".join(features)),
        ]
        failure = f"Cargo could not build {crate}"
        run_or_skip(command, failure, seconds=BUILD_SECONDS, CARGO_PROFILE_DEV_DEBUG="0")
        return scratch / "bin"

    return made_once(f"cargo/{crate}-{version}", install) / crate
