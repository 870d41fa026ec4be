"""Requests in random order, for several uploads at once, compared with a model of their state.

Invariants: the offset never decreases and never exceeds the length; acknowledged bytes are visible
to every worker; a refused request changes nothing; a removed upload stays removed. At the end, the
content is what was sent.
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
"""Sizes of uploads. The last is larger than the minimum part size of S3."""

CHUNK_SIZES = (0, 1, 999, 64 * KIB, 3 * MIB)
"""Sizes of one request, limited by the remaining length."""


@dataclass
class Model:
    """An upload and its expected state.

    Attributes:
        upload: the upload.
        content: its content once it is complete.
        is_deferred: whether its length is still undeclared.
        is_partial: whether it is a partial upload.
        offset: bytes that are stored.
        max_offset: the highest offset that HEAD may return: an interrupted request may store its
            bytes late.
        is_removed: whether it was terminated.
    """

    upload: Upload
    content: bytes = field(repr=False)
    is_deferred: bool
    is_partial: bool
    offset: int = 0
    max_offset: int = 0
    is_removed: bool = False

    @property
    def remaining(self) -> int:
        return len(self.content) - self.offset

    @property
    def is_settled(self) -> bool:
        """Whether no interrupted request can still store bytes."""
        return self.max_offset == self.offset

    def check(self, upload: Upload) -> None:
        """Compare the model with the response of a worker."""
        if not self.is_settled and not self.is_removed:
            upload.offset()  # Waits while the upload is locked.
        head = upload.head()
        if self.is_removed:
            assert head.status in {403, 404, 410}, head
            assert "Upload-Offset" not in head, head
            return
        assert head.status in {200, 204}, head
        offset = int(head["Upload-Offset"])
        assert self.offset <= offset <= self.max_offset, f"expected {self}, got {head}"
        self.offset = offset
        length = head.get("Upload-Length")
        assert length == (None if self.is_deferred else str(len(self.content))), head


@dataclass
class RandomClient:
    """Send random requests, reproducible by the seed of `random`."""

    server: Server
    workers: list[Server]
    capabilities: Capabilities
    random: random.Random
    uploads: list[Model] = field(default_factory=list)

    def supports(self, *extensions: str) -> bool:
        return set(extensions) <= set(self.capabilities.extensions)

    def steps(self, model: Model) -> list[Callable[[Model], None]]:
        """Return the steps that an upload allows. A likelier step is in the list more often."""
        steps: list[Callable[[Model], None]] = [*[self.append] * 5, self.interrupt, self.interrupt]
        if model.is_settled:
            steps += [
                self.append_at_wrong_offset,
                self.append_with_wrong_type,
                self.append_beyond_the_length,
            ]
        if model.is_settled and model.is_deferred:
            steps.append(self.declare_length)
        if self.supports("termination"):
            steps.append(self.remove)
        return steps

    def create(self) -> None:
        content = some_bytes(self.random.choice(SIZES), seed=len(self.uploads))
        is_deferred = self.supports("creation-defer-length") and self.random.random() < 0.3
        is_partial = self.supports("concatenation") and self.random.random() < 0.3
        fields = {"Upload-Concat": "partial"} if is_partial else {}
        upload = self.server.create(None if is_deferred else len(content), fields)
        self.uploads.append(Model(upload, content, is_deferred, is_partial))

    def step(self) -> None:
        """Take one step with an upload, then compare it and another one with their models."""
        if not self.uploads or self.random.random() < 0.15:
            self.create()
        model = self.random.choice(self.uploads)
        if model.is_removed:
            assert self.at(model).patch(b"x", model.offset).status in {403, 404, 410}
        else:
            self.random.choice(self.steps(model))(model)
        for checked in (model, self.random.choice(self.uploads)):
            checked.check(self.at(checked))

    def at(self, model: Model) -> Upload:
        """Return the upload on a random worker."""
        return model.upload.on(self.random.choice(self.workers))

    def next_chunk(self, model: Model) -> bytes:
        size = min(self.random.choice(CHUNK_SIZES), model.remaining)
        return model.content[model.offset : model.offset + size]

    # -- steps -----------------------------------------------------------------------------------

    def append(self, model: Model) -> None:
        """Append a chunk. An interrupted request that is still running may cause a 409 or 423."""
        chunk = self.next_chunk(model)
        response = self.at(model).patch(chunk, model.offset)
        if not model.is_settled and response.status in {409, 423}:
            model.max_offset = max(model.max_offset, model.offset + len(chunk))
            return
        assert response.status == 204, response
        model.offset += len(chunk)
        assert response["Upload-Offset"] == str(model.offset), response
        if chunk:
            # An interrupted request can store nothing any more: its offset is wrong now.
            model.max_offset = model.offset

    def append_at_wrong_offset(self, model: Model) -> None:
        wrong = self.random.choice(
            [model.offset + 1, model.offset + 70_000, max(0, model.offset - 1)]
        )
        if wrong != model.offset:
            assert self.at(model).patch(self.next_chunk(model), wrong).status == 409

    def append_with_wrong_type(self, model: Model) -> None:
        fields = {"Content-Type": "text/plain"}
        assert_refused(self.at(model).patch(self.next_chunk(model), model.offset, fields))

    def append_beyond_the_length(self, model: Model) -> None:
        if not model.is_deferred:
            data = model.content[model.offset :] + b"beyond"
            assert_refused(self.at(model).patch(data, model.offset))

    def interrupt(self, model: Model) -> None:
        """Interrupt a request; a part of its bytes is stored."""
        chunk = self.next_chunk(model)
        sent = chunk[: self.random.randint(0, len(chunk))]
        if len(sent) == len(chunk):
            return
        upload = self.at(model)
        with upload.connect() as connection:
            upload.begin_patch(connection, sent, model.offset, content_length=len(chunk))
            self.random.choice([connection.close, connection.reset, connection.half_close])()
            model.max_offset = max(model.max_offset, model.offset + len(sent))
            model.check(self.at(model))

    def declare_length(self, model: Model) -> None:
        self.at(model).append(b"", model.offset, {"Upload-Length": str(len(model.content))})
        model.is_deferred = False

    def remove(self, model: Model) -> None:
        if self.random.random() < 0.3:
            assert self.at(model).delete().status == 204
            model.is_removed = True

    def finish(self) -> None:
        """Complete and read every upload, then concatenate the partial ones."""
        remaining = [model for model in self.uploads if not model.is_removed]
        for model in remaining:
            self.at(model).resume(model.content)
            if model.is_deferred:
                model.offset = len(model.content)
                self.declare_length(model)
            self.at(model).assert_content(model.content)
        partials = [model for model in remaining if model.is_partial]
        if partials:
            urls = " ".join(model.upload.target for model in partials)
            final = self.server.upload_from(self.server.post({"Upload-Concat": f"final;{urls}"}))
            final.assert_content(b"".join(model.content for model in partials))


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
    client = RandomClient(server, workers, capabilities, random.Random(seed))
    for _ in range(STEPS):
        client.step()
    client.finish()
