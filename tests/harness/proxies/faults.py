"""The ways in which an S3 call can fail, and scripts that say which calls do."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.harness.proxies.s3_calls import error_document, response_head

SHORT_DELAY = 2
MEDIUM_DELAY = 7
LONG_DELAY = 9
"""How many other calls S3 answers before a delayed call arrives.

After the short delay, the client is asking for the offset. After the longer delays it has resumed:
the delayed call arrives just before or just after the next tail is acknowledged.
"""


class Fault(enum.Enum):
    """What happens to a call."""

    INTERNAL_ERROR = "500"
    """S3 answers InternalError and does not execute the call."""
    SLOW_DOWN = "503"
    """S3 answers SlowDown and does not execute the call."""
    INVALID_REQUEST = "400"
    """S3 answers InvalidRequest; it will never execute the call."""
    FORBIDDEN = "403"
    """S3 answers AccessDenied and does not execute the call."""
    EMPTY_404 = "404, empty"
    HTML_404 = "404, HTML"
    """A router answers 404, without a body or with a web page. S3 does not get the call."""
    CONFLICT = "409"
    """S3 answers ConditionalRequestConflict: a call on the same object is in progress."""
    ABORTED = "409, aborted"
    """S3 answers OperationAborted: a call on the same resource is in progress."""
    CONDITION_FAILED = "412"
    """S3 answers PreconditionFailed, as after an earlier attempt of the same call."""
    NOT_IMPLEMENTED = "501"
    """S3 answers NotImplemented and does not execute the call."""
    CUT_BEFORE = "cut before"
    """The connection is lost before the call reaches S3."""
    CUT_AFTER = "cut after"
    """S3 executes the call; the connection is lost before the first byte of the response."""
    CUT_WITHIN = "cut within"
    """S3 executes the call; the connection is lost in the middle of the response."""
    STALL_BEFORE = "stall before"
    """The call never reaches S3. There is no response until the client times out."""
    STALL_AFTER = "stall after"
    """S3 executes the call. There is no response until the client times out."""
    LATE_AFTER_2 = "late after 2"
    LATE_AFTER_7 = "late after 7"
    LATE_AFTER_9 = "late after 9"
    """There is no response until the client times out. S3 executes the call that many calls later,
    when other calls have replaced it."""
    GATEWAY_LATE_AFTER_2 = "504, late after 2"
    GATEWAY_LATE_AFTER_7 = "504, late after 7"
    GATEWAY_LATE_AFTER_9 = "504, late after 9"
    """The same, but a gateway times out first and answers 504."""
    EMPTY_200 = "200, empty"
    """S3 does not execute the call and answers 200 without a body. Removals are executed, since
    this is what their normal response looks like."""
    HTML_200 = "200, HTML"
    """A router answers 200 with a web page. S3 does not get the call; removals are executed, since
    clients ignore the body of their response."""
    LOST_BODY = "200, body lost"
    """S3 executes the call; only the status 200 of its response arrives."""
    ERROR_IN_200 = "200, error"
    """S3 answers 200 before it starts and then reports an error in the body, as AWS does for
    CompleteMultipartUpload and UploadPartCopy."""
    FREEZE_BEFORE = "frozen before"
    FREEZE_AFTER = "frozen after"
    """The client stops before or after S3 executes the call, for longer than its lease. Another
    server continues. Then the client wakes up and gets the response."""
    MEANWHILE = "meanwhile"
    """Another process does something before S3 gets the call. The call itself succeeds."""
    KILL_BEFORE = "kill before"
    """The client is killed before the call reaches S3."""
    KILL_AFTER = "kill after"
    """S3 executes the call; the client is killed before the response arrives."""

    @property
    def effect(self) -> Effect:
        return _EFFECTS[self]

    @property
    def is_silent(self) -> bool:
        """Whether the client notices the fault by its timeout alone."""
        return self.effect.reply is Reply.SILENCE

    @property
    def is_delayed(self) -> bool:
        """Whether S3 executes the call after the client has given up."""
        return bool(self.effect.delay)

    @property
    def may_be_late(self) -> bool:
        """Whether S3 may execute the call after another client has finished the upload."""
        return self.is_delayed or self is Fault.FREEZE_BEFORE

    @property
    def is_executed(self) -> bool:
        """Whether S3 executes the call sooner or later."""
        return self.effect.delay is not None

    @property
    def freezes_client(self) -> bool:
        """Whether the client stops until another process has continued."""
        return self in {Fault.FREEZE_BEFORE, Fault.FREEZE_AFTER}

    @property
    def holds_call(self) -> bool:
        """Whether another process acts while the call waits. The client gets S3's response."""
        return self.effect.reply is Reply.RESPONSE

    @property
    def kills_client(self) -> bool:
        return self.effect.reply is Reply.KILL


class Reply(enum.Enum):
    """What the client receives instead of S3's response."""

    CUT = enum.auto()
    """The connection is closed."""
    HALF = enum.auto()
    """Half of the response, then the connection is closed."""
    SILENCE = enum.auto()
    """Nothing until the client closes the connection."""
    KILL = enum.auto()
    """The client does not live to see it."""
    RESPONSE = enum.auto()
    """S3's response, although late."""


@dataclass(frozen=True, slots=True)
class CannedReply:
    """A response that the proxy sends by itself.

    Attributes:
        status: its status line, without the version.
        code: the code of the error document in the body; empty for no error document.
        body: another body.
        content_type: the type of the body.
    """

    status: str
    code: str = ""
    body: bytes = b""
    content_type: str = "application/xml"

    def encode(self, *, is_head: bool) -> bytes:
        body = error_document(self.code, "by the proxy") if self.code else self.body
        body = b"" if is_head else body
        return response_head(self.status, len(body), self.content_type) + body


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does to a call.

    Attributes:
        delay: how many calls are answered before S3 receives this one; 0 for none, and None for a
            call that never reaches S3.
        reply: what the client receives.
    """

    delay: int | None
    reply: Reply | CannedReply


_GATEWAY_TIMEOUT = CannedReply("504 Gateway Timeout")


def _web_page(status: str) -> CannedReply:
    page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><br></body></html>\n"
    return CannedReply(status, body=page, content_type="text/html")


_EFFECTS = {
    Fault.INTERNAL_ERROR: Effect(None, CannedReply("500 Internal Server Error", "InternalError")),
    Fault.SLOW_DOWN: Effect(None, CannedReply("503 Slow Down", "SlowDown")),
    Fault.INVALID_REQUEST: Effect(None, CannedReply("400 Bad Request", "InvalidRequest")),
    Fault.FORBIDDEN: Effect(None, CannedReply("403 Forbidden", "AccessDenied")),
    Fault.EMPTY_404: Effect(None, CannedReply("404 Not Found")),
    Fault.HTML_404: Effect(None, _web_page("404 Not Found")),
    Fault.CONFLICT: Effect(None, CannedReply("409 Conflict", "ConditionalRequestConflict")),
    Fault.ABORTED: Effect(None, CannedReply("409 Conflict", "OperationAborted")),
    Fault.CONDITION_FAILED: Effect(
        None, CannedReply("412 Precondition Failed", "PreconditionFailed")
    ),
    Fault.NOT_IMPLEMENTED: Effect(None, CannedReply("501 Not Implemented", "NotImplemented")),
    Fault.CUT_BEFORE: Effect(None, Reply.CUT),
    Fault.CUT_AFTER: Effect(0, Reply.CUT),
    Fault.CUT_WITHIN: Effect(0, Reply.HALF),
    Fault.STALL_BEFORE: Effect(None, Reply.SILENCE),
    Fault.STALL_AFTER: Effect(0, Reply.SILENCE),
    Fault.LATE_AFTER_2: Effect(SHORT_DELAY, Reply.SILENCE),
    Fault.LATE_AFTER_7: Effect(MEDIUM_DELAY, Reply.SILENCE),
    Fault.LATE_AFTER_9: Effect(LONG_DELAY, Reply.SILENCE),
    Fault.GATEWAY_LATE_AFTER_2: Effect(SHORT_DELAY, _GATEWAY_TIMEOUT),
    Fault.GATEWAY_LATE_AFTER_7: Effect(MEDIUM_DELAY, _GATEWAY_TIMEOUT),
    Fault.GATEWAY_LATE_AFTER_9: Effect(LONG_DELAY, _GATEWAY_TIMEOUT),
    Fault.EMPTY_200: Effect(None, CannedReply("200 OK")),
    Fault.HTML_200: Effect(None, _web_page("200 OK")),
    Fault.LOST_BODY: Effect(0, CannedReply("200 OK")),
    Fault.ERROR_IN_200: Effect(None, CannedReply("200 OK", "InternalError")),
    Fault.FREEZE_BEFORE: Effect(0, Reply.RESPONSE),
    Fault.FREEZE_AFTER: Effect(0, Reply.RESPONSE),
    Fault.MEANWHILE: Effect(0, Reply.RESPONSE),
    Fault.KILL_BEFORE: Effect(None, Reply.KILL),
    Fault.KILL_AFTER: Effect(0, Reply.KILL),
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that reached the proxy.

    Attributes:
        number: counted from 1.
        operation: S3's name for it.
        key: the key of the object.
        part: the number of the part, if there is one.
        fault: what happened to it.
        request: the number of the client's request that it was made for; see `FaultInjector`.
    """

    number: int
    operation: str
    key: str
    part: int | None = None
    fault: Fault | None = None
    request: int = 0

    def __str__(self) -> str:
        suffix = self.key.rpartition(".")[2] if "." in self.key else "data"
        return f"{self.number} {self.operation} {suffix}"


FaultPlan = Callable[[Call], Fault | None]
"""Chooses the fault of each call, in the order in which the calls arrive."""


def no_fault(_call: Call) -> None:
    """Let every call succeed."""


@dataclass(frozen=True, slots=True)
class FaultStep:
    """One fault of a script, and the call that it hits.

    Attributes:
        fault: what happens to the call.
        skip: how many matching calls succeed after the previous step and before this one.
        operation: S3's name of the operation of matching calls; None for any.
        suffix: how the keys of matching calls end.
    """

    fault: Fault
    skip: int = 0
    operation: str | None = None
    suffix: str = ""

    def matches(self, call: Call) -> bool:
        return self.operation in {None, call.operation} and call.key.endswith(self.suffix)

    def __str__(self) -> str:
        calls = f"{self.operation or 'call'}s {self.suffix}".strip()
        return f"{self.fault.value} after {self.skip} {calls}"


class FaultScript:
    """A `FaultPlan` that carries out steps in order: each step starts after the previous fault.

    Args:
        steps: the faults; empty for none.
    """

    def __init__(self, steps: Iterable[FaultStep] = ()) -> None:
        self._steps = deque(steps)
        self._skipped = 0

    def __call__(self, call: Call) -> Fault | None:
        if not self._steps or not self._steps[0].matches(call):
            return None
        if self._skipped < self._steps[0].skip:
            self._skipped += 1
            return None
        self._skipped = 0
        return self._steps.popleft().fault
