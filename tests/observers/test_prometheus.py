"""The metrics that the observer for Prometheus counts."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from tus_wsgi.domain.events import (
    BodyClosed,
    BodyOpened,
    BytesStored,
    Event,
    HookCalled,
    LeaseLost,
    LockAcquired,
    LockReleased,
    LockTakenOver,
    LockTimedOut,
    MemoryUsed,
    RequestFailed,
    RequestServed,
    S3Called,
    UploadCreated,
    UploadFinished,
    UploadRejected,
    UploadTerminated,
)
from tus_wsgi.domain.model import UploadId
from tus_wsgi.observers.prometheus import PrometheusObserver

ID = UploadId("QTzW1Qy0m2mLw0b0nXq3fA")

COUNTED: list[tuple[Event, dict[str, float]]] = [
    (
        RequestServed("PATCH", "tus1", 204, None, 0.1),
        {'tus_requests_total{method="PATCH",protocol="tus1",status="2xx"}': 1},
    ),
    (
        RequestServed("HEAD", "rufh8", 404, "UploadNotFound", 0.1),
        {
            'tus_requests_total{method="HEAD",protocol="rufh8",status="4xx"}': 1,
            'tus_errors_total{code="UploadNotFound",status="404"}': 1,
        },
    ),
    (
        RequestServed(f"/{ID}", "tus1", 405, "MethodNotAllowed", 0.1),
        {'tus_requests_total{method="other",protocol="tus1",status="4xx"}': 1},
    ),
    (BytesStored(ID, 700, 200, 1.0, None), {"tus_bytes_received_total": 200}),
    (UploadCreated(ID, 7), {"tus_uploads_created_total": 1}),
    (UploadFinished(ID, 7), {"tus_uploads_finished_total": 1}),
    (UploadTerminated(ID), {"tus_uploads_terminated_total": 1}),
    (UploadRejected(ID, 422), {"tus_uploads_rejected_total": 1}),
    (BodyOpened(), {"tus_bodies_open": 1}),
    (
        BodyClosed("stalled"),
        {'tus_bodies_cut_total{why="stalled"}': 1, "tus_bodies_open": -1},
    ),
    (MemoryUsed(4096), {"tus_memory_bytes": 4096}),
    (
        LockAcquired(ID, 0.3),
        {
            "tus_lock_wait_seconds_count": 1,
            "tus_lock_wait_seconds_sum": 0.3,
            'tus_lock_wait_seconds_bucket{le="0.25"}': 0,
            'tus_lock_wait_seconds_bucket{le="0.5"}': 1,
        },
    ),
    (LockTimedOut(ID, 5.0), {"tus_locks_refused_total": 1}),
    (LockTakenOver(ID, 3), {"tus_locks_taken_over_total": 1}),
    (LeaseLost(ID, "late"), {"tus_locks_lost_total": 1}),
    (
        S3Called("UploadPart", 0.02, "ok", is_failure=False),
        {
            'tus_s3_seconds_count{operation="UploadPart"}': 1,
            'tus_s3_errors_total{operation="UploadPart"}': 0,
        },
    ),
    (
        S3Called("UploadPart", 0.02, "throttled", is_failure=True),
        {'tus_s3_errors_total{operation="UploadPart"}': 1},
    ),
    (
        HookCalled("on_finish", 2.0, None),
        {
            'tus_hook_seconds_sum{hook="on_finish"}': 2.0,
            'tus_hook_errors_total{hook="on_finish"}': 0,
        },
    ),
    (HookCalled("on_finish", 2.0, "KeyError"), {'tus_hook_errors_total{hook="on_finish"}': 1}),
]


def samples(page: bytes) -> dict[str, float]:
    """Return the values of a page by their names with labels, which are sorted by their names."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{text}"' for name, text in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            found[name] = sample.value
    return found


@pytest.mark.parametrize(("event", "expected"), COUNTED)
def test_events_are_counted(event: Event, expected: dict[str, float]) -> None:
    observer = PrometheusObserver(CollectorRegistry())
    observer(event)
    found = samples(observer.page())
    assert {name: found.get(name, 0.0) for name in expected} == expected


def test_every_event_that_the_observer_handles_is_counted() -> None:
    assert {type(event) for event, _ in COUNTED} == PrometheusObserver.handles
    assert set(get_args(Event)) - PrometheusObserver.handles == {LockReleased, RequestFailed}


def test_no_label_contains_the_text_of_a_client() -> None:
    observer = PrometheusObserver(CollectorRegistry())
    for event, _ in COUNTED:
        observer(event)
    page = observer.page().decode()
    assert ID not in page
    labels = set(re.findall(r'(\w+)="', page))
    assert labels == {"method", "protocol", "status", "code", "why", "le", "operation", "hook"}


def test_two_observers_cannot_register_the_same_metrics() -> None:
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusObserver(registry)
