"""The project's texts are plain English, without words and sentences that stop a reader."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SUFFIXES = {".py", ".md", ".toml", ".sh", ".js", ".mjs", ".cjs", ".html", ".css", ".yml", ".yaml"}
SCRIPTS = {
    ".ci/groups",
    ".ci/run",
    "script/bootstrap",
    "script/conformance-matrix",
    "script/demo",
    "script/test",
}

PRONOUNS = r"\b(whoever|whomever|whosoever|somebody|nobody|everybody|anybody)\b"
"""They hide what acts: the client, the request, the holder of the lock."""

INVERSIONS = r"\b(be it|be there|be they|of ours|it is worth|to one who|is (?:like )?to him who)\b"

PRIVATE_WORDS = (
    r"\b(workshop|quarantine|impatient|behind our back|memos?|splices?|north wing|south wing"
    r"|the two wings|the roof|the house|entrust|hogs|swarm|lapse[sd]?|prolong(?:s|ed)?)\b"
)
"""Names that only this project had. docs/architecture.md has the names that replaced them."""

OLD_NAMES = (
    r"\b(audience|telling|yard|HeldBody|ImpatientResponse|PacedSocket|TellingLocker"
    r"|PATIENCE|LONGEST_\w+|MOST_[A-Z]\w+)\b"
)
"""Names that were replaced, in their own case: a classifier of PyPI has "Audience"."""

WHAT = (
    r"(?m)(?:^|[.!?:]\s+|\"\"\"|# |^\s*[-*|] )"
    r"What (?:is|was|are|were)\s[^.?!]*?,\s(?:is|are|was|were)\b"
)
"""A sentence whose subject is a clause with "What"."""

WHO = r"(?m)(?:^|[.!?:]\s+|\"\"\"|# |^\s*[-*|] )Who (?![^.\n]*\?)[a-z]"
"""A sentence whose subject is "Who". A question may begin with it."""

CASE_ID = r'"""(?:D-\d\d,? ?)*\(?[A-CW]\d{1,2}\b'
"""A case of a list that is not in this repository. A docstring states the rule itself."""

PATTERNS = {
    "pronoun": re.compile(PRONOUNS, re.IGNORECASE),
    "inversion": re.compile(INVERSIONS, re.IGNORECASE),
    "private word": re.compile(PRIVATE_WORDS, re.IGNORECASE),
    "old name": re.compile(OLD_NAMES),
    "who": re.compile(WHO),
    "what": re.compile(WHAT),
    "case id": re.compile(CASE_ID),
}

ALLOWED: dict[str, str] = {}
"""Lines that stay, with the reason. At most five in all."""


def texts() -> list[Path]:
    """Return the files of the project that people read."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    paths = [ROOT / name for name in listed if Path(name).suffix in SUFFIXES or name in SCRIPTS]
    return [path for path in paths if path.is_file() and path != Path(__file__)]


def findings(text: str) -> list[str]:
    """Return the lines of a text that have a word or a form from above."""
    lines = text.splitlines()
    found = []
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            line = lines[text.count("\n", 0, match.start(0) + len(match[0]) - 1)].strip()
            if line not in ALLOWED:
                found.append(f"{kind}: {line}")
    return found


def test_the_text_is_plain_english() -> None:
    """Name the thing that acts, and use the field's terms. See the style guide of the project."""
    if not (ROOT / ".git").exists():
        pytest.skip("this directory is no git repository")
    found = [
        f"{path.relative_to(ROOT)}: {finding}"
        for path in texts()
        for finding in findings(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_there_are_at_most_five_exceptions() -> None:
    assert len(ALLOWED) <= 5
    assert all(ALLOWED.values())


@pytest.mark.parametrize(
    "text",
    [
        "Whoever finds the budget spent waits.",
        '"""Who may change an upload: each locker implements it."""',
        '"""C11: each pod is a host of its own."""',
        '"""D-07, D-08 (A1, A2): the object cannot be read."""',
        "# Who always has data is never waited for.",
        "Nothing follows. Who is silent is not reset.",
        "the object, be it whole or not",
        "What is full, is finished.",
        "an upload that lapses",
        "class ImpatientResponse:",
        "MOST_PARTS = 5",
    ],
)
def test_such_sentences_are_found(text: str) -> None:
    assert findings(text)


@pytest.mark.parametrize(
    "text",
    [
        "Who may upload? Everyone with the URL.",
        "the client who sends",
        "What is tested",
        "Intended Audience :: Developers",
    ],
)
def test_other_sentences_are_not(text: str) -> None:
    assert not findings(text)
