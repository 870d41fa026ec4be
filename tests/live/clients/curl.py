"""curl, with every response that it sees: the interim ones too."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

INTEROP = 8
"""The version of the IETF's draft that is spoken."""

CUT = {52, 55, 56}
"""What curl exits with when a connection is lost: nothing received, or it cannot send or receive.

https://curl.se/libcurl/c/libcurl-errors.html
"""

SECONDS = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """A response's head; names of fields are small."""

    status: int
    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.fields[name.lower()]


@dataclass(frozen=True, slots=True)
class Ran:
    """One request.

    Attributes:
        failed: whether the connection was lost.
        seen: the responses in their order.
    """

    failed: bool
    seen: list[Seen]

    @property
    def final(self) -> Seen:
        """The response to the request; the interim ones came before it."""
        assert self.seen, "curl received nothing"
        assert self.seen[-1].status >= 200, self.seen
        return self.seen[-1]

    def interim(self) -> list[Seen]:
        """The 104 (Upload Resumption Supported) responses."""
        return [one for one in self.seen if one.status == 104]

    def location(self) -> str | None:
        """Where the upload is, by the first response that says so."""
        return next((one["Location"] for one in self.seen if "location" in one.fields), None)


def curl(
    method: str,
    url: str,
    fields: Mapping[str, str] | None = None,
    file: Path | None = None,
    *,
    offset: int = 0,
    arguments: tuple[str, ...] = (),
) -> Ran:
    """Send a request, with a file's bytes from `offset` on if there is one."""
    command = shutil.which("curl")
    if command is None:
        pytest.skip("there is no curl: apt-get install curl")
    said = {"Upload-Draft-Interop-Version": str(INTEROP), **(fields or {})}
    source = file or Path(os.devnull)
    with tempfile.NamedTemporaryFile() as dump, source.open("rb", buffering=0) as opened:
        opened.seek(offset)
        # With a name curl says how long the file is, and of its standard input it cannot know.
        body = [] if file is None else ["--upload-file", "-" if offset else os.fspath(file)]
        ran = subprocess.run(
            [
                *(
                    command,
                    "--silent",
                    "--show-error",
                    "--noproxy",
                    "*",
                    "--dump-header",
                    dump.name,
                ),
                *(["--head"] if method == "HEAD" else ["--request", method]),
                *(
                    word
                    for name, value in said.items()
                    for word in ("--header", f"{name}: {value}")
                ),
                *body,
                *arguments,
                url,
            ],
            stdin=opened,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        heads = Path(dump.name).read_bytes().decode("latin-1")
    assert ran.returncode in {0, *CUT}, ran
    return Ran(ran.returncode != 0, [_head(text) for text in heads.split("\r\n\r\n") if text])


def _head(text: str) -> Seen:
    first, *lines = text.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Seen(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs})
