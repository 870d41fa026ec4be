"""The same bytes to the same S3 with boto3 alone, which is what a server's cost is measured by.

It runs in a process of its own, so that its CPU can be told from the benchmark's:

    python -m benchmarks.direct '{"endpoint": ..., "bucket": ..., "size": ..., ...}'
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from benchmarks.client import block
from tus_wsgi.domain.model import KIB

ROOT = Path(__file__).parents[1]

_CHEAP: dict[str, Any] = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}

KINDS = {
    "boto3, as here": (True, {"ChecksumAlgorithm": "CRC32"}),
    "boto3, no checksum": (True, {}),
    "boto3, defaults": (False, {}),
}
"""Whether the payload goes unsigned and boto3 adds no checksum of its own accord, and what is asked
of each call. The first one protects the bytes as this project does."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an upload took: seconds, CPU seconds of the uploading process, bytes at its largest."""

    wall: float
    cpu: float
    peak_rss: int


class Repeated(io.RawIOBase):
    """A file of `size` bytes that is nowhere: one block, again and again."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0
        self._block = memoryview(block())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        left = left if size is None or size < 0 else min(size, left)
        pieces: list[memoryview] = []
        while left:
            start = self._at % len(self._block)
            pieces.append(self._block[start : start + left])
            self._at += len(pieces[-1])
            left -= len(pieces[-1])
        return b"".join(pieces)


def upload(kind: str, *, environ: Mapping[str, str], **options: object) -> Cost:
    """Upload in a process of its own.

    Args:
        kind: one of `KINDS`.
        environ: its variables, with the credentials.
        options: `endpoint`, `bucket`, `key`, `size`, `part_size` and `parallel`.
    """
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.direct", json.dumps({"kind": kind, **options})],
        cwd=ROOT,
        env=dict(environ),
        check=True,
        stdout=subprocess.PIPE,
    )
    return Cost(**json.loads(ran.stdout))


def _main() -> None:
    options = json.loads(sys.argv[1])
    is_cheap, more = KINDS[options["kind"]]
    s3: Any = {"addressing_style": "path"}
    if is_cheap:
        s3["payload_signing_enabled"] = False
    pool = options["parallel"] + 10
    config = Config(s3=s3, max_pool_connections=pool, **(_CHEAP if is_cheap else {}))
    client = boto3.session.Session().client("s3", endpoint_url=options["endpoint"], config=config)
    transfer = TransferConfig(
        multipart_threshold=options["part_size"],
        multipart_chunksize=options["part_size"],
        max_concurrency=options["parallel"],
    )
    # What making the client's first call costs is not the upload's.
    client.put_object(Bucket=options["bucket"], Key=options["key"], Body=b"warm")
    before, began = _cpu(), time.perf_counter()
    client.upload_fileobj(
        cast("IO[bytes]", Repeated(options["size"])),
        options["bucket"],
        options["key"],
        ExtraArgs=more,
        Config=transfer,
    )
    wall = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    print(json.dumps({"wall": wall, "cpu": _cpu() - before, "peak_rss": peak}))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    _main()
