"""A proxy in front of an S3 service that lets chosen calls fail in chosen ways.

Unlike `proxies.tcp`, it reads requests and responses, and passes them on unchanged with the Host
field: signatures for the proxy's address stay valid. It answers `Expect: 100-continue` itself,
which no signature covers.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Self

from tests.harness.http_messages import Message, field, read_body, read_head, read_response
from tests.harness.proxies.deviations import Deviation, no_deviation
from tests.harness.proxies.faults import Call, CannedReply, Fault, FaultPlan, Reply, no_fault
from tests.harness.proxies.listener import Listener
from tests.harness.proxies.s3_calls import READS, REMOVALS, first_half, mask_absence, operation_of
from tests.harness.sockets import HOST, close_with_fin

MAX_SECONDS = 20.0
"""How long a stalled connection stays open for a client without a timeout, and how long the service
may take for a delayed call."""


class FaultProxy:
    """Listen on a free port, and forward calls to a service. A context manager.

    Args:
        to: the port of the service.
        kill_client: ends the client whose connection has this port; returns when it is dead.

    Attributes:
        endpoint: the URL to give to the client.
        masks_absence: whether reads are answered with 403 where S3 answers 404, as AWS does for
            clients that may not list the bucket.
        deviation: how the service differs from the one behind the proxy, in calls without a fault.
    """

    def __init__(self, to: int, *, kill_client: Callable[[int], None] = lambda _port: None) -> None:
        self.masks_absence = False
        self.deviation: Deviation = no_deviation
        self._to = to
        self._kill_client = kill_client
        self._mutex = threading.Lock()
        self._plan: FaultPlan = no_fault
        self._calls: list[Call] = []
        self._delayed: list[_DelayedCall] = []
        self._links: set[_Link] = set()
        self._listener = Listener(self._serve)
        self.endpoint = f"http://{HOST}:{self._listener.port}"

    @property
    def calls(self) -> list[Call]:
        """The calls since `start`."""
        with self._mutex:
            return list(self._calls)

    def start(self, plan: FaultPlan = no_fault) -> None:
        """Forget the calls and the delayed calls so far, and apply a plan."""
        with self._mutex:
            self._plan = plan
            self._calls = []
            self._delayed = []

    def set_plan(self, plan: FaultPlan) -> None:
        """Apply another plan from now on, and forget nothing."""
        with self._mutex:
            self._plan = plan

    def deliver_delayed_calls(self) -> None:
        """Send the delayed calls to S3, and let all later calls succeed."""
        with self._mutex:
            self._plan = no_fault
            delayed, self._delayed = self._delayed, []
        for call in delayed:
            call.deliver(self._to)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        with self._mutex:
            links = list(self._links)
        for link in links:
            link.close()

    def _serve(self, client: socket.socket) -> None:
        """Forward the calls of one connection, one after the other."""
        link = _Link(client, self._to)
        with self._mutex:
            self._links.add(link)
        with contextlib.suppress(OSError, EOFError):
            while True:
                request = link.receive()
                call = self._record(request)
                self._deliver_due_calls()
                if not self._process(link, request, call):
                    break
        link.close()
        with self._mutex:
            self._links.discard(link)

    def _record(self, request: Message) -> Call:
        """Number the call, and choose its fault."""
        operation = operation_of(request.head)
        with self._mutex:
            call = Call(len(self._calls) + 1, operation.name, operation.key, operation.part)
            fault = self._plan(call)
            if fault is Fault.EMPTY_200 and call.operation in REMOVALS:
                fault = Fault.LOST_BODY
            call = replace(call, fault=fault)
            self._calls.append(call)
            return call

    def _process(self, link: _Link, request: Message, call: Call) -> bool:
        """Apply the call's fault; return whether the connection stays open."""
        if call.fault is None:
            if (reply := self.deviation(call)) is not None:
                link.send(reply.encode(is_head=request.method == "HEAD"))
                return True
            response = link.forward(request)
            if self.masks_absence and call.operation in READS:
                response = mask_absence(response)
            link.send(response.raw)
            return True
        effect = call.fault.effect
        if effect.delay == 0:
            response = link.forward(request)
            if effect.reply is Reply.HALF:
                link.send(first_half(response))
        if effect.reply is Reply.SILENCE:
            link.wait_until_client_closes()
        if effect.delay:
            with self._mutex:
                self._delayed.append(_DelayedCall(request, effect.delay))
        if isinstance(effect.reply, CannedReply):
            link.send(effect.reply.encode(is_head=request.method == "HEAD"))
            return True
        if effect.reply is Reply.KILL:
            self._kill_client(link.client_port)
        return False

    def _deliver_due_calls(self) -> None:
        with self._mutex:
            due = [call for call in self._delayed if call.is_due()]
            self._delayed = [call for call in self._delayed if call not in due]
        for call in due:
            call.deliver(self._to)


@dataclass(slots=True, eq=False)
class _DelayedCall:
    """A call that S3 has not received yet.

    Attributes:
        request: the call.
        remaining: how many calls still arrive before it.
    """

    request: Message
    remaining: int

    def is_due(self) -> bool:
        """Count a call that arrives; whether this one comes before it."""
        self.remaining -= 1
        return self.remaining < 0

    def deliver(self, port: int) -> None:
        """Send the call to the service. No client waits for its response."""
        with (
            contextlib.suppress(OSError, EOFError),
            socket.create_connection((HOST, port), MAX_SECONDS) as server,
            server.makefile("rb") as responses,
        ):
            server.sendall(self.request.raw)
            read_response(responses, self.request.method)


class _Link:
    """A client's connection, and the connection to the service that belongs to it."""

    def __init__(self, client: socket.socket, to: int) -> None:
        self._client = client
        self.client_port: int = client.getpeername()[1]
        self._requests = client.makefile("rb")
        self._to = to
        self._server: socket.socket | None = None
        self._responses: IO[bytes] | None = None

    def receive(self) -> Message:
        """Read the next request.

        Raises:
            EOFError: The client closed the connection.
        """
        head = read_head(self._requests)
        if field(head, "expect"):
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = re.sub(rb"(?im)^expect:.*\r\n", b"", head)
        return Message(head, read_body(self._requests, head))

    def forward(self, request: Message) -> Message:
        """Send a request to the service, and return the response."""
        if self._server is not None and select.select([self._server], [], [], 0)[0]:
            self._close_server()  # the service closed the idle connection
        if self._server is None:
            self._server = socket.create_connection((HOST, self._to))
            self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._responses = self._server.makefile("rb")
        assert self._responses is not None
        self._server.sendall(request.raw)
        return read_response(self._responses, request.method)

    def send(self, response: bytes) -> None:
        """Send bytes to the client."""
        self._client.sendall(response)

    def wait_until_client_closes(self) -> None:
        """Wait until the client closes the connection, for `MAX_SECONDS` at most."""
        self._client.settimeout(MAX_SECONDS)
        with contextlib.suppress(OSError):
            self._client.recv(1)

    def close(self) -> None:
        """Close both connections."""
        close_with_fin(self._client)
        self._close_server()

    def _close_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            close_with_fin(server)
