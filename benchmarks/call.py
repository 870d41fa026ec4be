"""Measure the CPU time of one small S3 call, by client configuration.

python -m benchmarks.call              print the CPU time of a call
python -m benchmarks.call --profile    print the functions that use it
"""

from __future__ import annotations

import argparse
import cProfile
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
"""The approximate size of an `.info` object."""

Call = Callable[[str], object]

_NO_CHECKSUM: dict[str, Any] = {
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


def configurations(server: SeaweedFS) -> Mapping[str, Call]:
    """Return a call for each configuration, which adds one change to the configuration before."""
    unsigned = {"addressing_style": "path", "payload_signing_enabled": False}
    steps: dict[str, dict[str, Any]] = {
        "boto3, defaults": {},
        "+ no boto3 checksum": _NO_CHECKSUM,
        "+ unsigned payload": {**_NO_CHECKSUM, "s3": unsigned},
        "+ no parameter validation": {
            **_NO_CHECKSUM,
            "s3": unsigned,
            "parameter_validation": False,
        },
    }
    final = {**steps["+ no parameter validation"], "user_agent": "benchmark"}
    steps["+ fixed user agent"] = final
    calls: dict[str, Call] = {
        name: partial(_put, _client(server, config), server.bucket)
        for name, config in steps.items()
    }
    as_bytearray = partial(_put, _client(server, final), server.bucket, kind=bytearray)
    calls["+ bytearray body, so no `Expect: 100-continue`"] = as_bytearray
    as_tus_wsgi = partial(_put_tus_wsgi, _bucket(server))
    calls["tus_wsgi: all of these, its own CRC-32, sent directly"] = as_tus_wsgi
    return calls


def cpu_per_call(call: Call, *, count: int) -> float:
    """Return the CPU seconds of one call. Each call uses a new key, as uploads do."""
    call(f"warm-{count}")
    keys = [f"{time.monotonic_ns()}-{number}" for number in range(count)]
    before = time.process_time()
    for key in keys:
        call(key)
    return (time.process_time() - before) / count


def _put(client: S3Client, bucket: str, key: str, *, kind: Callable[[bytes], Any] = bytes) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=kind(b"x" * SIZE))


def _put_tus_wsgi(bucket: Bucket, key: str) -> None:
    bucket.put(key, Payload.of(b"x" * SIZE))


def _bucket(server: SeaweedFS) -> Bucket:
    client = make_client(endpoint=server.endpoint, parallel_parts=10)
    return Bucket(client, server.bucket)


def _client(server: SeaweedFS, config: Mapping[str, Any]) -> S3Client:
    return boto3.session.Session().client(
        "s3", endpoint_url=server.endpoint, config=Config(**config)
    )


def _profile(call: Call, *, count: int) -> None:
    """Print the functions that use the time of `count` calls, alone and with what they call."""
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
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.call", description=__doc__)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--count", type=int, default=20, help="calls per round")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as disk, start_seaweedfs(Path(disk)) as server:
        _set_credentials(server)
        calls = configurations(server)
        if arguments.profile:
            _profile(list(calls.values())[-1], count=arguments.count)
            return
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(arguments.rounds):
            for name, call in calls.items():
                seconds[name].append(cpu_per_call(call, count=arguments.count))
    # Take the fastest round: other load on the machine can only add time.
    print("| put_object of 300 bytes | CPU ms/call |\n|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {min(values) * 1000:.2f} |")


def _set_credentials(server: SeaweedFS) -> None:
    """Set the variables from which boto3 reads its credentials."""
    import os  # noqa: PLC0415 - used only here

    os.environ.update(server.environ())


if __name__ == "__main__":
    main()
