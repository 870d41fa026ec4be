"""The examples in docs/observability.md are what a server really prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.seaweedfs import SeaweedFS
from tests.app.observed_upload import BLOCK, DOCUMENT

ROOT = Path(__file__).parents[2]

VARYING = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "<time>"),
    (r"upload=[0-9a-f]{8}", "upload=<fingerprint>"),
    (r"request=[0-9a-f]{16}", "request=<id>"),
    (r"seconds=\d+\.\d+", "seconds=<seconds>"),
    (r" +\d+\.\d ms", " <duration>"),
    (r"(_sum(?:\{.*\})?) \S+", r"\1 <seconds>"),
]
"""What differs from run to run."""


def blocks(text: str) -> dict[str, str]:
    """Return the content of each block by its name, without what differs from run to run."""
    found = {block["name"]: block["content"] for block in BLOCK.finditer(text)}
    for name, content in found.items():
        for pattern, replacement in VARYING:
            content = re.sub(pattern, replacement, content)  # noqa: PLW2901
        found[name] = content
    return found


def test_the_examples_are_what_a_server_prints(s3: SeaweedFS) -> None:
    """To update them, run `python -m tests.app.observed_upload --write`."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.app.observed_upload"],
        cwd=ROOT,
        env=os.environ | s3.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    printed = blocks(ran.stdout)
    assert set(printed) == {"scrape", "trace", "log"}
    assert blocks(DOCUMENT.read_text(encoding="utf-8")) == printed


@pytest.mark.parametrize("name", ["scrape", "trace", "log"])
def test_the_document_has_each_example(name: str) -> None:
    assert blocks(DOCUMENT.read_text(encoding="utf-8"))[name].count("\n") >= 3
