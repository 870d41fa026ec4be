"""Clients that others wrote: each uploads a file, goes on after every reset, and says where it is.

Sizes are bytes, and times seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import aiotus
import requests
import resumable_upload
import tus as tus_py
from tusclient.client import TusClient

from tests.harness.node import node_packages, run_node
from tests.live.clients.curl import Ran, curl
from tus_wsgi.domain.model import MIB

HERE = Path(__file__).parent

TUS_JS_CLIENT = "tus-js-client@4.3.1"
UPPY = ("@uppy/core@6.3.1", "@uppy/tus@6.0.0")

FILENAME = "Menü.mp4"
METADATA = {"filename": FILENAME, "filetype": "video/mp4"}

TRIES = 20
PAUSE = 0.05

NODE_SECONDS = 200


@dataclass(frozen=True, slots=True)
class Job:
    """A file to upload.

    Attributes:
        file: where it is.
        size: its bytes.
        chunk: bytes for each request at most; 0 for all that is left.
        metadata: what the server is told of it.
        checksum: whether each request has one.
        options: for the clients in JavaScript, by their own names.
    """

    file: Path
    size: int
    chunk: int = 0
    metadata: Mapping[str, str] = field(default_factory=lambda: METADATA)
    checksum: bool = False
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def largest(self) -> int:
        """The largest request in bytes, for clients that want a number."""
        return self.chunk or self.size or 1


Client = Callable[[str, Job], str]
"""Uploads a file to an endpoint, and returns the upload's URL."""


def run_tus_js_client(endpoint: str, job: Job, **more: object) -> dict[str, object]:
    """Upload with tus-js-client, and return all that its script prints."""
    options = {
        "endpoint": endpoint,
        "file": str(job.file),
        "size": job.size,
        "chunkSize": job.chunk,
        "metadata": dict(job.metadata),
        "options": dict(job.options),
        **more,
    }
    modules = node_packages(TUS_JS_CLIENT)
    return run_node(HERE / "tus_js.cjs", options, modules=modules, seconds=NODE_SECONDS)


def tus_js_client(endpoint: str, job: Job) -> str:
    return str(run_tus_js_client(endpoint, job)["url"])


def uppy(endpoint: str, job: Job) -> str:
    """Uppy's tus plugin without a browser."""
    options = {
        "endpoint": endpoint,
        "file": str(job.file),
        "chunkSize": job.chunk,
        "name": job.metadata["filename"],
        "type": job.metadata["filetype"],
        "options": dict(job.options),
    }
    modules = node_packages(*UPPY)
    printed = run_node(HERE / "uppy.mjs", options, modules=modules, seconds=NODE_SECONDS)
    return str(printed["url"])


def _tuspy_arguments(job: Job, file: BinaryIO) -> dict[str, Any]:
    said: dict[str, Any] = {"file_stream": file, "retries": TRIES, "retry_delay": PAUSE}
    if job.chunk:
        said["chunk_size"] = job.chunk
    if job.metadata:
        said["metadata"] = dict(job.metadata)
    if job.checksum:
        said["upload_checksum"] = True
    return said


def tuspy(endpoint: str, job: Job) -> str:
    with job.file.open("rb") as file:
        uploader = TusClient(endpoint).uploader(**_tuspy_arguments(job, file))
        uploader.upload()
    return str(uploader.url)


def tuspy_async(endpoint: str, job: Job) -> str:
    with job.file.open("rb") as file:
        uploader = TusClient(endpoint).async_uploader(**_tuspy_arguments(job, file))
        asyncio.run(uploader.upload())
    return str(uploader.url)


def _patience() -> aiotus.RetryConfiguration:
    # Without a limit it waits one second after the first failure, and then twice as long each time.
    return aiotus.RetryConfiguration(retry_attempts=TRIES, max_retry_period_seconds=PAUSE)


def aiotus_upload(endpoint: str, job: Job) -> str:
    metadata = {key: value.encode() for key, value in job.metadata.items()}
    with job.file.open("rb") as file:
        url = asyncio.run(
            aiotus.upload(endpoint, file, metadata, config=_patience(), chunksize=job.largest)
        )
    assert url is not None, "aiotus gave up"
    return str(url)


def aiotus_multiple(endpoint: str, files: Sequence[Path], *, chunk: int) -> str:
    """Several files become one object."""
    with ExitStack() as opened:
        readers = [opened.enter_context(file.open("rb")) for file in files]
        url = asyncio.run(
            aiotus.upload_multiple(
                endpoint, readers, {"filename": b"x"}, config=_patience(), chunksize=chunk
            )
        )
    assert url is not None, "aiotus gave up"
    return str(url)


def tus_dot_py(endpoint: str, job: Job) -> str:
    """It never tries again by itself: its command `tus-resume` does, which a person calls."""
    metadata = {key: value for key, value in job.metadata.items() if key != "filename"}
    url = tus_py.create(endpoint, job.metadata["filename"], job.size, metadata=metadata)
    for _ in range(TRIES):
        try:
            with job.file.open("rb") as file:
                tus_py.resume(file, url, chunk_size=job.largest)
        except requests.ConnectionError:
            continue
        except tus_py.TusError as error:
            # A request that was cut may begin behind the HEAD that follows it.
            if error.response.status_code not in (409, 423):
                raise
            continue
        return str(url)
    raise AssertionError("tus.py never came to the end")


def resumable_upload_client(endpoint: str, job: Job, *, parallel: int = 1) -> str:
    """After a failure it sends the same bytes again, and goes on where the answer (409) says.

    It reads no answer before it has sent a request, and a server reads only so much of one that it
    refuses. So requests are no larger than this client's own default.
    """
    client = resumable_upload.TusClient(
        endpoint,
        chunk_size=min(job.largest, MIB),
        checksum=job.checksum,
        max_retries=TRIES,
        retry_delay=PAUSE,
    )
    url = client.upload_file(
        os.fspath(job.file), metadata=dict(job.metadata), parallel_uploads=parallel
    )
    return str(url)


def begin_with_curl(endpoint: str, job: Job, *arguments: str) -> Ran:
    """The whole file in one request, as interoperable clients of the IETF's draft send it."""
    said = {"Content-Type": job.metadata["filetype"], "Upload-Complete": "?1"}
    return curl("POST", endpoint, said, job.file, arguments=arguments)


def go_on_with_curl(url: str, job: Job) -> str:
    """HEAD, and what is missing, until nothing is."""
    for _ in range(TRIES):
        offset = int(curl("HEAD", url).final["Upload-Offset"])
        rest = {
            "Content-Type": "application/partial-upload",
            "Upload-Complete": "?1",
            "Upload-Offset": str(offset),
        }
        ran = curl("PATCH", url, rest, job.file, offset=offset)
        if not ran.failed:
            assert ran.final.status in (201, 204), ran
            return url
    raise AssertionError("curl never came to the end")


def curl_by_hand(endpoint: str, job: Job) -> str:
    """What a person does: who was cut before the first 104 begins anew, for there is no URL yet."""
    for _ in range(TRIES):
        begun = begin_with_curl(endpoint, job)
        if url := begun.location():
            return go_on_with_curl(url, job) if begun.failed else url
    raise AssertionError("curl never came to the end")
