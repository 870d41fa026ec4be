"""`UploadMiddleware`: mine? then serve it, else pass it on. Here the two wings meet."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tus_wsgi.domain.commands import Downloadable, Outcome
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import TusError, Unavailable, UploadNotFound
from tus_wsgi.domain.events import RequestFailed
from tus_wsgi.domain.interfaces import Observer
from tus_wsgi.domain.model import UploadId, parse_upload_id
from tus_wsgi.protocol.cors import CorsPolicy
from tus_wsgi.protocol.http import Dialect, Reply, RequestHead, status_line
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.connection import close_after_response, with_write_timeout
from tus_wsgi.wsgi.draining import LIVE_BODIES
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.interim import interim_sender

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class UploadMiddleware:
    """A WSGI application that serves uploads below one path and passes the rest on.

    Args:
        app: gets every request that is not for the base path or below it, untouched.
        service: carries commands out.
        dialects: the protocols spoken; the last one answers what none of them speaks.
        mount: where uploads live in the URL space.
        cors: what browsers of other origins may do; None leaves that to somebody else.
        network_timeout: seconds without a byte after which a client is taken for gone, and in which
            it has to take a piece of a response.
        observers: told of faults on our side.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        service: UploadService,
        dialects: Sequence[Dialect],
        mount: UploadRoutes,
        cors: CorsPolicy | None,
        network_timeout: float = 60.0,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._app = app
        self._service = service
        self._dialects = tuple(dialects)
        self._mount = mount
        self._cors = cors
        self._network_timeout = network_timeout
        self._events = EventDispatcher(observers)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        # Requests that were sent ahead are parsed and answered without ever waiting for anybody.
        time.sleep(0)
        if not self._mount.covers(environ):
            return self._app(environ, start_response)
        head = self._mount.head(environ)
        body = WsgiBody(environ, timeout=self._network_timeout, live=LIVE_BODIES)
        try:
            reply, content = self._serve(environ, head, body)
            if head.has_body:
                body.discard()
        finally:
            body.close()
        fields = reply.fields if self._cors is None else reply.fields + self._cors.fields_for(head)
        start_response(status_line(reply.status), fields)
        pieces: Iterable[bytes] = [reply.body] if content is None else content
        if environ["REQUEST_METHOD"] == "HEAD":
            pieces = []  # It may have been overridden to a method whose replies have a body.
        if not body.is_complete:
            pieces = close_after_response(pieces, environ, start_response)
        return with_write_timeout(self._network_timeout, pieces, environ)

    def _serve(
        self, environ: WSGIEnvironment, head: RequestHead, body: WsgiBody
    ) -> tuple[Reply, Iterator[bytes] | None]:
        """The reply, and the pieces of its body where that is not in the reply itself."""
        dialect = self._dialect(head)
        try:
            self._mount.check_host(environ)
            interim = interim_sender(environ, dialect.interim(head, head.url_of))
            outcome = self._service.execute(dialect.parse(head), body, interim)
            reply = dialect.render(head, outcome, head.url_of)
            return reply, _content(reply, outcome)
        except TusError as error:
            if isinstance(error, Unavailable):
                self._events.dispatch(RequestFailed(_upload_of(head), error))
            return dialect.render_error(head, error), None
        except Exception as error:  # noqa: BLE001 - the outermost one: a bug must not leak
            self._events.dispatch(RequestFailed(_upload_of(head), error))
            return dialect.render_error(head, Unavailable()), None

    def _dialect(self, head: RequestHead) -> Dialect:
        speakers = (dialect for dialect in self._dialects if dialect.speaks(head))
        return next(speakers, self._dialects[-1])


def _upload_of(head: RequestHead) -> UploadId | None:
    """The upload that the request names, if it names one."""
    with suppress(UploadNotFound):
        return None if head.target is None else parse_upload_id(head.target)
    return None


def _content(reply: Reply, outcome: Outcome) -> Iterator[bytes] | None:
    if reply.content is None or not isinstance(outcome, Downloadable):
        return None
    start, stop = reply.content
    return outcome.content.read(start, stop)
