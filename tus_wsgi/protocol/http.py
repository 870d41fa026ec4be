"""Requests and replies of HTTP as values, and what it takes to be a dialect.

A dialect never reads a body and never writes to a socket (sans-IO): it turns a `RequestHead` into
a command, and an outcome or an error into a `Reply`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from tus_wsgi.domain.commands import Command, Outcome
from tus_wsgi.domain.errors import TusError
from tus_wsgi.domain.model import UploadId, UploadInfo


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body.

    Attributes:
        method: as the client means it, X-HTTP-Method-Override applied.
        target: what follows the base path and its slash: an upload's id as it was sent, unchecked;
            None when the request is for the base path itself (with or without a slash).
        fields: header fields; lookup ignores case. A field that was sent twice is joined by ",".
        has_body: whether the request has a body that is not known to be empty.
        base_url: the absolute URL of the base path as this request's client sees it, without a
            slash at its end.
        can_have_trailers: whether the server hands out the fields behind a chunked body.
    """

    method: str
    target: str | None
    fields: Mapping[str, str]
    has_body: bool
    base_url: str = ""
    can_have_trailers: bool = False

    def url_of(self, id: str) -> str:
        """The absolute URL of an upload, as this request's client sees it.

        Absolute, since aiotus cannot use a Location that begins with a slash. Ids need no quoting.
        """
        return f"{self.base_url}/{id}"


@dataclass(frozen=True, slots=True)
class Reply:
    """A response.

    Attributes:
        status: the code; see `status_line`.
        fields: header fields in order, without those of CORS.
        body: sent as it is, unless `content` says otherwise.
        content: the range of the upload's content that is the body instead, as offsets
            `(start, stop)`; None for `body`.
    """

    status: int
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    content: tuple[int, int] | None = None


# Statuses of the protocols' own, which no registry has.
_REASONS = {460: "Checksum Mismatch"}


def status_line(status: int) -> str:
    """A status as WSGI wants it: the code and its reason phrase."""
    return f"{status} {_REASONS.get(status) or HTTPStatus(status).phrase}"


UrlOf = Callable[[UploadId], str]
"""The absolute URL of an upload, as this request's client sees it."""

Interim = Callable[[UploadInfo], Reply | None]
"""What to send before the final response, as soon as so much is stored; perhaps nothing."""


class Dialect(Protocol):
    """One protocol, or one version of one."""

    def speaks(self, head: RequestHead) -> bool:
        """Whether this request is in this dialect."""

    def parse(self, head: RequestHead) -> Command:
        """What the request asks for. After this nobody sees a header string.

        Raises:
            RequestError: it cannot be understood, or asks for something that is not offered.
        """

    def render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        """The words for what came of it."""

    def interim(self, head: RequestHead, url_of: UrlOf) -> Interim | None:
        """How to report progress before the final response; None where nobody may be told.

        It takes the record of a new upload to be written before its first byte, so it has a price.
        """

    def render_error(self, head: RequestHead, error: TusError) -> Reply:
        """The words for what went wrong, without anything that is only ours to know."""


def effective_method(method: str, override: str | None) -> str:
    """The method that the client means, by the `X-HTTP-Method-Override` field.

    "The actual method of the request MUST be ignored" (tus 1.0.0, X-HTTP-Method-Override),
    whatever it is. Only a real OPTIONS stays: browsers send it as a preflight, and a preflight
    carries no such field of its own. The field is taken as it is, since methods are
    case-sensitive; a method that does not exist is refused later. An empty field is none.
    """
    if method == "OPTIONS" or not override:
        return method
    return override
