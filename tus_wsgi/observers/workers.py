"""The directory in which the workers of one server share their metrics.

prometheus_client keeps the values of each process in files of the directory that
`PROMETHEUS_MULTIPROC_DIR` names, and adds them up for the page. It reads the variable when it is
imported. `tus_wsgi.gunicorn` calls the functions here in gunicorn's master process.

A counter must not decrease when a worker ends, so the files of an ended worker are added to one
file. Otherwise each restart of a worker would leave files that every page has to read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the directory."""

METRICS_PATH = "TUS_METRICS_PATH"
"""The setting that enables the metrics."""

_LOCK = "lock"
"""A file of the directory. Its lock keeps a page from reading files while they are added up. It
exists only in directories that `create_directory` has created."""

_SUMS = ("counter", "histogram", "summary")
"""Kinds of files whose values are added up. The names are `<kind>_<process id>.db`."""


def create_directory(environ: MutableMapping[str, str]) -> None:
    """Create the directory and set its variable, if there are metrics and the variable is not set.

    If the variable is set, its directory belongs to another program or to the previous master of
    this server, whose files are kept.
    """
    if not environ.get(METRICS_PATH) or environ.get(DIRECTORY):
        return
    directory = Path(tempfile.mkdtemp(prefix="tus-wsgi-metrics-"))
    (directory / _LOCK).touch()
    environ[DIRECTORY] = str(directory)


def change_owner(uid: int, gid: int) -> None:
    """Let workers that run as another user than the master write to the directory."""
    directory = _own_directory()
    if directory is not None and os.geteuid() == 0:
        os.chown(directory, uid, gid)


def add_ended_worker(pid: int) -> None:
    """Keep the counts of a worker that has ended, and remove its gauges."""
    directory = os.environ.get(DIRECTORY)
    if not directory:
        return
    # Imported here, because the variable must be set before.
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

    mark_process_dead(pid, directory)
    own = _own_directory()
    if own is not None:
        with _locked(own, fcntl.LOCK_EX):
            for kind in _SUMS:
                _add_up(own / f"{kind}_{pid}.db", own / f"{kind}_ended.db")


def keep_for_successor(environ: MutableMapping[str, str]) -> None:
    """Let the next master (SIGUSR2) use the same directory, by its environment."""
    if directory := _own_directory():
        environ[DIRECTORY] = str(directory)


def remove_directory() -> None:
    """Remove the directory, if `create_directory` has created it."""
    if directory := _own_directory():
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def reading(directory: str) -> Iterator[None]:
    """Keep the files of the directory from being added up."""
    path = Path(directory)
    if not (path / _LOCK).exists():
        yield
        return
    with _locked(path, fcntl.LOCK_SH):
        yield


def _own_directory() -> Path | None:
    """Return the directory, if `create_directory` has created it."""
    name = os.environ.get(DIRECTORY)
    return Path(name) if name and (Path(name) / _LOCK).exists() else None


@contextmanager
def _locked(directory: Path, kind: int) -> Iterator[None]:
    with (directory / _LOCK).open() as lock:
        fcntl.flock(lock, kind)
        yield


def _add_up(ended: Path, total: Path) -> None:
    """Add the values of one file to those of another, and remove the first file."""
    from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415

    if not ended.exists():
        return
    sums = MmapedDict(str(total))
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(ended)):
            sums.write_value(key, sums.read_value(key)[0] + value, timestamp)
    finally:
        sums.close()
    ended.unlink()
