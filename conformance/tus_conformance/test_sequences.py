"""Requests in any order, for several uploads at once, against a model of what has to be there.

What holds all the time: the offset never falls and never passes the length; what was acknowledged
is there, on every worker; a request that is refused changes nothing; what was removed stays so. And
in the end the content is what was sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from .options import Options
from .rules import PRACTICE, rule
from .server import KIB, MIB, Capabilities, Server, Upload, assert_refused, some_bytes

STEPS = 30

SIZES = (0, 1, 1000, 70 * KIB, 6 * MIB)
"""Of whole uploads. The last one is more than a part of S3's."""

PIECES = (0, 1, 999, 64 * KIB, 3 * MIB)
"""Of one request, as far as there is so much left."""


@dataclass
class Model:
    """An upload, and what has to be true of it.

    Attributes:
        upload: where it is.
        content: what it is to hold.
        is_deferred: whether its length was not told yet.
        is_partial: whether it is there to be joined.
        offset: bytes that are certainly stored.
        reach: bytes that may be stored before long: a request that was cut off may be slower than
            the HEAD that came after it.
        is_gone: whether it was removed.
    """

    upload: Upload
    content: bytes = field(repr=False)
    is_deferred: bool
    is_partial: bool
    offset: int = 0
    reach: int = 0
    is_gone: bool = False

    @property
    def left(self) -> int:
        return len(self.content) - self.offset

    @property
    def is_settled(self) -> bool:
        """Whether no request may still be under way."""
        return self.reach == self.offset

    def check(self, upload: Upload) -> None:
        """Compare with what some worker says of it."""
        if not self.is_settled and not self.is_gone:
            upload.offset()  # It waits while somebody holds the upload.
        head = upload.head()
        if self.is_gone:
            assert head.status in {403, 404, 410}, head
            assert "Upload-Offset" not in head, head
            return
        assert head.status in {200, 204}, head
        offset = int(head["Upload-Offset"])
        assert self.offset <= offset <= self.reach, f"expected {self}, got {head}"
        self.offset = offset
        said = head.get("Upload-Length")
        assert said == (None if self.is_deferred else str(len(self.content))), head


@dataclass
class Play:
    """Takes steps at random; `random` is what makes it come again."""

    server: Server
    workers: list[Server]
    capabilities: Capabilities
    random: random.Random
    uploads: list[Model] = field(default_factory=list)

    def offers(self, *extensions: str) -> bool:
        return set(extensions) <= set(self.capabilities.extensions)

    def steps(self, one: Model) -> list[Callable[[Model], None]]:
        """What may be done with an upload, as often as it is to be done."""
        steps: list[Callable[[Model], None]] = [*[self.append] * 5, self.cut, self.cut]
        if one.is_settled:
            steps += [self.misplace, self.mistype, self.overfill]
        if one.is_settled and one.is_deferred:
            steps.append(self.declare)
        if self.offers("termination"):
            steps.append(self.remove)
        return steps

    def begin(self) -> None:
        content = some_bytes(self.random.choice(SIZES), seed=len(self.uploads))
        is_deferred = self.offers("creation-defer-length") and self.random.random() < 0.3
        is_partial = self.offers("concatenation") and self.random.random() < 0.3
        fields = {"Upload-Concat": "partial"} if is_partial else {}
        upload = self.server.create(None if is_deferred else len(content), fields)
        self.uploads.append(Model(upload, content, is_deferred, is_partial))

    def step(self) -> None:
        """Do something with one of them, and ask some worker for it and for another."""
        if not self.uploads or self.random.random() < 0.15:
            self.begin()
        one = self.random.choice(self.uploads)
        if one.is_gone:
            assert self.at(one).patch(b"x", one.offset).status in {403, 404, 410}
        else:
            self.random.choice(self.steps(one))(one)
        for model in (one, self.random.choice(self.uploads)):
            model.check(self.at(model))

    def at(self, one: Model) -> Upload:
        """The upload, at some worker."""
        return one.upload.on(self.random.choice(self.workers))

    def chunk(self, one: Model) -> bytes:
        size = min(self.random.choice(PIECES), one.left)
        return one.content[one.offset : one.offset + size]

    # -- steps -----------------------------------------------------------------------------------

    def append(self, one: Model) -> None:
        """An append. One that is not settled may lose to the request that is still under way."""
        chunk = self.chunk(one)
        response = self.at(one).patch(chunk, one.offset)
        if not one.is_settled and response.status in {409, 423}:
            one.reach = max(one.reach, one.offset + len(chunk))
            return
        assert response.status == 204, response
        one.offset += len(chunk)
        assert response["Upload-Offset"] == str(one.offset), response
        if chunk:
            # The one under way is at the wrong offset now.
            one.reach = one.offset

    def misplace(self, one: Model) -> None:
        wrong = self.random.choice([one.offset + 1, one.offset + 70_000, max(0, one.offset - 1)])
        if wrong != one.offset:
            assert self.at(one).patch(self.chunk(one), wrong).status == 409

    def mistype(self, one: Model) -> None:
        fields = {"Content-Type": "text/plain"}
        assert_refused(self.at(one).patch(self.chunk(one), one.offset, fields))

    def overfill(self, one: Model) -> None:
        if not one.is_deferred:
            data = one.content[one.offset :] + b"beyond"
            assert_refused(self.at(one).patch(data, one.offset))

    def cut(self, one: Model) -> None:
        """A request that ends early: some of it is kept, and from there it goes on."""
        chunk = self.chunk(one)
        sent = chunk[: self.random.randint(0, len(chunk))]
        if len(sent) == len(chunk):
            return
        upload = self.at(one)
        with upload.connect() as connection:
            upload.begin_patch(connection, sent, one.offset, content_length=len(chunk))
            self.random.choice([connection.close, connection.reset, connection.half_close])()
            one.reach = max(one.reach, one.offset + len(sent))
            one.check(self.at(one))

    def declare(self, one: Model) -> None:
        self.at(one).append(b"", one.offset, {"Upload-Length": str(len(one.content))})
        one.is_deferred = False

    def remove(self, one: Model) -> None:
        if self.random.random() < 0.3:
            assert self.at(one).delete().status == 204
            one.is_gone = True

    def end(self) -> None:
        """Send what is missing, and read all; join what may be joined."""
        there = [one for one in self.uploads if not one.is_gone]
        for one in there:
            self.at(one).resume(one.content)
            if one.is_deferred:
                one.offset = len(one.content)
                self.declare(one)
            self.at(one).assert_content(one.content)
        parts = [one for one in there if one.is_partial]
        if parts:
            urls = " ".join(one.upload.target for one in parts)
            final = self.server.upload_from(self.server.post({"Upload-Concat": f"final;{urls}"}))
            final.assert_content(b"".join(one.content for one in parts))


@rule(
    *("C-20", "C-21", "C-24", "C-25", "C-30", "C-31", "C-33", "C-37", "C-38", "C-41", "C-44"),
    *("CO-02", "CO-14", "DL-03", "DL-04", "DL-07", "TE-02"),
    level=PRACTICE,
    needs=("creation", "small-max-size"),
)
@pytest.mark.parametrize("seed", range(6))
def test_requests_in_random_order_match_the_model(
    seed: int, server: Server, capabilities: Capabilities, options: Options
) -> None:
    second = options.second_url
    workers = [server, *([Server(second, server.access)] if second else [])]
    play = Play(server, workers, capabilities, random.Random(seed))
    for _ in range(STEPS):
        play.step()
    play.end()
