"""Known deviations of a server, each with its reason.

A deviations file is TOML:

    server = "example 1.2"

    [[deviation]]
    tests = ["test_version.py::test_the_412_lists_the_versions*"]
    reason = "Tus-Version is never sent"

`tests` are names as pytest prints them, without folders. `*` matches any text; brackets match
themselves. The first entry that names a test applies. The test is then expected to fail; if it
passes, this is reported as an error. With `sometimes = true` the test may also pass, for races.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

BUNDLED = {path.stem: path for path in Path(__file__).with_name("deviations").glob("*.toml")}
"""The deviations files in this package, by name."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """A known deviation."""

    tests: tuple[str, ...]
    reason: str
    sometimes: bool = False

    def covers(self, name: str) -> bool:
        """Return whether this deviation names the test."""
        return any(_matches(pattern, name) for pattern in self.tests)


def read_deviations(name: str | None) -> list[Deviation]:
    """Read a file, or the file of that name in this package.

    Raises:
        pytest.UsageError: the file does not exist or is not valid.
    """
    if name is None:
        return []
    path = BUNDLED.get(name, Path(name))
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("deviation", [])
        deviations = [
            Deviation(tuple(entry["tests"]), entry["reason"], entry.get("sometimes", False))
            for entry in entries
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise pytest.UsageError(f"--deviations: {path}: {error!r}") from error
    if not all(deviation.tests and deviation.reason.strip() for deviation in deviations):
        raise pytest.UsageError(f"--deviations: {path}: every entry needs tests and a reason")
    return deviations


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None
