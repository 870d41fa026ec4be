"""The two commands of the README in a fresh clone: empty home, and nothing installed by hand."""

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
from tests.harness.servers.gunicorn import ROOT, wait_until
from tests.live.demo_fixtures.running import RunningDemo, gone

pytestmark = pytest.mark.live

INSTALL_SECONDS = 400.0
"""For some hundred megabytes from the package index, on a machine that does much else."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("there is no repository to clone here")
    target = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    """That of a person who has just come: no virtual environment, and an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    ours = Path(sysconfig.get_path("scripts"))
    path = [place for place in os.environ["PATH"].split(os.pathsep) if Path(place) != ours]
    foreign = ("PYTEST", "PYTHON", "VENV", "VIRTUAL_ENV", "XDG_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
    python: str = sys._base_executable  # type: ignore[attr-defined]
    return {**kept, "PATH": os.pathsep.join(path), "HOME": str(home), "PYTHON": python}


@pytest.mark.timeout(900)
def test_both_commands_work_in_a_fresh_clone(
    clone: Path, environ: Mapping[str, str], tmp_path: Path
) -> None:
    file = some_bytes(1_000_000)
    log = tmp_path / "demo.log"
    command = ["env", f"--chdir={clone}", "script/demo", "--port", "0"]
    process = ChildProcess(command, environ=environ, log=log)
    try:
        demo = RunningDemo(process, url_of(process))
        tus = TusClient(demo.port)
        assert tus.request("GET", tus.upload(file)).body == file
        family = demo.family()
        assert demo.end(signal.SIGINT) == 0
        assert gone(family)
    finally:
        process.stop(grace=10)
    ran = subprocess.run(
        ["script/test", "tests/domain", "-k", "size"],
        cwd=clone,
        env=environ,
        check=False,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\d+ passed", ran.stdout)
    # The home has caches; what is installed for a person would lie here.
    assert not Path(environ["HOME"], ".local").exists()
    # All that was made is ignored: the clone is as clean as before.
    said = subprocess.run(
        ["git", "status", "--porcelain"], cwd=clone, check=True, capture_output=True, text=True
    )
    assert said.stdout == ""


def url_of(process: ChildProcess) -> str:
    """The page's address, which the demo says once all is installed and runs."""
    found: list[str] = []

    def ready() -> bool:
        assert process.running(), process.log_tail()
        found[:] = re.findall(r"Open +(http://\S+)", process.log.read_text(encoding="utf-8"))
        return bool(found)

    wait_until(ready, seconds=INSTALL_SECONDS)
    return found[0]
