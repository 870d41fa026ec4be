"""The options of a run: where the server is, and what the suite cannot find out by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from .wire import Value


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run.

    Attributes:
        url: where uploads are created.
        second_url: the same uploads, served by another worker or host.
        expiring_url: a server whose uploads expire after `expires` seconds.
        expires: seconds; None if nothing expires soon.
        stall: seconds after which the server times out an idle client; None if unknown.
        kill: a shell command that kills the server's workers and starts new ones.
        level: the highest level of `LEVELS` that runs.
        fields: header fields of every request.
        download: where finished files can be read: a URL or a path, with `{id}` in it.
        deviations: a file of known deviations, or the name of one in this package.
        reports: files to write.
        name: the server's name in the report.
        timeout: seconds for each send and receive.
        settle: seconds to watch the server after a test that abandoned a connection.
        interop: interop versions of the IETF draft that the server speaks.
    """

    url: str
    second_url: str | None
    expiring_url: str | None
    expires: float | None
    stall: float | None
    kill: str | None
    level: str
    fields: dict[str, Value]
    download: str | None
    deviations: str | None
    reports: tuple[Path, ...]
    name: str
    timeout: float
    settle: float
    interop: tuple[str, ...]


OPTIONS = pytest.StashKey[Options]()
