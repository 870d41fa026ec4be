"""The README's two commands in a fresh clone, with an empty home and nothing installed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.process import ChildProcess
from tests.harness.clients.tus import TusClient
from tests.harness.data import some_bytes
from tests.harness.servers.gunicorn import ROOT
from tests.harness.timing import wait_until
from tests.live.demo_fixtures.running import RunningDemo, have_ended

pytestmark = pytest.mark.live

INSTALL_SECONDS = 400.0
"""Timeout for downloading some hundred megabytes of packages on a busy machine."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this directory is no git repository, or git is missing")
    target = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """The environment of a new user: no virtual environment, and an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    scripts = Path(sysconfig.get_path("scripts"))
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != scripts]
    removed = ("PYTEST", "PYTHON", "VENV", "VIRTUAL_ENV", "XDG_")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(removed)}
    python: str = sys._base_executable  # type: ignore[attr-defined]
    return {**inherited, "PATH": os.pathsep.join(path), "HOME": str(home), "PYTHON": python}


@pytest.mark.timeout(900)
def test_the_demo_works_in_a_fresh_clone(
    clone: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    file = some_bytes(1_000_000)
    log = tmp_path / "demo.log"
    command = ["env", f"--chdir={clone}", "script/demo", "--port", "0"]
    process = ChildProcess(command, environ=environ, log=log)
    try:
        demo = RunningDemo(process, wait_for_url(process))
        tus = TusClient(demo.port)
        assert tus.request("GET", tus.upload(file)).body == file
        processes = demo.processes()
        assert demo.stop(signal.SIGINT) == 0
        assert have_ended(processes)
    finally:
        process.stop(grace=10)
    assert run(clone, environ, "script/demo", "--help").startswith("Usage: script/demo")
    assert_clean(clone, environ)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_tests_run_in_a_fresh_clone(clone: Path, environ: Mapping[str, str]) -> None:
    """Needed outside of CI only: CI itself runs script/test in a fresh clone."""
    assert re.search(
        r"\d+ passed", run(clone, environ, "script/test", "tests/domain", "-k", "size")
    )
    assert_clean(clone, environ)


def assert_clean(clone: Path, environ: Mapping[str, str]) -> None:
    # Caches may be in the home, but no packages installed for the user.
    assert not Path(environ["HOME"], ".local").exists()
    # git ignores all new files.
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True, text=True
    )
    assert status.stdout == ""


def run(clone: Path, environ: Mapping[str, str], *command: str) -> str:
    """Run a command in the clone and return its output."""
    completed = subprocess.run(
        command,
        cwd=clone,
        env=environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def wait_for_url(process: ChildProcess) -> str:
    """Wait until the packages are installed and the demo runs. Return the URL of its page."""
    found: list[str] = []

    def ready() -> bool:
        assert process.running(), process.log_tail()
        found[:] = re.findall(r"Open +(http://\S+)", process.log.read_text(encoding="utf-8"))
        return bool(found)

    wait_until(ready, seconds=INSTALL_SECONDS)
    return found[0]
