"""Run curl and return all of its responses, including interim ones."""

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
"""The interop version of the IETF draft that the requests use."""

CONNECTION_LOST = {52, 55, 56}
"""curl's exit codes for a lost connection: nothing received, or sending or receiving failed.

https://curl.se/libcurl/c/libcurl-errors.html
"""

TIMEOUT = 100


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of a response. Field names are in lower case."""

    status: int
    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.fields[name.lower()]


@dataclass(frozen=True, slots=True)
class CurlResult:
    """The result of one request.

    Attributes:
        connection_lost: whether the connection was lost.
        responses: the heads of the responses, in order.
    """

    connection_lost: bool
    responses: list[ResponseHead]

    @property
    def final(self) -> ResponseHead:
        """The final response to the request, after any interim responses."""
        assert self.responses, "curl received nothing"
        assert self.responses[-1].status >= 200, self.responses
        return self.responses[-1]

    def interim(self) -> list[ResponseHead]:
        """Return the 104 (Upload Resumption Supported) responses."""
        return [response for response in self.responses if response.status == 104]

    def location(self) -> str | None:
        """Return the upload's URL from the first response that contains it."""
        return next(
            (response["Location"] for response in self.responses if "location" in response.fields),
            None,
        )


def curl(
    method: str,
    url: str,
    fields: Mapping[str, str] | None = None,
    file: Path | None = None,
    *,
    offset: int = 0,
    arguments: tuple[str, ...] = (),
) -> CurlResult:
    """Send a request. Its body is the content of `file` from `offset` on, if given."""
    command = shutil.which("curl")
    if command is None:
        pytest.skip("curl is missing: apt-get install curl")
    all_fields = {"Upload-Draft-Interop-Version": str(INTEROP), **(fields or {})}
    headers: list[str] = []
    for name, value in all_fields.items():
        headers += ["--header", f"{name}: {value}"]
    source = file or Path(os.devnull)
    with tempfile.NamedTemporaryFile() as dump, source.open("rb", buffering=0) as opened:
        opened.seek(offset)
        body: list[str] = []
        if file is not None:
            # For a named file, curl sends Content-Length. Standard input has an unknown length.
            body = ["--upload-file", "-" if offset else os.fspath(file)]
        completed = subprocess.run(
            [
                *(command, "--silent", "--show-error", "--noproxy", "*"),
                *("--dump-header", dump.name),
                *(["--head"] if method == "HEAD" else ["--request", method]),
                *headers,
                *body,
                *arguments,
                url,
            ],
            stdin=opened,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        heads = Path(dump.name).read_bytes().decode("latin-1")
    assert completed.returncode in {0, *CONNECTION_LOST}, completed
    responses = [_parse_head(text) for text in heads.split("\r\n\r\n") if text]
    return CurlResult(completed.returncode != 0, responses)


def _parse_head(text: str) -> ResponseHead:
    status_line, *lines = text.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return ResponseHead(
        int(status_line.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
    )
