"""Scenario f: what S3 is asked for, by the kind of upload."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.client import Client, Refused
from benchmarks.results import Measure, Result, in_turn
from benchmarks.testbed import Stage, Target
from tus_wsgi.domain.model import KIB
from tus_wsgi.settings.values import build_size

SETTLE = 0.1
"""Seconds in which a server may still make calls after its answer."""

Act = Callable[[Client], object]


def costs(stage: Stage) -> Result:
    """Calls for each kind of upload, counted on the line."""
    notes: list[str] = []

    def measures() -> Mapping[str, Measure]:
        targets = stage.targets(proxied=True)
        return {target.name: partial(_costs, stage, target, notes) for target in targets}

    stage.begin_round(stage.options.part_size * 40)
    what = f"Calls to S3, counted on the way there; parts of {build_size(stage.options.part_size)}."
    return Result("S3 calls", what, list(in_turn(1, measures)), notes)


def _costs(stage: Stage, target: Target, notes: list[str]) -> dict[str, float]:
    assert target.proxy is not None
    figures: dict[str, float] = {}
    for kind, (before, act) in kinds(stage.options.part_size).items():
        with Client(target.url) as client:
            try:
                path = before(client)
                time.sleep(SETTLE)
                target.proxy.counts()
                act(client, path)
            except Refused as refused:
                notes.append(f"{target.name}, {kind}: failed, {refused}")
                continue
        time.sleep(SETTLE)
        counts = target.proxy.counts()
        figures[kind] = float(sum(counts.values()))
        said = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        notes.append(f"{target.name}, {kind}: {said}")
    return figures


def kinds(part: int) -> dict[str, tuple[Callable[[Client], str], Callable[[Client, str], object]]]:
    """Names; what is done before counting, and what is counted."""
    little, much, step = 100 * KIB, 2 * part + part // 2, part // 2

    def nothing(_client: Client) -> str:
        return ""

    def whole(size: int, *, with_upload: bool) -> Callable[[Client, str], object]:
        return lambda client, _path: client.upload(size, with_upload=with_upload)

    def in_pieces(client: Client, _path: str) -> None:
        path = client.create(much)
        for offset in range(0, much, step):
            client.patch(path, min(step, much - offset), offset=offset)

    def half(client: Client) -> str:
        path = client.create(much)
        client.patch(path, part, offset=0)
        return path

    small, large = build_size(little), build_size(much)
    return {
        "empty, POST": (nothing, whole(0, with_upload=False)),
        f"{small}, POST with the bytes": (nothing, whole(little, with_upload=True)),
        f"{small}, POST and PATCH": (nothing, whole(little, with_upload=False)),
        f"{large}, POST with the bytes": (nothing, whole(much, with_upload=True)),
        f"{large}, POST and PATCH": (nothing, whole(much, with_upload=False)),
        f"{large}, PATCHes of {build_size(step)}": (nothing, in_pieces),
        "HEAD of an unfinished upload": (half, lambda client, path: client.head(path)),
        "the next part of a running upload": (
            half,
            lambda client, path: client.patch(path, part, offset=part),
        ),
        "DELETE of an unfinished upload": (half, lambda client, path: client.delete(path)),
    }
