"""The scenario `costs`: S3 calls by kind of upload."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.client import Client, UnexpectedResponse
from benchmarks.results import Measure, Result, alternate
from benchmarks.testbed import Target, Testbed
from tus_wsgi.domain.model import KIB
from tus_wsgi.settings.values import build_size

SETTLE_SECONDS = 0.1
"""Time for the calls that a server makes after its response."""


def costs(testbed: Testbed) -> Result:
    """Count the S3 calls of each kind of upload with a proxy."""
    notes: list[str] = []

    def measures() -> Mapping[str, Measure]:
        targets = testbed.targets(proxied=True)
        return {target.name: partial(_costs, testbed, target, notes) for target in targets}

    testbed.begin_round(testbed.options.part_size * 40)
    part_size = build_size(testbed.options.part_size)
    description = f"S3 calls, counted by a proxy in front of S3. Part size: {part_size}."
    return Result("S3 calls", description, list(alternate(1, measures)), notes)


def _costs(testbed: Testbed, target: Target, notes: list[str]) -> dict[str, float]:
    """Return the S3 calls of each kind of upload, and add a note with the operations of each."""
    assert target.proxy is not None
    figures: dict[str, float] = {}
    for kind, (prepare, act) in upload_kinds(testbed.options.part_size).items():
        with Client(target.url) as client:
            try:
                path = prepare(client)
                time.sleep(SETTLE_SECONDS)
                target.proxy.counts()  # drops the calls of the preparation
                act(client, path)
            except UnexpectedResponse as error:
                notes.append(f"{target.name}, {kind}: failed, {error}")
                continue
        time.sleep(SETTLE_SECONDS)
        counts = target.proxy.counts()
        figures[kind] = float(sum(counts.values()))
        calls = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        notes.append(f"{target.name}, {kind}: {calls}")
    return figures


def upload_kinds(
    part: int,
) -> dict[str, tuple[Callable[[Client], str], Callable[[Client, str], object]]]:
    """Return two functions for each kind of upload.

    The first prepares an upload and returns its path. The calls of the second are counted.

    Args:
        part: the part size in bytes.
    """
    small_size, large_size, step = 100 * KIB, 2 * part + part // 2, part // 2

    def prepare_nothing(_client: Client) -> str:
        return ""

    def upload(size: int, *, with_data: bool) -> Callable[[Client, str], object]:
        return lambda client, _path: client.upload(size, with_data=with_data)

    def prepare_first_part(client: Client) -> str:
        path = client.create(large_size)
        client.patch(path, part, offset=0)
        return path

    small, large = build_size(small_size), build_size(large_size)
    return {
        "empty, POST": (prepare_nothing, upload(0, with_data=False)),
        f"{small}, POST with data": (prepare_nothing, upload(small_size, with_data=True)),
        f"{small}, POST and PATCH": (prepare_nothing, upload(small_size, with_data=False)),
        f"{large}, POST with data": (prepare_nothing, upload(large_size, with_data=True)),
        f"{large}, POST and PATCH": (prepare_nothing, upload(large_size, with_data=False)),
        f"{large}, PATCHes of {build_size(step)}": (
            prepare_nothing,
            lambda client, _path: client.upload_in_steps(large_size, step),
        ),
        "HEAD of an unfinished upload": (
            prepare_first_part,
            lambda client, path: client.head(path),
        ),
        "next part of an upload": (
            prepare_first_part,
            lambda client, path: client.patch(path, part, offset=part),
        ),
        "DELETE of an unfinished upload": (
            prepare_first_part,
            lambda client, path: client.delete(path),
        ),
    }
