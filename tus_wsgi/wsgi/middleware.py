"""Serve uploads below one path of a WSGI application, and pass other requests on."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tus_wsgi.domain.commands import Downloadable, Outcome
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import BodyDraining, TusError, Unavailable, UploadNotFound
from tus_wsgi.domain.events import BodyClosed, RequestFailed, RequestServed
from tus_wsgi.domain.interfaces import Observer
from tus_wsgi.domain.model import UploadId, parse_upload_id
from tus_wsgi.domain.request_id import REQUEST_ID
from tus_wsgi.protocol.cors import CorsPolicy
from tus_wsgi.protocol.http import Dialect, Reply, RequestHead, status_line
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.wsgi.app_uploads import AppUploads
from tus_wsgi.wsgi.body import WsgiBody
from tus_wsgi.wsgi.connection import close_after_response, with_write_timeout
from tus_wsgi.wsgi.draining import LIVE_BODIES, BodyRegistry
from tus_wsgi.wsgi.environ import UploadRoutes
from tus_wsgi.wsgi.framing import check_end_is_known
from tus_wsgi.wsgi.hook_request import hook_request
from tus_wsgi.wsgi.interim import interim_sender
from tus_wsgi.wsgi.observed_bodies import ObservedBodies
from tus_wsgi.wsgi.request_id import ENVIRON_KEY, RequestIds
from tus_wsgi.wsgi.worker import WORKER_GUARD, check_patched

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

_REQUEST_ID = "X-Request-Id"


class _Served(NamedTuple):
    """The result of a request.

    Attributes:
        reply: the reply.
        content: the chunks of its body if the body is not in the reply.
        error: why the request failed; None if it has succeeded.
    """

    reply: Reply
    content: Iterator[bytes] | None
    error: TusError | None


class UploadMiddleware(AppUploads):
    """A WSGI middleware that serves uploads with an `UploadService`.

    Args:
        app: receives all other requests, unchanged.
        service: executes the commands.
        dialects: the supported protocols; the last one handles requests that no dialect claims.
        routes: the URLs of uploads.
        cors: the policy for browsers of other origins; None sends no CORS fields.
        network_timeout: seconds after which a client is considered gone if it does not send the
            next bytes of a body, or does not accept the next bytes of a response.
        min_rate: bytes per second that a body must bring, measured over a minute.
        observers: receive events of requests and their bodies.
        request_ids: assigns the ids of requests; None makes all ids here.

    Raises:
        ServerUnsupported: gevent has not patched the standard library, or too late.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        service: UploadService,
        dialects: Sequence[Dialect],
        routes: UploadRoutes,
        cors: CorsPolicy | None,
        network_timeout: float = 60.0,
        min_rate: float = 0.0,
        observers: Sequence[Observer] = (),
        request_ids: RequestIds | None = None,
    ) -> None:
        check_patched()
        WORKER_GUARD.report()
        super().__init__(service, routes)
        self._app = app
        self._dialects = tuple(dialects)
        self._cors = cors
        self._network_timeout = network_timeout
        self._request_ids = request_ids or RequestIds()
        self._min_rate = min_rate
        self._events = events = EventDispatcher(observers)
        self._live: BodyRegistry = LIVE_BODIES
        if events.wants(BodyClosed):
            self._live = ObservedBodies(LIVE_BODIES, events.dispatch)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        # Pipelined requests are parsed and answered without blocking: let other requests run.
        time.sleep(0)
        request_id = self._request_ids.assign(environ)
        if not self._routes.covers(environ):
            return self._app(environ, start_response)
        environ[ENVIRON_KEY] = request_id
        WORKER_GUARD.on_request(environ)
        started = time.monotonic()
        head = self._routes.head(environ)
        body = WsgiBody(
            environ, timeout=self._network_timeout, min_rate=self._min_rate, live=self._live
        )
        try:
            if head.has_unsized_body and body.is_empty():
                head = replace(head, has_body=False, has_unsized_body=False)
            dialect = self._dialect(head)
            reply, content, error = self._serve(environ, dialect, head, body)
            if head.has_body:
                body.discard()
        finally:
            body.close()
        if isinstance(error, BodyDraining):
            LIVE_BODIES.wait_until_unreachable()
        if self._events.wants(RequestServed):
            name = None if error is None else type(error).__name__
            seconds = time.monotonic() - started
            served = RequestServed(head.method, dialect.name, reply.status, name, seconds)
            self._events.dispatch(served)
        cors = [] if self._cors is None else self._cors.fields_for(head, reply.exposed)
        start_response(status_line(reply.status), [*reply.fields, *cors])
        response_body: Iterable[bytes] = [reply.body] if content is None else content
        if environ["REQUEST_METHOD"] == "HEAD":
            # If the override of a HEAD is e.g. GET, the reply has a body. Without any chunk,
            # hypercorn sends no response.
            response_body = [b""]
        if not body.is_complete:
            response_body = close_after_response(response_body, environ, start_response)
        return with_write_timeout(self._network_timeout, response_body, environ)

    def _serve(
        self, environ: WSGIEnvironment, dialect: Dialect, head: RequestHead, body: WsgiBody
    ) -> _Served:
        """Execute the command of a request, and render its outcome."""
        try:
            self._routes.check_host(environ)
            check_end_is_known(environ)
            interim = interim_sender(environ, dialect.interim(head, head.url_of))
            command = dialect.parse(head)
            request = hook_request(environ, head) if self._service.needs_request else None
            outcome = self._service.execute(
                command, body, interim, request, client_is_gone=body.client_is_gone
            )
            reply = dialect.render(head, outcome, head.url_of)
            return _Served(reply, _content(reply, outcome), None)
        except TusError as error:
            reply = dialect.render_error(head, error)
            if isinstance(error, Unavailable):
                self._events.dispatch(RequestFailed(_upload_of(head), error))
                reply = _with_request_id(reply)
            return _Served(reply, None, error)
        except Exception as error:  # noqa: BLE001 - the details of a bug must not leak
            self._events.dispatch(RequestFailed(_upload_of(head), error))
            hidden = Unavailable()
            return _Served(_with_request_id(dialect.render_error(head, hidden)), None, hidden)

    def _dialect(self, head: RequestHead) -> Dialect:
        spoken = (dialect for dialect in self._dialects if dialect.speaks(head))
        return next(spoken, self._dialects[-1])


def _with_request_id(reply: Reply) -> Reply:
    """Add the request's id to the reply to a failed request, so that the log can be searched."""
    fields = [*reply.fields, (_REQUEST_ID, REQUEST_ID.get())]
    return replace(reply, fields=fields, exposed=(*reply.exposed, _REQUEST_ID))


def _upload_of(head: RequestHead) -> UploadId | None:
    """Return the id of the upload in the request's URL, if it is a valid id."""
    if head.target is None:
        return None
    with suppress(UploadNotFound):
        return parse_upload_id(head.target)
    return None


def _content(reply: Reply, outcome: Outcome) -> Iterator[bytes] | None:
    if reply.content is None or not isinstance(outcome, Downloadable):
        return None
    start, stop = reply.content
    return outcome.content.read(start, stop) if start < stop else None
