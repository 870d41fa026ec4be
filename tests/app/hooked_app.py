"""The complete application with hooks, and the requests of both protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import NotFound
from werkzeug.test import TestResponse

from tests.wsgi.linting import LintedClient
from tus_wsgi import Access, Settings, TusMiddleware
from tus_wsgi.domain.events import Event
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.lockers.memory import MemoryLocker

DATA = b"0123456789"

TUS = {"Tus-Resumable": "1.0.0"}
IETF = {"Upload-Draft-Interop-Version": "8"}


@dataclass(frozen=True)
class Protocol:
    """The fields of one protocol's requests.

    Attributes:
        name: `tus` or `ietf`.
        version: the fields of every request.
    """

    name: str
    version: Mapping[str, str]

    def creation(self, length: int, data: bytes) -> dict[str, str]:
        """Return the fields of a POST with the first bytes of a file."""
        fields = {**self.version, "Upload-Length": str(length)}
        if self.name == "ietf":
            return {**fields, "Upload-Complete": _boolean(len(data) == length)}
        return {**fields, "Content-Type": "application/offset+octet-stream"}

    def append(self, offset: int, *, is_last: bool) -> dict[str, str]:
        """Return the fields of a PATCH."""
        fields = {**self.version, "Upload-Offset": str(offset)}
        if self.name == "ietf":
            type = "application/partial-upload"
            return {**fields, "Upload-Complete": _boolean(is_last), "Content-Type": type}
        return {**fields, "Content-Type": "application/offset+octet-stream"}


def _boolean(value: bool) -> str:
    return "?1" if value else "?0"


PROTOCOLS = [Protocol("tus", TUS), Protocol("ietf", IETF)]


@dataclass
class HookedApp:
    """A middleware with hooks, and a client that speaks one protocol.

    Attributes:
        protocol: what the client speaks.
        store: where the uploads are.
        hooks: arguments of `TusMiddleware`.
        environ: settings, in addition to the bucket.
        events: what observers receive.
    """

    protocol: Protocol
    store: Store
    hooks: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.middleware = TusMiddleware(
            NotFound(),
            settings=Settings.from_environ({"TUS_S3_BUCKET": "bucket", **self.environ}),
            store=self.store,
            locker=MemoryLocker(timeout=0.5),
            observers=[self.events.append],
            **self.hooks,
        )
        self._client = LintedClient(self.middleware)

    def request(
        self, method: str, path: str, fields: Mapping[str, str], data: bytes = b"", user: str = ""
    ) -> TestResponse:
        """Send a request as this user; as an anonymous client if there is no user."""
        given = {**fields, "X-User": user} if user else dict(fields)
        return self._client.open(path, method=method, headers=given, data=data)

    def post(self, user: str = "", data: bytes = b"", **more: str) -> TestResponse:
        """Create an upload of ten bytes. The names in `more` have underscores for hyphens."""
        fields = {**self.protocol.creation(len(DATA), data), **_named(more)}
        return self.request("POST", "/files", fields, data, user)

    def create(self, user: str = "", data: bytes = b"", **more: str) -> str:
        """Create an upload of ten bytes and return its path."""
        response = self.post(user, data, **more)
        assert response.status_code == 201, response.get_data(as_text=True)
        return path_of(response)

    def patch(self, path: str, offset: int, data: bytes, user: str = "") -> TestResponse:
        is_last = offset + len(data) == len(DATA)
        fields = self.protocol.append(offset, is_last=is_last)
        return self.request("PATCH", path, fields, data, user)

    def head(self, path: str, user: str = "") -> TestResponse:
        return self.request("HEAD", path, self.protocol.version, user=user)

    def delete(self, path: str, user: str = "") -> TestResponse:
        return self.request("DELETE", path, self.protocol.version, user=user)

    def get(self, path: str, user: str = "") -> TestResponse:
        return self.request("GET", path, self.protocol.version, user=user)

    def offset(self, path: str, user: str = "") -> int:
        response = self.head(path, user)
        assert response.status_code in (200, 204), response.status
        return int(response.headers["Upload-Offset"])


@dataclass
class User:
    """An `authorize` hook: the client is the user that `X-User` names.

    Attributes:
        accesses: what the hook was called with.
        decide: called with each access; may raise.
    """

    accesses: list[Access] = field(default_factory=list)
    decide: Callable[[Access], object] = lambda _access: None

    def __call__(self, access: Access) -> str | None:
        self.accesses.append(access)
        self.decide(access)
        return access.request.fields.get("x-user")

    @property
    def actions(self) -> list[str]:
        return [access.action.value for access in self.accesses]


def path_of(response: TestResponse) -> str:
    return urlsplit(response.headers["Location"]).path


def id_of(path: str) -> str:
    return path.rpartition("/")[2]


def _named(fields: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in fields.items()}
