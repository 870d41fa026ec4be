"""A client that keeps to tus 1.0.0, and remembers all that it was promised.

After any failure it asks for the offset and goes on from there, as tus-js-client does; a creation
that failed is repeated.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar

from tests.harness.clients.transport import Answer, Transport

TRIES = 6
"""Failures in a row after which the client gives up: enough for every single and double fault."""

PATH = "/files"


class BrokenPromise(AssertionError):
    """The server contradicted itself, or left the client without a way to go on."""


@dataclass(slots=True, kw_only=True)
class Way:
    """How a file is sent.

    Attributes:
        stops: the offsets that PATCH requests end at.
        first: bytes in the creation request; None for a creation without a body.
        deferred: whether the length is said with the last PATCH only.
        empty_last: whether that PATCH brings nothing but the length.
        cuts: offsets at which the connection breaks, once each.
        is_partial: whether the upload is to be a piece of another one.
    """

    stops: Sequence[int] = ()
    first: int | None = None
    deferred: bool = False
    empty_last: bool = False
    cuts: Iterable[int] = ()
    is_partial: bool = False


@dataclass(slots=True, kw_only=True)
class TusClient:
    """Sends one file.

    Attributes:
        send: the way to the server.
        file: what is sent.
        way: how.
        promised: bytes that the server has said are stored.
        expires: how long the server has said that it keeps them.
        url: of the upload, once there is one.
        said: every request and its answer, for whoever wonders what happened.
        creations: how many creation requests were sent.
    """

    send: Transport
    file: bytes
    way: Way
    promised: int = 0
    expires: datetime | None = None
    url: str | None = None
    said: list[str] = field(default_factory=list)
    creations: int = 0
    _failures: int = 0

    spoken: ClassVar[Mapping[str, str]] = {"Tus-Resumable": "1.0.0"}
    """What every request says."""

    @property
    def wanted(self) -> dict[str, bytes]:
        """What has to be there in the end: the files, by the ids of their uploads."""
        return {self.id: self.file}

    @property
    def id(self) -> str:
        """The upload's."""
        assert self.url is not None
        return self.url.rpartition("/")[2]

    def upload(self, upto: int | None = None) -> None:
        """Send the file, or its first bytes, and ask once more how far it is.

        Raises:
            BrokenPromise: the server broke one, or the client ran out of patience.
        """
        goal = len(self.file) if upto is None else upto
        cuts = sorted(self.way.cuts)
        offset = 0 if self.url is not None else self.create(cuts)
        declared = not self.way.deferred
        while True:
            if offset is None:
                offset, declared = self.ask()
            elif offset >= goal and (declared or goal < len(self.file)):
                break
            else:
                offset = self._patch(offset, goal, cuts)
                declared = declared or offset == len(self.file)
        offset, _ = self.ask()
        if offset != goal:
            raise BrokenPromise(f"{goal} bytes were stored, and now {offset} are")

    def terminate(self) -> None:
        """Ask for the upload's end until it is certain.

        Raises:
            BrokenPromise: it does not end.
        """
        while True:
            answer = self._request("DELETE", self.url or "", {})
            if answer is not None and answer.status in {204, 404, 410}:
                return
            self._failed(answer, "DELETE")

    def ask_for_trace(self) -> None:
        """Make sure that nobody knows the upload any more."""
        while True:
            answer = self._request("HEAD", self.url or "", {})
            if answer is not None and answer.status in {404, 410}:
                return
            self._failed(answer, "HEAD")

    def create(self, cuts: list[int]) -> int | None:
        """Begin the upload; the offset if it is known then.

        Raises:
            BrokenPromise: it cannot be begun.
        """
        fields = {"Upload-Metadata": f"filename {base64.b64encode(b'a file.bin').decode()}"}
        if self.way.is_partial:
            fields["Upload-Concat"] = "partial"
        if self.way.deferred:
            fields["Upload-Defer-Length"] = "1"
        else:
            fields["Upload-Length"] = str(len(self.file))
        while True:
            self.creations += 1
            if self.way.first is None:
                answer = self._request("POST", PATH, fields)
            else:
                answer = self._send_bytes("POST", PATH, fields, (0, self.way.first), cuts)
            if answer is not None and answer.status == 201:
                self.url = answer.fields["location"]
                self._failures = 0
                return self._believe(answer) if self.way.first is not None else 0
            self._failed(answer, "POST")

    def ask(self) -> tuple[int, bool]:
        """The offset, and whether the server knows the length.

        Raises:
            BrokenPromise: the offset is less than one before, or cannot be had.
        """
        while True:
            answer = self._request("HEAD", self.url or "", {})
            if answer is not None and answer.status == 200:
                offset = self._believe(answer)
                if offset is None:
                    raise BrokenPromise("HEAD says no offset")
                return offset, "upload-length" in answer.fields
            self._failed(answer, "HEAD")

    def _patch(self, offset: int, goal: int, cuts: list[int]) -> int | None:
        """Send the next bytes; the new offset if the server confirms it."""
        stop = min((one for one in self.way.stops if one > offset), default=goal)
        fields = {"Upload-Offset": str(offset)}
        if self.way.deferred and (
            offset == len(self.file) or (stop == len(self.file) and not self.way.empty_last)
        ):
            fields["Upload-Length"] = str(len(self.file))
        answer = self._send_bytes("PATCH", self.url or "", fields, (offset, stop), cuts)
        if answer is not None and answer.status == 204:
            told = self._believe(answer)
            if told != stop:
                raise BrokenPromise(f"PATCH up to {stop} was answered with {told}")
            self._failures = 0
            return None if self.way.empty_last and stop == len(self.file) else told
        self._failed(answer, "PATCH")
        return None

    def _send_bytes(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        span: tuple[int, int],
        cuts: list[int],
    ) -> Answer | None:
        start, stop = span
        end = stop
        if cuts and start < cuts[0] < stop:
            end = cuts.pop(0)
        typed = {**fields, **self._typed(method)}
        return self._request(method, url, typed, self.file[start:end], stop - start)

    def _typed(self, method: str) -> Mapping[str, str]:
        return {"Content-Type": "application/offset+octet-stream"}

    def _request(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        content_length: int = 0,
    ) -> Answer | None:
        """The answer, or None when the connection broke."""
        told = f"{method} {fields.get('Upload-Offset', '')}+{len(body)}"
        try:
            answer = self.send(
                method,
                url,
                {**self.spoken, **fields},
                body,
                content_length,
                on_early=self._hear_early,
            )
        except OSError as error:
            self.said.append(f"{told} -> {type(error).__name__}")
            return None
        self.said.append(f"{told} -> {answer.status} {answer.offset}")
        if not answer.is_fine and answer.offset is not None:
            self._believe(answer)
        self._believe_expiry(answer)
        return answer

    def _hear_early(self, answer: Answer) -> None:
        """An interim response. There is none in tus."""
        raise BrokenPromise(f"an interim response that nobody asked for: {answer}")

    def _believe_expiry(self, answer: Answer) -> None:
        text = answer.fields.get("upload-expires")
        if text is None:
            return
        expires = parsedate_to_datetime(text)
        if self.expires is not None and expires < self.expires:
            raise BrokenPromise(f"it was to be kept until {self.expires}, and now until {expires}")
        self.expires = expires

    def _believe(self, answer: Answer) -> int | None:
        """Hold the server to what it says is stored, now and later."""
        offset = answer.offset
        if offset is None:
            return None
        if offset < self.promised:
            raise BrokenPromise(f"{self.promised} bytes were stored, and now {offset} are")
        if offset > len(self.file):
            raise BrokenPromise(f"{offset} bytes are said to be stored of {len(self.file)}")
        self.promised = offset
        return offset

    def _failed(self, answer: Answer | None, method: str) -> None:
        """Count a failure.

        Raises:
            BrokenPromise: it is the last straw, or one after which clients give up at once.
        """
        self._failures += 1
        status = None if answer is None else answer.status
        if answer is not None and not answer.is_worth_another_try:
            raise BrokenPromise(f"{method} was answered with {status}, after which clients give up")
        if self._failures >= TRIES:
            raise BrokenPromise(f"{method} failed {TRIES} times in a row, last with {status}")
