"""The start shows whether `TUS_SPOOL_DIR` accepts files, which uploads need only under load."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tus_wsgi import SettingsError, TusMiddleware
from tus_wsgi.spool.disk import disk_error
from tus_wsgi.spool.spool import Spool

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def start(directory: Path) -> TusMiddleware:
    environ = {"TUS_S3_BUCKET": "uploads", "TUS_LOCKER": "memory", "TUS_SPOOL_DIR": str(directory)}
    return TusMiddleware.from_env(app, environ=environ)


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_a_spool_directory_that_accepts_no_files_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TUS_SPOOL_DIR: .*\(No such file or directory\)"):
        start(tmp_path / "missing")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingsError, match=r"TUS_SPOOL_DIR: .*\(Not a directory\)"):
        start(file)
    start(tmp_path)


def test_a_full_disk_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uploads that fit into memory are stored without a file."""

    def fail(_spool: Spool) -> None:
        raise disk_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    monkeypatch.setattr(Spool, "file", fail)
    start(tmp_path)
