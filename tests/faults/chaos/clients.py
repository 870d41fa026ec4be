"""Clients that upload files and compare what is stored with what they have sent."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.chaos.report import Report
from tests.harness.clients.concat_uploader import ConcatUploader
from tests.harness.clients.http import OnInterim, Response, ignore
from tests.harness.clients.rufh_uploader import RufhUploader
from tests.harness.clients.transport import over_http
from tests.harness.clients.uploader import ProtocolError, TusUploader, UploadScript
from tus_wsgi.domain.model import MIB

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_FAILURES = 300
"""Failures in a row after which a client gives up. With the pauses, they take minutes."""

PAUSES = (0.05, 0.6)
"""Seconds that a client waits after a failure: the shortest and the longest pause."""

_BLOCK = random.Random(7).randbytes(MIB)


@dataclass(frozen=True, slots=True)
class SentFile:
    """A file whose content is computed when it is needed, because a run has too many to keep.

    Attributes:
        number: the number that makes its bytes differ from those of all other files.
        size: its bytes.
    """

    number: int
    size: int

    def content(self) -> bytes:
        """Return its bytes. Each MiB of them begins with the numbers of the file and the MiB."""
        count = math.ceil(self.size / MIB)
        tags = (f"{self.number:16}{block:16}".encode() for block in range(count))
        return b"".join(tag + _BLOCK[len(tag) :] for tag in tags)[: self.size]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where the servers store files.

    Attributes:
        admin: a client without faults.
        name: the name of the bucket.
        prefix: the prefix of the keys.
    """

    admin: S3Client
    name: str
    prefix: str

    def read(self, id: str) -> bytes:
        """Return the object of an upload."""
        response = self.admin.get_object(Bucket=self.name, Key=self.prefix + id)
        return response["Body"].read()


class ChaosClient(threading.Thread):
    """Upload one random file after the other until it is told to stop.

    Args:
        number: the number of the client.
        seed: the seed of the turn.
        ports: the ports of the servers. Each request goes to a random one of them.
        bucket: where the files are.
        report: counts requests and files.

    Attributes:
        is_stopping: set to stop after the current file.
        finished: the acknowledged files, by the ids of their uploads.
        terminated: the ids of the uploads that this client has terminated.
    """

    def __init__(
        self, number: int, seed: str, ports: Sequence[int], bucket: Bucket, report: Report
    ) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.is_stopping = threading.Event()
        self.finished: dict[str, SentFile] = {}
        self.terminated: list[str] = []
        self._rng = random.Random(f"{seed}/{number}")
        self._file_numbers = iter(range(number * 1_000_000, (number + 1) * 1_000_000))
        self._transports = [over_http(port) for port in ports]
        self._bucket = bucket
        self._report = report

    def run(self) -> None:
        while not self.is_stopping.is_set():
            try:
                self._upload_one()
            except Exception as error:  # noqa: BLE001 - the run continues, and reports it
                self._report.fail(f"{self.name}: {type(error).__name__}: {error}")

    def send(
        self,
        method: str,
        url: str,
        fields: Mapping[str, str],
        body: bytes = b"",
        content_length: int | None = None,
        *,
        on_interim: OnInterim = ignore,
    ) -> Response:
        """Send a request to a random server, and wait a moment after a failure. See `Transport`."""
        transport = self._rng.choice(self._transports)
        try:
            response = transport(method, url, fields, body, content_length, on_interim=on_interim)
        except OSError as error:
            self._report.count("responses", f"{method} none")
            self._pause()
            raise ConnectionError("no response") from error
        self._report.count("responses", f"{method} {response.status}")
        if response.status == 500:
            self._report.fail(f"{method} was answered with 500")
        if response.status == 423 or response.status >= 500:
            self._pause()
        return response

    def _pause(self) -> None:
        time.sleep(self._rng.uniform(*PAUSES))

    def _upload_one(self) -> None:
        """Upload a new file and compare it, or terminate its upload, which is rare."""
        rng = self._rng
        file = SentFile(next(self._file_numbers), self._random_size())
        content = file.content()
        uploader = self._new_uploader(content)
        try:
            is_terminated = rng.random() < 0.06
            if is_terminated and isinstance(uploader, TusUploader) and content:
                self._terminate(uploader, len(content))
                return
            uploader.upload()
        except ProtocolError as error:
            transcript = "; ".join(uploader.transcript[-12:])
            self._report.fail(f"{error}: {transcript}")
            return
        self._check(uploader.id, file, content)

    def _check(self, id: str, file: SentFile, content: bytes) -> None:
        """Compare the stored object with the file, byte for byte."""
        if self._bucket.read(id) != content:
            self._report.fail(f"the object of {id[:4]}... differs from the file")
        self.finished[id] = file
        self._report.count("files", "finished")
        self._report.count("files", "bytes", len(content))

    def _terminate(self, uploader: TusUploader, size: int) -> None:
        """Terminate an upload: a finished one of the draft, or one of tus that is not finished."""
        if type(uploader) is RufhUploader:
            uploader.upload()
        else:
            goal = self._rng.randrange(size)
            uploader.script = UploadScript(patch_ends=[goal])
            uploader.upload(goal)
        uploader.terminate()
        uploader.assert_gone()
        self.terminated.append(uploader.id)
        self._report.count("files", "terminated")

    def _random_size(self) -> int:
        rng = self._rng
        limits, weights = [100, 200_000, MIB, 6 * MIB, 16 * MIB], [1, 5, 5, 4, 2]
        [limit] = rng.choices(limits, weights)
        return rng.randrange(limit)

    def _new_uploader(self, content: bytes) -> TusUploader | ConcatUploader:
        """Return an uploader with a random protocol, random requests and interruptions."""
        rng = self._rng
        size = len(content)
        [kind] = rng.choices(["tus", "rufh", "concat"], [14, 4, 2])
        if kind == "concat":
            middle = rng.randrange(size + 1)
            parts = [content[:middle], content[middle:]]
            return ConcatUploader(send=self.send, parts=parts, max_failures=MAX_FAILURES)
        ends = sorted({rng.randrange(size + 1) for _ in range(rng.choice([0, 0, 1, 2, 4]))})
        cuts = [rng.randrange(1, size) for _ in range(rng.choice([0, 0, 0, 1, 2])) if size > 1]
        # None: the creation has no body.
        first = rng.choice([None, None, 0, min(size, 1000), size])
        created = 0 if first is None else first
        script = UploadScript(
            patch_ends=[end for end in [*ends, size] if end > created],
            first=first,
            is_deferred=rng.random() < 0.3 and first != size and size > 0,
            cuts=cuts,
        )
        uploader = RufhUploader if kind == "rufh" else TusUploader
        return uploader(send=self.send, file=content, script=script, max_failures=MAX_FAILURES)
