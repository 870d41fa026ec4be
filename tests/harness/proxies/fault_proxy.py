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
from functools import partial
from types import TracebackType
from typing import IO, Protocol, Self

from tests.harness.http_messages import Message, field, read_body, read_head, read_response
from tests.harness.proxies.deviations import Deviation, no_deviation
from tests.harness.proxies.faults import Call, CannedReply, Fault, FaultPlan, Reply, no_fault
from tests.harness.proxies.listener import Listener
from tests.harness.proxies.s3_calls import READS, REMOVALS, first_half, mask_absence, operation_of
from tests.harness.sockets import HOST, close_with_fin

MAX_SECONDS = 20.0
"""Seconds that a stalled connection stays open, if the client does not close it; seconds that the
service may take for a delayed call."""


class Link(Protocol):
    """The connection of a client, and its way to the service."""

    @property
    def client_port(self) -> int:
        """The port of the client's end."""

    def forward(self, request: Message) -> Message:
        """Send a request to the service, and return the response."""

    def send(self, response: bytes) -> None:
        """Send bytes to the client."""

    def wait_until_client_closes(self) -> None:
        """Wait until the client closes the connection, for `MAX_SECONDS` at most."""


class FaultInjector:
    """Let chosen calls fail on their way to a service.

    Args:
        execute: sends a delayed call to the service. No client waits for its response.
        kill_client: ends the client whose connection has this port; returns when it is dead.

    Attributes:
        masks_absence: whether reads of missing objects are answered with 403 instead of 404, as AWS
            does for clients that may not list the bucket.
        deviation: how the service differs from the one behind the proxy, in calls without a fault.
        request: a number that each call notes. The caller increases it with each HTTP request of
            its client, to tell which request a call was made for.
    """

    def __init__(
        self,
        execute: Callable[[Message], object],
        *,
        kill_client: Callable[[int], None] = lambda _port: None,
    ) -> None:
        self.masks_absence = False
        self.deviation: Deviation = no_deviation
        self.request = 0
        self._execute = execute
        self._kill_client = kill_client
        self._mutex = threading.Lock()
        self._plan: FaultPlan = no_fault
        self._calls: list[Call] = []
        self._delayed: list[_DelayedCall] = []
        self._meanwhile: Callable[[Call], None] = do_nothing
        self._awake = threading.Event()
        self._awake.set()

    @property
    def calls(self) -> list[Call]:
        """The calls since `start`."""
        with self._mutex:
            return list(self._calls)

    def start(
        self, plan: FaultPlan = no_fault, *, meanwhile: Callable[[Call], None] | None = None
    ) -> None:
        """Forget the calls and the delayed calls so far, and apply a plan.

        Args:
            plan: chooses the faults.
            meanwhile: called with each call that waits (see `Fault.holds_call`). It must not raise.
        """
        with self._mutex:
            self._plan = plan
            self._meanwhile = meanwhile or do_nothing
            self._calls = []
            self._delayed = []
            self.request = 0

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
            self._execute(call.request)

    def handle(self, link: Link, request: Message, *, can_freeze: bool) -> bool:
        """Forward a call, unless it fails; return whether the connection stays open.

        Args:
            link: where the call came from.
            request: the call.
            can_freeze: whether the call comes from the client that a fault can freeze. While it is
                frozen, its calls wait.
        """
        if can_freeze:
            self._awake.wait(MAX_SECONDS)
        call = self._record(request)
        self._deliver_due_calls()
        return self._process(link, request, call)

    def _record(self, request: Message) -> Call:
        """Number the call, and choose its fault."""
        operation = operation_of(request.head)
        with self._mutex:
            call = Call(
                len(self._calls) + 1,
                operation.name,
                operation.key,
                operation.part,
                request=self.request,
            )
            fault = self._plan(call)
            is_normal_response = call.operation in REMOVALS  # see `Fault.EMPTY_200`
            if fault in {Fault.EMPTY_200, Fault.HTML_200} and is_normal_response:
                fault = Fault.LOST_BODY
            call = replace(call, fault=fault)
            self._calls.append(call)
            return call

    def _process(self, link: Link, request: Message, call: Call) -> bool:
        """Apply the call's fault; return whether the connection stays open."""
        if call.fault is None:
            if (reply := self.deviation(call)) is not None:
                link.send(reply.encode(is_head=request.method == "HEAD"))
                return True
            link.send(self._forward(link, request, call).raw)
            return True
        effect = call.fault.effect
        if effect.reply is Reply.RESPONSE:
            link.send(self._forward_held(link, request, call).raw)
            return True
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

    def _forward(self, link: Link, request: Message, call: Call) -> Message:
        """Forward a call without a fault, and return the response."""
        response = link.forward(request)
        return mask_absence(response) if self._is_masked(call) else response

    def _forward_held(self, link: Link, request: Message, call: Call) -> Message:
        """Forward a call, and let another process act before it; for FREEZE_AFTER, after it."""
        assert call.fault is not None
        response = self._forward(link, request, call) if call.fault is Fault.FREEZE_AFTER else None
        if call.fault.freezes_client:
            self._awake.clear()
        try:
            self._meanwhile(call)
        finally:
            self._awake.set()
        return response or self._forward(link, request, call)

    def _is_masked(self, call: Call) -> bool:
        return self.masks_absence and call.operation in READS

    def _deliver_due_calls(self) -> None:
        with self._mutex:
            due = [call for call in self._delayed if call.is_due()]
            self._delayed = [call for call in self._delayed if call not in due]
        for call in due:
            self._execute(call.request)


def do_nothing(_call: Call) -> None:
    """Let nothing happen while a call waits."""


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
        """Count the arrival of another call; return whether S3 receives this call before that."""
        self.remaining -= 1
        return self.remaining < 0


class FaultProxy(FaultInjector):
    """Listen on a free port, and forward calls to a service. A context manager.

    Args:
        to: the port of the service.
        kill_client: ends the client whose connection has this port; returns when it is dead.

    Attributes:
        endpoint: the URL to give to the client.
        second_endpoint: a URL for other clients, which continue while those of `endpoint` are
            frozen.
    """

    def __init__(self, to: int, *, kill_client: Callable[[int], None] = lambda _port: None) -> None:
        super().__init__(partial(_execute_later, port=to), kill_client=kill_client)
        self._to = to
        self._links: set[_Link] = set()
        self._listeners = [
            Listener(partial(self._serve, can_freeze=can_freeze)) for can_freeze in (True, False)
        ]
        self.endpoint, self.second_endpoint = (
            f"http://{HOST}:{listener.port}" for listener in self._listeners
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for listener in self._listeners:
            listener.close()
        with self._mutex:
            links = list(self._links)
        for link in links:
            link.close()

    def _serve(self, client: socket.socket, *, can_freeze: bool) -> None:
        """Forward the calls of one connection, one after the other."""
        link = _Link(client, self._to)
        with self._mutex:
            self._links.add(link)
        with contextlib.suppress(OSError, EOFError):
            while True:
                if not self.handle(link, link.receive(), can_freeze=can_freeze):
                    break
        link.close()
        with self._mutex:
            self._links.discard(link)


def _execute_later(request: Message, *, port: int) -> None:
    """Send a delayed call to the service."""
    with (
        contextlib.suppress(OSError, EOFError),
        socket.create_connection((HOST, port), MAX_SECONDS) as server,
        server.makefile("rb") as responses,
    ):
        server.sendall(request.raw)
        read_response(responses, request.method)


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
            EOFError: the client closed the connection.
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
