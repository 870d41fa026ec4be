"""Run Node scripts with npm packages, which are installed once into a folder that git ignores."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.npm import find_npm
from demo.process import SetupError

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "node"

INSTALL_SECONDS = 180.0


def node_packages(*packages: str) -> Path:
    """Return a `node_modules` with packages at exact versions, such as `uppy@6.0.1`.

    Skip the test if there is no npm or no network.
    """
    target = CACHE / "+".join(package.replace("/", "_") for package in packages)
    if not target.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            installed = Path(scratch, "installed")
            installed.mkdir()
            _install(packages, installed)
            # Several test runs may do this at the same time: the first rename wins.
            with contextlib.suppress(OSError):
                installed.rename(target)
    return target / "node_modules"


def _install(packages: tuple[str, ...], directory: Path) -> None:
    """Install npm packages in `directory`, or skip the test."""
    try:
        npm = find_npm()
    except SetupError as error:
        pytest.skip(str(error))
    # Scripts of the packages do not run.
    options = ["--ignore-scripts", "--no-audit", "--no-fund", f"--prefix={directory}"]
    ran = subprocess.run(
        [npm, "install", *options, *packages],
        check=False,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    if ran.returncode:
        pytest.skip(f"npm could not install {packages}: {ran.stderr[-1000:]}")


def run_node(
    script: Path, options: Mapping[str, object], *, modules: Path, seconds: float
) -> dict[str, object]:
    """Run a CommonJS script with `options` as JSON; return the JSON that it prints."""
    scripts = sysconfig.get_path("scripts")
    node = shutil.which("node") or shutil.which("node", path=scripts)
    assert node is not None, "npm without node"
    ran = subprocess.run(
        [node, str(script), json.dumps(options)],
        env={**os.environ, "NODE_PATH": str(modules)},
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert ran.returncode == 0, f"{script.name} failed:\n{ran.stdout}\n{ran.stderr}"
    printed: dict[str, object] = json.loads(ran.stdout)
    return printed
