"""Deliver the documents of hooks to an HTTP endpoint."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from tus_wsgi.hooks.carrier import (
    MAX_RESPONSE_SIZE,
    HookCall,
    HookCallFailed,
    OnEvent,
    ignore_event,
    is_json,
)
from tus_wsgi.hooks.queue import DeliveryQueue, OnResponse
from tus_wsgi.hooks.signature import sign
from tus_wsgi.hooks.tusd_json import HookResponse, parse_response

MAX_CONNECTIONS = 10
"""Idle connections that a process keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How an endpoint is called.

    Attributes:
        timeout: seconds for each attempt.
        tries: attempts at most. Only a network error or a 5xx leads to another attempt.
        backoff: seconds before the second attempt, doubled for each further attempt, with jitter.
        size_limit: bytes of a response.
        forward: names of the client's header fields that are sent to the endpoint.
        secret: signs the documents; None for no signature.
        socket_options: further options of connections: level, option and value of each.
    """

    timeout: float = 15.0
    tries: int = 3
    backoff: float = 1.0
    size_limit: int = MAX_RESPONSE_SIZE
    forward: tuple[str, ...] = ()
    secret: bytes | None = None
    socket_options: tuple[tuple[int, int, int], ...] = ()


class _Reply(NamedTuple):
    status: int
    type: str
    body: bytes


class HttpCarrier:
    """Delivers documents to an endpoint. Redirects are not followed.

    Args:
        url: the URL of the endpoint, from the settings only.
        options: how it is called.
        on_event: receives the outcome of each delivery that no request waits for.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        url: str,
        options: HttpOptions,
        *,
        on_event: OnEvent = ignore_event,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._options = options
        self._sleep = sleep
        self._pool = urllib3.PoolManager(
            maxsize=MAX_CONNECTIONS,
            retries=False,
            socket_options=[*HTTPConnection.default_socket_options, *options.socket_options],
        )
        self._queue = DeliveryQueue(self._deliver, on_event=on_event)

    def ask(self, call: HookCall) -> HookResponse:
        """See `Carrier`."""
        reply = self._call(call)
        if len(reply.body) > self._options.size_limit:
            limit = self._options.size_limit
            raise HookCallFailed(f"the response to {call.event} has more than {limit} bytes")
        if not is_json(reply.type):
            raise HookCallFailed(f"the response to {call.event} is not application/json")
        return parse_response(reply.body)

    def tell(self, call: HookCall) -> None:
        """See `Carrier`."""
        self._call(call)

    def post(self, call: HookCall, on_response: OnResponse | None = None) -> None:
        """See `Carrier`. The document is delivered by a thread."""
        self._queue.put(call, on_response)

    def _deliver(self, call: HookCall, on_response: OnResponse | None) -> None:
        if on_response is None:
            self.tell(call)
        else:
            on_response(self.ask(call))

    def _call(self, call: HookCall) -> _Reply:
        """Return the successful response to a document, after as many attempts as necessary.

        Raises:
            HookCallFailed: no attempt had a successful response.
        """
        problem = ""
        for attempt in range(self._options.tries):
            if attempt:
                jitter = random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                self._sleep(self._options.backoff * 2 ** (attempt - 1) * jitter)
            try:
                reply = self._send(call)
            # Messages of urllib3 contain the URL, whose query may be a secret.
            except (HTTPError, OSError) as error:
                problem = type(error).__name__
                continue
            if 200 <= reply.status <= 299:
                return reply
            problem = f"status {reply.status}"
            if reply.status < 500:
                break
        raise HookCallFailed(f"the endpoint failed at {call.event}: {problem}")

    def _send(self, call: HookCall) -> _Reply:
        timeout = self._options.timeout
        deadline = time.monotonic() + timeout
        response = self._pool.request(
            "POST",
            self._url,
            body=call.document,
            headers=self._fields(call),
            timeout=urllib3.Timeout(total=timeout),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            body = self._read(response, deadline)
        except BaseException:
            response.close()
            raise
        if len(body) > self._options.size_limit:
            response.close()  # the rest of the body is not read
        response.release_conn()
        return _Reply(response.status, response.headers.get("Content-Type", ""), body)

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """Read a body. Stop one byte after the size limit, which shows that it is too long."""
        body = b""
        while len(body) <= self._options.size_limit:
            chunk = response.read1(self._options.size_limit + 1 - len(body))
            if not chunk:
                break
            body += chunk
            if time.monotonic() > deadline:
                raise TimeoutError
        return body

    def _fields(self, call: HookCall) -> dict[str, str]:
        timestamp = int(time.time())
        fields = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "tus-wsgi-s3",
            "webhook-id": call.id,
            "webhook-timestamp": str(timestamp),
        }
        if self._options.secret is not None:
            signature = sign(self._options.secret, call.id, timestamp, call.document)
            fields["webhook-signature"] = signature
        given = {} if call.request is None else call.request.fields
        forwarded = {name: given.get(name.lower()) for name in self._options.forward}
        sent = {name: text for name, text in forwarded.items() if text and text.isprintable()}
        return {**sent, **fields}


RESERVED_FIELDS = frozenset(
    (
        *("accept", "accept-encoding", "connection", "content-length", "content-type", "expect"),
        *("host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
        *("webhook-id", "webhook-signature", "webhook-timestamp"),
    )
)
"""Fields that cannot be forwarded: they describe the client's own request, or the document."""
