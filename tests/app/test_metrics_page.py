"""The page of metrics beside the uploads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.app.hooked_app import TUS
from tests.observers.test_prometheus import samples
from tests.wsgi.linting import LintedClient
from tus_wsgi import Settings, SettingsError, TusMiddleware
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.observers.prometheus import PrometheusObserver, page_observer
from tus_wsgi.stores.memory import MemoryStore

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from prometheus_client import CollectorRegistry

TOKEN = "s3cret"
WITH_TOKEN = {"TUS_METRICS_TOKEN": TOKEN}


@pytest.fixture(autouse=True)
def new_observer() -> Iterator[None]:
    """Count from zero in each test."""
    page_observer.cache_clear()
    yield
    page_observer.cache_clear()


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the application"]


def client_of(*observers: PrometheusObserver, **environ: str) -> LintedClient:
    settings = Settings.from_environ({"TUS_S3_BUCKET": "bucket"} | environ)
    return LintedClient(
        TusMiddleware(
            app,
            settings=settings,
            store=MemoryStore(),
            locker=MemoryLocker(timeout=0.5),
            observers=observers,
        )
    )


def test_without_a_path_the_application_answers() -> None:
    assert client_of().get("/metrics").data == b"the application"


def test_the_page_has_the_metrics_of_the_uploads() -> None:
    client = client_of(TUS_METRICS_PATH="/metrics")
    client.post("/files", headers=TUS | {"Upload-Length": "10"})
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.content_type.startswith("text/plain; version=")
    assert response.headers["Cache-Control"] == "no-store"
    found = samples(response.data)
    assert found["tus_uploads_created_total"] == 1
    assert found['tus_requests_total{method="POST",protocol="tus1",status="2xx"}'] == 1
    head = client.head("/metrics")
    assert (head.status_code, head.data) == (200, b"")
    assert client.get("/metrics/more").data == b"the application"


def test_only_get_and_head_are_allowed() -> None:
    response = client_of(TUS_METRICS_PATH="/metrics").post("/metrics", data=b"x")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer s3cre",
        "Bearer s3cretx",
        "Bearer é",
    ],
)
def test_without_the_token_the_page_is_refused(authorization: str) -> None:
    client = client_of(TUS_METRICS_PATH="/metrics", **WITH_TOKEN)
    fields = {"Authorization": authorization} if authorization else {}
    response = client.get("/metrics", headers=fields)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="metrics"'
    assert b"tus_" not in response.data


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_with_the_token_the_page_is_served(scheme: str) -> None:
    client = client_of(TUS_METRICS_PATH="/metrics", **WITH_TOKEN)
    response = client.get("/metrics", headers={"Authorization": f"{scheme} {TOKEN}"})
    assert response.status_code == 200


def test_the_metrics_of_one_of_several_processes_are_refused() -> None:
    """The figures would differ from process to process, and any process may answer a request."""
    client = client_of(TUS_METRICS_PATH="/metrics")
    response = client.get("/metrics", environ_overrides={"wsgi.multiprocess": True})
    assert response.status_code == 503
    assert b"PROMETHEUS_MULTIPROC_DIR" in response.data


def test_two_middlewares_of_a_process_count_together() -> None:
    clients = [client_of(TUS_METRICS_PATH="/metrics") for _ in range(2)]
    for client in clients:
        client.post("/files", headers=TUS | {"Upload-Length": "10"})
    assert samples(clients[0].get("/metrics").data)["tus_uploads_created_total"] == 2


def test_the_page_uses_the_observer_of_the_application(registry: CollectorRegistry) -> None:
    client = client_of(PrometheusObserver(registry), TUS_METRICS_PATH="/metrics")
    client.post("/files", headers=TUS | {"Upload-Length": "10"})
    assert samples(client.get("/metrics").data)["tus_uploads_created_total"] == 1
    assert registry.get_sample_value("tus_uploads_created_total") == 1


@pytest.fixture
def registry() -> CollectorRegistry:
    from prometheus_client import CollectorRegistry

    return CollectorRegistry()


def test_a_missing_package_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tus_wsgi.observers.prometheus")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delattr("tus_wsgi.observers.prometheus")
    with pytest.raises(SettingsError, match=r"tus-wsgi-s3\[prometheus\]"):
        client_of(TUS_METRICS_PATH="/metrics")
