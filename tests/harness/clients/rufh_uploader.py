"""A client of resumable uploads for HTTP, interop version 8, that believes interim responses.

A 104 with a Location is a promise that the upload can be found there, and one with an offset that
so much is stored, whatever becomes of the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tests.harness.clients.transport import Answer
from tests.harness.clients.uploader import PATH, BrokenPromise, TusClient

RESUMPTION_SUPPORTED = 104

DONE = "?1"
NOT_DONE = "?0"


@dataclass(slots=True, kw_only=True)
class RufhClient(TusClient):
    """Sends one file. Its length is said as soon as it may be, unless the way is a deferred one.

    Attributes:
        earlies: how many interim responses came.
    """

    earlies: int = 0

    spoken: ClassVar[Mapping[str, str]] = {"Upload-Draft-Interop-Version": "8"}

    def upload(self, upto: int | None = None) -> None:
        """Send the file, or its first bytes, and ask once more how far it is.

        Raises:
            BrokenPromise: the server broke one, or the client ran out of patience.
        """
        goal = len(self.file) if upto is None else upto
        cuts = sorted(self.way.cuts)
        offset = self.create(cuts)
        complete = offset == len(self.file) and not self.way.empty_last
        while True:
            if offset is None:
                offset, complete = self.ask()
            elif offset >= goal and (complete or goal < len(self.file)):
                break
            else:
                offset = self._append(offset, goal, cuts)
                complete = offset == len(self.file)
        offset, complete = self.ask()
        if offset != goal or (goal == len(self.file) and not complete):
            raise BrokenPromise(f"{goal} bytes were stored, and now {offset} are, {complete=}")
        if not self.earlies:
            raise BrokenPromise("there was no interim response")

    def create(self, cuts: list[int]) -> int | None:
        """Begin the upload; the offset if it is known then.

        Raises:
            BrokenPromise: it cannot be begun.
        """
        first = self.way.first or 0
        fields = {"Upload-Complete": self._completes(first)}
        if not self.way.deferred:
            fields["Upload-Length"] = str(len(self.file))
        while True:
            self.creations += 1
            answer = self._send_bytes("POST", PATH, fields, (0, first), cuts)
            if answer is not None and answer.status == 201:
                self.url = answer.fields["location"]
                self._failures = 0
                return self._believe(answer)
            self._failed(answer, "POST")
            if self.url is not None:
                return None

    def ask(self) -> tuple[int, bool]:
        """The offset, and whether the upload is complete.

        Raises:
            BrokenPromise: the offset is less than one before, or cannot be had.
        """
        while True:
            answer = self._request("HEAD", self.url or "", {})
            if answer is not None and answer.status == 204:
                offset = self._believe(answer)
                if offset is None:
                    raise BrokenPromise("HEAD says no offset")
                return offset, answer.fields["upload-complete"] == DONE
            self._failed(answer, "HEAD")

    def _append(self, offset: int, goal: int, cuts: list[int]) -> int | None:
        """Send the next bytes; the new offset if the server confirms it."""
        stop = min((one for one in self.way.stops if one > offset), default=goal)
        is_all_sent = offset == len(self.file)
        fields = {
            "Upload-Offset": str(offset),
            "Upload-Complete": DONE if is_all_sent else self._completes(stop),
        }
        answer = self._send_bytes("PATCH", self.url or "", fields, (offset, stop), cuts)
        if answer is None or answer.status != 204:
            self._failed(answer, "PATCH")
            return None
        told = self._believe(answer)
        if told != stop:
            raise BrokenPromise(f"PATCH up to {stop} was answered with {told}")
        self._failures = 0
        is_complete = answer.fields["upload-complete"] == DONE
        if is_complete != (fields["Upload-Complete"] == DONE):
            raise BrokenPromise(f"PATCH with {fields} was answered with {dict(answer.fields)}")
        return told if is_complete or told < len(self.file) else None

    def _completes(self, stop: int) -> str:
        return DONE if stop == len(self.file) and not self.way.empty_last else NOT_DONE

    def _typed(self, method: str) -> Mapping[str, str]:
        kind = "application/partial-upload" if method == "PATCH" else "application/octet-stream"
        return {"Content-Type": kind}

    def _hear_early(self, answer: Answer) -> None:
        """Take a 104 at its word."""
        if answer.status != RESUMPTION_SUPPORTED:
            raise BrokenPromise(f"an interim response that nobody asked for: {answer}")
        self.said.append(f"104 {dict(answer.fields)}")
        self.earlies += 1
        self.url = answer.fields.get("location", self.url)
        self._believe(answer)
