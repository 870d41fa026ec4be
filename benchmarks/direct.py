"""Upload the same bytes to the same S3 with boto3 alone, as a baseline for the servers.

The upload runs in a process of its own, to separate its CPU time from the benchmark's:

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

_NO_CHECKSUM: dict[str, Any] = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}

KINDS = {
    "boto3, CRC-32": (True, {"ChecksumAlgorithm": "CRC32"}),
    "boto3, no checksum": (True, {}),
    "boto3, defaults": (False, {}),
}
"""For each kind, whether to leave out signatures of payloads and boto3's default checksum, and the
extra arguments of each call. The first kind protects the bytes as this project does."""


@dataclass(frozen=True, slots=True)
class UploadCost:
    """The cost of an upload: seconds, and the CPU seconds and peak memory of its process."""

    wall: float
    cpu: float
    peak_rss: int


class RepeatedBlock(io.RawIOBase):
    """A virtual file of `size` bytes that repeats one block."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._position = 0
        self._block = memoryview(block())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}
        self._position = bases[whence] + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        remaining = max(0, self._size - self._position)
        if size is not None and size >= 0:
            remaining = min(size, remaining)
        chunks: list[memoryview] = []
        while remaining:
            start = self._position % len(self._block)
            chunks.append(self._block[start : start + remaining])
            self._position += len(chunks[-1])
            remaining -= len(chunks[-1])
        return b"".join(chunks)


def upload(kind: str, *, environ: Mapping[str, str], **options: object) -> UploadCost:
    """Upload in a new process and return the cost.

    Args:
        kind: a key of `KINDS`.
        environ: the environment of the process, with the credentials.
        options: `endpoint`, `bucket`, `key`, `size`, `part_size` and `parallel`.
    """
    completed = subprocess.run(
        [sys.executable, "-m", "benchmarks.direct", json.dumps({"kind": kind, **options})],
        cwd=ROOT,
        env=dict(environ),
        check=True,
        stdout=subprocess.PIPE,
    )
    return UploadCost(**json.loads(completed.stdout))


def _main() -> None:
    """Upload with the options in the first argument, and print the cost as JSON."""
    options = json.loads(sys.argv[1])
    is_minimal, extra_args = KINDS[options["kind"]]
    s3: Any = {"addressing_style": "path"}
    if is_minimal:
        s3["payload_signing_enabled"] = False
    pool = options["parallel"] + 10
    config = Config(s3=s3, max_pool_connections=pool, **(_NO_CHECKSUM if is_minimal else {}))
    client = boto3.session.Session().client("s3", endpoint_url=options["endpoint"], config=config)
    transfer = TransferConfig(
        multipart_threshold=options["part_size"],
        multipart_chunksize=options["part_size"],
        max_concurrency=options["parallel"],
    )
    # Exclude the extra cost of the client's first call.
    client.put_object(Bucket=options["bucket"], Key=options["key"], Body=b"warm")
    before, began = _cpu(), time.perf_counter()
    client.upload_fileobj(
        cast("IO[bytes]", RepeatedBlock(options["size"])),
        options["bucket"],
        options["key"],
        ExtraArgs=extra_args,
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
