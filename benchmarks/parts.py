"""The scenario `parts`: CPU of requests for uploads that have many parts already."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks.client import Client
from benchmarks.results import Measure, Result, alternate
from benchmarks.testbed import TUS_WSGI, Target, Testbed
from benchmarks.usage import Meter

PART_COUNTS = (100, 1000, 5000, 9900)

REQUESTS = 20
"""Requests of each kind. The figure is their mean."""


def parts(testbed: Testbed) -> Result:
    """Measure a HEAD and a PATCH of one part, for uploads with more and more parts.

    Let the parts be small: `--part-size 1KiB --workers 1`. Such uploads are not completed.
    """

    def measures() -> Mapping[str, Measure]:
        return {
            target.name: partial(_measure, target, testbed.options.part_size)
            for target in testbed.targets()
            if target.name == TUS_WSGI
        }

    description = f"CPU ms of a request, mean of {REQUESTS}. HEAD reads everything from S3."
    return Result("parts", description, list(alternate(testbed.options.rounds, measures)), [])


def _measure(target: Target, part: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    with Client(target.url) as client:
        path = client.create(part * (PART_COUNTS[-1] + 2 * REQUESTS))
        stored = 0
        for count in PART_COUNTS:
            if stored < count:
                client.patch(path, part * (count - stored), offset=part * stored)
                stored = count
            meter = Meter(target.pid)
            for _ in range(REQUESTS):
                client.head(path)
            figures[f"{count} parts: HEAD"] = 1000 * meter.read().cpu / REQUESTS
            meter = Meter(target.pid)
            for _ in range(REQUESTS):
                client.patch(path, part, offset=part * stored)
                stored += 1
            figures[f"{count} parts: PATCH of a part"] = 1000 * meter.read().cpu / REQUESTS
    return figures
