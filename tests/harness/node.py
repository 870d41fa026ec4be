"""Run Node scripts with npm packages, which are installed once into a folder that git ignores."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.npm import find_npm
from demo.process import SetupError
from tests.harness.cached import made_once, run_or_skip

INSTALL_SECONDS = 180.0


def node_packages(*packages: str) -> Path:
    """Return a `node_modules` with packages at exact versions, such as `uppy@6.0.1`.

    Skip the test if there is no npm or no network.
    """

    def install(scratch: Path) -> Path:
        installed = scratch / "installed"
        installed.mkdir()
        # Scripts of the packages do not run.
        options = ["--ignore-scripts", "--no-audit", "--no-fund", f"--prefix={installed}"]
        command = [npm_or_skip(), "install", *options, *packages]
        run_or_skip(command, f"npm could not install {packages}", seconds=INSTALL_SECONDS)
        return installed

    name = "+".join(package.replace("/", "_") for package in packages)
    return made_once(f"node/{name}", install) / "node_modules"


def npm_or_skip() -> str:
    """Return the path of `npm`, or skip the test if it is missing."""
    try:
        return find_npm()
    except SetupError as error:
        pytest.skip(str(error))


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
