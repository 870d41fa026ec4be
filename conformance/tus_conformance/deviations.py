"""Where a server is known to differ, and why.

A file in TOML. A test that it names is expected to fail, and is reported if it does not:

    server = "example 1.2"

    [[deviation]]
    tests = ["test_version.py::test_the_412_names_the_versions*"]
    reason = "it never says Tus-Version"

`tests` are names as pytest prints them, without folders; `*` stands for anything, and a bracket
means itself. The first entry that names a test counts. With `sometimes = true` its tests may pass
as well: races are not won every time.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Deviation:
    """One known difference."""

    tests: tuple[str, ...]
    reason: str
    sometimes: bool = False

    def covers(self, name: str) -> bool:
        """Whether a test is one of those."""
        return any(_matches(pattern, name) for pattern in self.tests)


def read_deviations(path: Path | None) -> list[Deviation]:
    """Those in a file; none for None.

    Raises:
        pytest.UsageError: the file is not as above.
    """
    if path is None:
        return []
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("deviation", [])
        found = [
            Deviation(tuple(entry["tests"]), entry["reason"], entry.get("sometimes", False))
            for entry in entries
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise pytest.UsageError(f"--tus-deviations: {path}: {error!r}") from error
    if not all(one.tests and one.reason.strip() for one in found):
        raise pytest.UsageError(f"--tus-deviations: {path}: each one needs tests and a reason")
    return found


def _matches(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None
