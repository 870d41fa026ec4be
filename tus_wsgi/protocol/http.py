"""HTTP requests and replies as values, and the interface of a dialect.

A dialect does no I/O: it turns a `RequestHead` into a command, and an outcome or an error into a
`Reply`. It never reads a body and never writes to a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol

from tus_wsgi.domain.commands import Command, Outcome
from tus_wsgi.domain.errors import OverrideRefused, TusError
from tus_wsgi.domain.model import UploadId, UploadInfo


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body.

    Attributes:
        method: the method, after X-HTTP-Method-Override was applied.
        target: the path after the base path and its slash: an upload's id as the client sent it,
            unchecked. None if the request is for the base path itself, with or without a slash.
        fields: header fields; lookup ignores case. The values of a repeated field are joined by
            ",".
        has_body: whether the request has a body that may contain bytes.
        has_unsized_body: whether there is a body of unknown length without a Transfer-Encoding, as
            HTTP/2 allows.
        base_url: the absolute URL of the base path as the client sees it, without a trailing slash.
        can_have_trailers: whether the server exposes the trailer fields of a chunked body.
        refused_override: the value of X-HTTP-Method-Override if it must not replace `method`; None
            otherwise.
    """

    method: str
    target: str | None
    fields: Mapping[str, str]
    has_body: bool
    base_url: str = ""
    can_have_trailers: bool = False
    has_unsized_body: bool = False
    refused_override: str | None = None

    def url_of(self, id: str) -> str:
        """Return the URL of an upload, as the client of this request sees it.

        The URL is absolute, because aiotus cannot use a Location that begins with a slash. Ids need
        no quoting.
        """
        return f"{self.base_url}/{id}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response.

    Attributes:
        status: the status code; see `status_line`.
        fields: header fields in order, without the CORS fields.
        body: the body, unless `content` is set.
        content: the range of the upload's content that is the body, as offsets `(start, stop)`;
            None if `body` is the body.
        exposed: names of fields that the application has chosen, which scripts of other origins may
            read.
    """

    status: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    content: tuple[int, int] | None = None
    exposed: tuple[str, ...] = ()


# Statuses that only the upload protocols define.
_REASONS = {460: "Checksum Mismatch"}
_WITHOUT_CONTENT = (204, 304)
_STANDARD_REASONS = {status.value: status.phrase for status in HTTPStatus}


def status_line(status: int) -> str:
    """Return the status code and its reason phrase, as WSGI expects them.

    An application may refuse a request with a status that has no standard phrase.
    """
    phrase = _REASONS.get(status) or _STANDARD_REASONS.get(status, "Refused")
    return f"{status} {phrase}"


def with_common_fields(head: RequestHead, reply: Reply, *version: tuple[str, str]) -> Reply:
    """Add the fields that every reply has: `version`, and the fields about the body and caching.

    `wsgiref.validate` and some middlewares require a Content-Type even of an empty body.

    Only downloads and the application set a Cache-Control of their own. All other replies must not
    be stored: the offset changes, and a cache must not answer a GET with the reply to an override.
    """
    # Uploads come from untrusted clients, so browsers must not guess the type of the content.
    fields = [*version, ("X-Content-Type-Options", "nosniff"), *reply.fields]
    names = {name.lower() for name, _ in reply.fields}
    if "cache-control" not in names:
        fields.append(("Cache-Control", "no-store"))
    if "content-type" not in names and reply.status not in _WITHOUT_CONTENT:
        fields.append(("Content-Type", "text/plain; charset=utf-8"))
    # In the reply to a HEAD, the Content-Length would have to be that of the GET (RFC 9110, section
    # 8.6). And if the HEAD is the override of a POST, the client would wait for that many bytes.
    has_no_body = reply.status in _WITHOUT_CONTENT or head.method == "HEAD"
    if not has_no_body and reply.content is None:
        fields.append(("Content-Length", str(len(reply.body))))
    return replace(reply, fields=fields)


UrlOf = Callable[[UploadId], str]
"""Returns the absolute URL of an upload, as the client of the request sees it."""

Interim = Callable[[UploadInfo], Reply | None]
"""Returns the interim response for the bytes stored so far; None to send nothing."""


class Dialect(Protocol):
    """A protocol, or one version of a protocol.

    Attributes:
        name: the name in metrics.
    """

    name: str

    def speaks(self, head: RequestHead) -> bool:
        """Return whether this dialect handles the request."""

    def parse(self, head: RequestHead) -> Command:
        """Parse the request into a command. Later layers see no header text.

        Raises:
            RequestError: the request is malformed or uses a feature that is not offered.
        """

    def render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        """Render the reply to a request that succeeded."""

    def interim(self, head: RequestHead, url_of: UrlOf) -> Interim | None:
        """Return the renderer of interim responses; None if the client must not get any.

        Interim responses have a cost: the record of a new upload must be written before its first
        byte.
        """

    def render_error(self, head: RequestHead, error: TusError) -> Reply:
        """Render the reply to a request that failed, without internal details."""


SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""Methods that change nothing (RFC 9110, section 9.2.1)."""


class MethodOverride(StrEnum):
    """Which methods X-HTTP-Method-Override may replace."""

    UNSAFE = "unsafe"
    """Any method. A safe method may only be replaced by another safe method."""
    POST = "post"
    """Only POST, which is the method that clients that need an override send."""
    ANY = "any"
    """Any method, as tus 1.0.0 demands."""
    OFF = "off"
    """No method."""

    def permits(self, method: str, override: str) -> bool:
        """Return whether `override` may replace `method`."""
        match self:
            case MethodOverride.UNSAFE:
                return method not in SAFE_METHODS or override in SAFE_METHODS
            case MethodOverride.POST:
                return method == "POST"
            case MethodOverride.ANY:
                return True
            case MethodOverride.OFF:
                return False


def effective_method(method: str, override: str | None, policy: MethodOverride) -> str | None:
    """Return the method of a request, after the `X-HTTP-Method-Override` field was applied.

    "The actual method of the request MUST be ignored" (tus 1.0.0, X-HTTP-Method-Override). By
    default, this deviates for safe methods: proxies that let only GET pass, caches and browsers
    rely on the actual method, so a GET must never delete an upload.

    An OPTIONS is never overridden: browsers send it as a preflight, which never contains the field.
    The value is used as it is, because methods are case-sensitive; an unknown method is rejected
    later. An empty field is ignored.

    Returns:
        the method; None if the override must be refused.
    """
    if not override or override == method:
        return method
    if not policy.permits(method, override):
        return None
    return method if method == "OPTIONS" else override


def check_override(head: RequestHead, allowed: tuple[str, ...]) -> None:
    """Refuse a request whose method must not be overridden.

    Args:
        head: the request.
        allowed: the methods that its target supports.

    Raises:
        OverrideRefused: see `MethodOverride`.
    """
    if head.refused_override is not None:
        raise OverrideRefused(head.method, head.refused_override, allowed)
