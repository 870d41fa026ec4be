"""Hooks that take longer than other requests wait for the lock, as docs/hooks.md describes."""

from __future__ import annotations

import threading

from tests.app.conftest import NewHookedApp
from tests.app.hooked_app import DATA, User
from tus_wsgi import Access, FinishedUpload

TIMEOUT = 20.0


def test_requests_get_423_while_on_finish_takes_long(hooked_app: NewHookedApp) -> None:
    """The hook runs under the lock, which other requests want."""
    has_begun, may_end = threading.Event(), threading.Event()

    def on_finish(_upload: FinishedUpload) -> None:
        has_begun.set()
        assert may_end.wait(TIMEOUT)

    app = hooked_app(on_finish=on_finish)
    path = app.create(data=DATA[:4])
    statuses: list[int] = []
    append = threading.Thread(
        target=lambda: statuses.append(app.patch(path, 4, DATA[4:]).status_code)
    )
    append.start()
    assert has_begun.wait(TIMEOUT)
    head = app.head(path)
    assert (head.status_code, head.headers.get("Retry-After")) == (423, "1")
    assert app.get(path).status_code == 409
    may_end.set()
    append.join(TIMEOUT)
    assert statuses in ([201], [204])
    assert app.offset(path) == len(DATA)


def test_a_slow_authorize_delays_only_its_own_request(hooked_app: NewHookedApp) -> None:
    """The hook holds no lock."""
    has_begun, may_end = threading.Event(), threading.Event()

    def hang(access: Access) -> None:
        if access.request.fields.get("x-slow"):
            has_begun.set()
            assert may_end.wait(TIMEOUT)

    app = hooked_app(authorize=User(decide=hang))
    path = app.create("ada", DATA[:4])
    fields = {**app.protocol.version, "X-Slow": "yes"}
    statuses: list[int] = []

    def delete() -> None:
        statuses.append(app.request("DELETE", path, fields, user="ada").status_code)

    slow = threading.Thread(target=delete)
    slow.start()
    assert has_begun.wait(TIMEOUT)
    assert app.offset(path, "ada") == 4
    assert app.patch(path, 4, DATA[4:6], "ada").status_code in (201, 204)
    may_end.set()
    slow.join(TIMEOUT)
    assert statuses == [204]
