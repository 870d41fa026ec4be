"""The `tus-conformance` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from .deviations import BUNDLED
from .options import OPTIONS, Options
from .rules import LEVELS, PRACTICE

PACKAGE = Path(__file__).parent

EPILOG = f"""
Deviations that come with the suite: {", ".join(sorted(BUNDLED))}.

Exit codes: 0 if every test passed or deviates as declared, 1 if a test failed, 2 if the command
line is wrong, 4 if the server does not respond or a deviations file is invalid.

Arguments after "--" are pytest's: tus-conformance URL -- -x --tb=short
"""


class _OptionsPlugin:
    """Passes the command line on to the hooks in conftest.py."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[OPTIONS] = self.options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite against a server and return the exit code."""
    own, pytest_arguments = _split(sys.argv[1:] if arguments is None else arguments)
    namespace = _parser().parse_args(own)
    selected = ["-k", namespace.k] if namespace.k else []
    command = [
        *("-c", str(PACKAGE / "pytest.ini"), "--rootdir", str(PACKAGE), str(PACKAGE)),
        *selected,
        *pytest_arguments,
    ]
    return int(pytest.main(command, plugins=[_OptionsPlugin(_options(namespace))]))


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the arguments at the first `--` into those of this command and those of pytest."""
    words = list(arguments)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tus-conformance",
        description="Test a server of tus 1.0.0 and of IETF resumable uploads over HTTP. "
        "The tests leave their uploads behind: use a server whose storage can be thrown away.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("url", metavar="URL", help="where uploads are created, such as http://127.0.0.1:8000/files")
    add("--second-url", metavar="URL", help="the same uploads, served by another worker or host")
    add("--expiring-url", metavar="URL", help="a server whose unfinished uploads expire soon")
    add("--expires", metavar="SECONDS", type=float, help="after how long they expire")
    add("--stall", metavar="SECONDS", type=float, help="the server's timeout for an idle client")
    add("--kill", metavar="COMMAND", help="shell command that kills the workers and restarts them")
    add("--level", choices=LEVELS, default=PRACTICE, help="run tests up to this level")
    add(
        "--field",
        metavar="'NAME: VALUE'",
        type=_field,
        action="append",
        default=[],
        help="header field of every request, such as Authorization; repeatable",
    )
    add("--download", metavar="TEMPLATE", help="URL or path of a finished file, with {id} in it")
    add("--deviations", metavar="FILE", help="known deviations: a TOML file, or a name from below")
    add(
        "--report",
        metavar="FILE",
        type=_report,
        action="append",
        default=[],
        help="write a report as .json or .md; repeatable",
    )
    add("--name", metavar="NAME", help="the server's name and version in the report")
    add("--timeout", metavar="SECONDS", type=float, default=15.0, help="for each send and receive")
    add(
        "--settle",
        metavar="SECONDS",
        type=float,
        default=0.0,
        help="after a test that abandons a connection, watch the server for this long",
    )
    add(
        "--interop",
        metavar="VERSIONS",
        type=lambda text: tuple(text.replace(",", " ").split()),
        default=(),
        help="interop versions of the IETF draft that the server speaks, such as 3,5,6",
    )
    add("-k", metavar="EXPRESSION", help="run only the tests that match, as with pytest -k")
    return parser


def _options(namespace: argparse.Namespace) -> Options:
    url: str = namespace.url
    has_path = url.count("/") > 3  # `http://host/` is the root, and keeps its slash
    expiring_url: str | None = namespace.expiring_url
    if expiring_url is None and namespace.expires:
        expiring_url = url
    return Options(
        url=url.rstrip("/") if has_path else url,
        second_url=namespace.second_url,
        expiring_url=expiring_url,
        expires=namespace.expires,
        stall=namespace.stall,
        kill=namespace.kill,
        level=namespace.level,
        fields=dict(namespace.field),
        download=namespace.download,
        deviations=namespace.deviations,
        reports=tuple(namespace.report),
        name=namespace.name or url,
        timeout=namespace.timeout,
        settle=namespace.settle,
        interop=namespace.interop,
    )


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"expected 'Name: value', got {text!r}")
    return name.strip(), value.strip()


def _report(text: str) -> Path:
    path = Path(text)
    if path.suffix not in {".json", ".md"}:
        raise argparse.ArgumentTypeError(f"expected a .json or .md file, got {text!r}")
    return path


if __name__ == "__main__":
    sys.exit(main())
