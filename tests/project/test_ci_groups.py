"""The groups of tests that CI runs at the same time (`.ci/groups`)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
IGNORE = "--ignore="


class Group(NamedTuple):
    """The arguments of one run of pytest: paths, and paths that it leaves out."""

    paths: list[Path]
    ignored: list[Path]

    def has(self, file: Path) -> bool:
        """Whether pytest collects the file."""
        return is_below(file, self.paths) and not is_below(file, self.ignored)


def is_below(file: Path, paths: list[Path]) -> bool:
    return any(file.is_relative_to(path) for path in paths)


def arguments() -> list[list[str]]:
    """Return the arguments of each group."""
    lines = (ROOT / ".ci" / "groups").read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def groups() -> list[Group]:
    return [
        Group(
            paths=[ROOT / word for word in words if not word.startswith("-")],
            ignored=[ROOT / word.removeprefix(IGNORE) for word in words if word.startswith("-")],
        )
        for words in arguments()
    ]


def test_every_test_file_is_in_exactly_one_group() -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    counts = {str(file.relative_to(ROOT)): count_of(file) for file in files}
    assert len(counts) > 200
    assert {name: count for name, count in counts.items() if count != 1} == {}


def count_of(file: Path) -> int:
    """Return how many groups have the file."""
    return sum(group.has(file) for group in groups())


def test_the_groups_name_existing_paths() -> None:
    words = [word.removeprefix(IGNORE) for words in arguments() for word in words]
    assert [word for word in words if not (ROOT / word).exists()] == []


def test_a_new_file_is_in_exactly_one_group() -> None:
    folders = {file.parent for file in (ROOT / "tests").rglob("test_*.py")}
    new = [folder / "test_new.py" for folder in [*folders, ROOT / "tests" / "new"]]
    assert [file for file in new if count_of(file) != 1] == []
