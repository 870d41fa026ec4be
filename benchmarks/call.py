"""What one small call to S3 costs this process, and where it goes.

python -m benchmarks.call              CPU per call, by client configuration
python -m benchmarks.call --profile    the functions that it goes to
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from demo.seaweedfs import SeaweedFS, start_seaweedfs
from tus_wsgi.spool.payload import Payload
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SIZE = 300
"""Bytes of an `.info` object, about."""

Call = Callable[[str], object]

_NO_SUM: dict[str, Any] = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


def configurations(server: SeaweedFS) -> Mapping[str, Call]:
    """Each one is the one before with one thing more."""
    unsigned = {"addressing_style": "path", "payload_signing_enabled": False}
    steps: dict[str, dict[str, Any]] = {
        "boto3, defaults": {},
        "+ no checksum of boto3's": _NO_SUM,
        "+ unsigned payload": {**_NO_SUM, "s3": unsigned},
        "+ no parameter validation": {**_NO_SUM, "s3": unsigned, "parameter_validation": False},
    }
    quiet = {**steps["+ no parameter validation"], "user_agent": "benchmark"}
    steps["+ a user agent that stands"] = quiet
    calls: dict[str, Call] = {
        name: partial(_put, _client(server, more), server.bucket) for name, more in steps.items()
    }
    as_bytearray = partial(_put, _client(server, quiet), server.bucket, kind=bytearray)
    return {
        **calls,
        "+ a bytearray, so no `Expect: 100-continue`": as_bytearray,
        "as here, with our CRC-32": partial(_put_ours, _bucket(server)),
    }


def cpu_per_call(call: Call, *, count: int) -> float:
    """Seconds of this process for one call; each has a key of its own, as uploads do."""
    call(f"warm-{count}")
    keys = [f"{time.monotonic_ns()}-{number}" for number in range(count)]
    before = time.process_time()
    for key in keys:
        call(key)
    return (time.process_time() - before) / count


def _put(client: S3Client, bucket: str, key: str, *, kind: Callable[[bytes], Any] = bytes) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=kind(b"x" * SIZE))


def _put_ours(bucket: Bucket, key: str) -> None:
    bucket.put(key, Payload.of(b"x" * SIZE))


def _bucket(server: SeaweedFS) -> Bucket:
    client = make_client(endpoint=server.endpoint, parallel_parts=10)
    return Bucket(client, server.bucket)


def _client(server: SeaweedFS, more: Mapping[str, Any]) -> S3Client:
    return boto3.session.Session().client("s3", endpoint_url=server.endpoint, config=Config(**more))


def _profile(call: Call, *, count: int) -> None:
    call("warm")
    profile = cProfile.Profile()
    keys = (f"profile-{number}" for number in range(count))
    profile.enable()
    for key in keys:
        call(key)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    pstats.Stats(profile).sort_stats("cumtime").print_stats(60)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.call", description=__doc__)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--count", type=int, default=20, help="calls in a round")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as disk, start_seaweedfs(Path(disk)) as server:
        _use(server)
        calls = configurations(server)
        if asked.profile:
            _profile(list(calls.values())[-1], count=asked.count)
            return
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _, (name, call) in itertools.product(range(asked.rounds), calls.items()):
            seconds[name].append(cpu_per_call(call, count=asked.count))
    # The least disturbed round: what else the machine does can only add.
    print("| put_object of 300 bytes | CPU ms/call |\n|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {min(values) * 1000:.2f} |")


def _use(server: SeaweedFS) -> None:
    """Let boto3 find the credentials where it looks for them."""
    import os  # noqa: PLC0415 - changed here alone

    os.environ.update(server.environ())


if __name__ == "__main__":
    main()
