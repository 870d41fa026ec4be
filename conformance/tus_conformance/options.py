"""The command line: where the server is, and what the suite may not find out by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from .rules import LEVELS, PRACTICE
from .wire import Value


@dataclass(frozen=True, slots=True)
class Options:
    """What was said on the command line.

    Attributes:
        url: where uploads are created.
        second_url: the same uploads by another worker or host.
        expiring_url: a server whose uploads live for `expires` seconds.
        expires: seconds; None when nothing expires soon.
        stall: seconds of silence after which the server gives a client up; None if unknown.
        kill: a command that kills the server's workers and starts new ones.
        level: up to which tests run.
        fields: sent with every request.
        download: where finished files are read.
        deviations: the file of known ones.
        reports: files to write.
        name: of the server, for the report.
        timeout: seconds for each send or receive.
        interop: versions of the IETF's resumable uploads that the server speaks.
        settle: seconds to see whether the server survives a connection that was abandoned.
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
    deviations: Path | None
    reports: tuple[Path, ...]
    name: str
    timeout: float
    settle: float
    interop: tuple[str, ...]


def add_options(parser: pytest.Parser) -> None:
    """Tell pytest of them."""
    group = parser.getgroup("tus", "conformance with tus 1.0.0")
    add = group.addoption
    add("--tus-url", metavar="URL", help="where uploads are created")
    add("--tus-second-url", metavar="URL", help="the same uploads by another worker or host")
    add("--tus-expiring-url", metavar="URL", help="a server with a short --tus-expires")
    add("--tus-expires", metavar="SECONDS", type=float, help="how long an unfinished upload lives")
    add("--tus-stall", metavar="SECONDS", type=float, help="the server's patience with silence")
    add("--tus-kill", metavar="COMMAND", help="kills the server's workers and starts new ones")
    add("--tus-level", choices=LEVELS, default=PRACTICE, help="run the tests up to this level")
    add("--tus-field", metavar="'NAME: VALUE'", action="append", help="sent with every request")
    add("--tus-download", metavar="TEMPLATE", help="URL or path of a finished file, with {id}")
    add("--tus-deviations", metavar="FILE", type=Path, help="where the server is known to differ")
    add(
        "--tus-report", metavar="FILE", type=Path, action="append", help="*.json or *.md; repeat it"
    )
    add("--tus-name", metavar="NAME", help="the server's name and version, for the report")
    add("--tus-timeout", metavar="SECONDS", type=float, default=15.0, help="for any one answer")
    add("--tus-settle", metavar="SECONDS", type=float, default=0.0, help="for servers that may end")
    add("--tus-interop", metavar="3,5,6", help="versions of the IETF's draft that are spoken too")


def read_options(config: pytest.Config) -> Options:
    """What was said.

    Raises:
        pytest.UsageError: it makes no sense.
    """
    get = config.getoption
    url = get("--tus-url")
    if not url:
        raise pytest.UsageError("say which server to test: --tus-url=http://127.0.0.1:8000/files")
    fields: dict[str, Value] = {}
    for text in get("--tus-field") or ():
        name, colon, value = text.partition(":")
        if not colon:
            raise pytest.UsageError(f"--tus-field: expected 'Name: value', got {text!r}")
        fields[name.strip()] = value.strip()
    reports = tuple(get("--tus-report") or ())
    for path in reports:
        if path.suffix not in {".json", ".md"}:
            raise pytest.UsageError(f"--tus-report: expected a .json or .md file, got {path}")
    return Options(
        url=url.rstrip("/") if url.count("/") > 3 else url,
        second_url=get("--tus-second-url"),
        expiring_url=get("--tus-expiring-url") or (url if get("--tus-expires") else None),
        expires=get("--tus-expires"),
        stall=get("--tus-stall"),
        kill=get("--tus-kill"),
        level=get("--tus-level"),
        fields=fields,
        download=get("--tus-download"),
        deviations=get("--tus-deviations"),
        reports=reports,
        name=get("--tus-name") or url,
        timeout=get("--tus-timeout"),
        settle=get("--tus-settle"),
        interop=tuple((get("--tus-interop") or "").replace(",", " ").split()),
    )
