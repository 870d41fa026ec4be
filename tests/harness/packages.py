"""Install Python packages outside of the environment, once, into a folder that git ignores."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.harness.cached import made_once


def python_package(requirement: str, *, alone: bool = False) -> Path:
    """Return a folder with a package, for `PYTHONPATH`.

    Args:
        requirement: a name and an exact version, such as `resumable-upload==0.3.0`.
        alone: whether to leave out its dependencies, which this environment has.
    """

    def install(scratch: Path) -> Path:
        packages = scratch / "packages"
        options = ["--quiet", "--disable-pip-version-check", "--target", str(packages)]
        options += ["--no-deps"] if alone else []
        subprocess.run([*_pip(), "install", *options, requirement], check=True)
        return packages

    return made_once(f"python/{requirement.replace('==', '-')}", install)


def _pip() -> list[str]:
    """Return the pip command for this environment, which may have no pip (`script/bootstrap`)."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    base: str = sys._base_executable  # type: ignore[attr-defined]
    return [base, "-m", "pip", "--python", sys.executable]
