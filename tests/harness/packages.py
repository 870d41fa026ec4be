"""Python packages apart from this environment's, fetched once into a folder that git ignores."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "python"


def python_package(requirement: str, *, alone: bool = False) -> Path:
    """A folder for the `PYTHONPATH`.

    Args:
        requirement: a name and an exact version, `resumable-upload==0.3.0`.
        alone: without what it needs, which this environment has.
    """
    target = CACHE / requirement.replace("==", "-")
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            packages = Path(scratch, "packages")
            options = ["--quiet", "--disable-pip-version-check", "--target", str(packages)]
            options += ["--no-deps"] if alone else []
            subprocess.run([*_pip(), "install", *options, requirement], check=True)
            # At once, because several test runs may do this at the same time: the first one wins.
            with contextlib.suppress(OSError):
                packages.rename(target)
    return target


def _pip() -> list[str]:
    """pip for this environment, which may have been made without one (`script/bootstrap`)."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    base: str = sys._base_executable  # type: ignore[attr-defined]
    return [base, "-m", "pip", "--python", sys.executable]
