"""The wheel contains the library and nothing else of the repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

BUILD = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"


def test_the_wheel_contains_only_the_package(tmp_path: Path) -> None:
    """The demo, the benchmarks and the tests stay in the repository."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("tus_wsgi", "demo", "benchmarks", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    wheel = tmp_path / built.stdout.splitlines()[-1]
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "tus_wsgi",
        "tus_wsgi_s3",
    }
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "tus_wsgi").rglob("*.py")}
    assert modules | {"tus_wsgi/py.typed"} <= names
