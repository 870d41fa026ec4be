"""Third-party clients: each uploads a file, resumes after every reset, and returns the URL.

Sizes are in bytes, times in seconds.
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
from tests.live.clients.curl import CurlResult, curl
from tus_wsgi.domain.model import MIB

HERE = Path(__file__).parent

TUS_JS_CLIENT = "tus-js-client@4.3.1"
UPPY = ("@uppy/core@6.3.1", "@uppy/tus@6.0.0")

FILENAME = "Menü.mp4"
METADATA = {"filename": FILENAME, "filetype": "video/mp4"}

MAX_RETRIES = 20
RETRY_DELAY = 0.05

NODE_TIMEOUT = 200


@dataclass(frozen=True, slots=True)
class Job:
    """A file to upload.

    Attributes:
        file: the path of the file.
        size: the size of the file.
        chunk: the maximum size of a request's body. 0 means no limit.
        metadata: the metadata of the upload.
        checksum: whether each request has a checksum.
        options: options of the JavaScript clients, by their own names.
    """

    file: Path
    size: int
    chunk: int = 0
    metadata: Mapping[str, str] = field(default_factory=lambda: METADATA)
    checksum: bool = False
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def max_request_size(self) -> int:
        """The maximum size of a request's body, for clients that need a number."""
        return self.chunk or self.size or 1


Client = Callable[[str, Job], str]
"""A function that uploads a file to an endpoint and returns the upload's URL."""


def run_tus_js_client(endpoint: str, job: Job, **arguments: object) -> dict[str, object]:
    """Upload with tus-js-client and return the object that its script prints."""
    options = {
        "endpoint": endpoint,
        "file": str(job.file),
        "size": job.size,
        "chunkSize": job.chunk,
        "metadata": dict(job.metadata),
        "options": dict(job.options),
        **arguments,
    }
    modules = node_packages(TUS_JS_CLIENT)
    return run_node(HERE / "tus_js.cjs", options, modules=modules, seconds=NODE_TIMEOUT)


def tus_js_client(endpoint: str, job: Job) -> str:
    return str(run_tus_js_client(endpoint, job)["url"])


def uppy(endpoint: str, job: Job) -> str:
    """Upload with Uppy's tus plugin, without a browser."""
    options = {
        "endpoint": endpoint,
        "file": str(job.file),
        "chunkSize": job.chunk,
        "name": job.metadata["filename"],
        "type": job.metadata["filetype"],
        "options": dict(job.options),
    }
    modules = node_packages(*UPPY)
    printed = run_node(HERE / "uppy.mjs", options, modules=modules, seconds=NODE_TIMEOUT)
    return str(printed["url"])


def _tuspy_arguments(job: Job, file: BinaryIO) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "file_stream": file,
        "retries": MAX_RETRIES,
        "retry_delay": RETRY_DELAY,
    }
    if job.chunk:
        arguments["chunk_size"] = job.chunk
    if job.metadata:
        arguments["metadata"] = dict(job.metadata)
    if job.checksum:
        arguments["upload_checksum"] = True
    return arguments


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


def _retry_configuration() -> aiotus.RetryConfiguration:
    # By default aiotus waits one second after the first failure and doubles the delay each time.
    return aiotus.RetryConfiguration(
        retry_attempts=MAX_RETRIES, max_retry_period_seconds=RETRY_DELAY
    )


def aiotus_upload(endpoint: str, job: Job) -> str:
    metadata = {key: value.encode() for key, value in job.metadata.items()}
    with job.file.open("rb") as file:
        url = asyncio.run(
            aiotus.upload(
                endpoint,
                file,
                metadata,
                config=_retry_configuration(),
                chunksize=job.max_request_size,
            )
        )
    assert url is not None, "aiotus gave up"
    return str(url)


def aiotus_multiple(endpoint: str, files: Sequence[Path], *, chunk: int) -> str:
    """Upload several files that are concatenated into one object."""
    with ExitStack() as opened:
        readers = [opened.enter_context(file.open("rb")) for file in files]
        url = asyncio.run(
            aiotus.upload_multiple(
                endpoint,
                readers,
                {"filename": b"x"},
                config=_retry_configuration(),
                chunksize=chunk,
            )
        )
    assert url is not None, "aiotus gave up"
    return str(url)


def tus_dot_py(endpoint: str, job: Job) -> str:
    """Upload with tus.py, and retry here: it resumes only when a user runs `tus-resume`."""
    metadata = {key: value for key, value in job.metadata.items() if key != "filename"}
    url = tus_py.create(endpoint, job.metadata["filename"], job.size, metadata=metadata)
    for _ in range(MAX_RETRIES):
        try:
            with job.file.open("rb") as file:
                tus_py.resume(file, url, chunk_size=job.max_request_size)
        except requests.ConnectionError:
            continue
        except tus_py.TusError as error:
            # The server may start handling a cut request after the HEAD that follows it.
            if error.response.status_code not in (409, 423):
                raise
            continue
        return str(url)
    raise AssertionError("tus.py did not finish the upload")


def resumable_upload_client(endpoint: str, job: Job, *, parallel: int = 1) -> str:
    """Upload with resumable-upload, which resends a request and then uses the offset of the 409.

    The client sends a whole request before it reads the response, and a server reads only the first
    bytes of a request that it rejects. So requests are no larger than the client's default.
    """
    client = resumable_upload.TusClient(
        endpoint,
        chunk_size=min(job.max_request_size, MIB),
        checksum=job.checksum,
        max_retries=MAX_RETRIES,
        retry_delay=RETRY_DELAY,
    )
    url = client.upload_file(
        os.fspath(job.file), metadata=dict(job.metadata), parallel_uploads=parallel
    )
    return str(url)


def start_with_curl(endpoint: str, job: Job, *arguments: str) -> CurlResult:
    """Send the whole file in one request, as interoperable clients of the IETF draft do."""
    fields = {"Content-Type": job.metadata["filetype"], "Upload-Complete": "?1"}
    return curl("POST", endpoint, fields, job.file, arguments=arguments)


def resume_with_curl(url: str, job: Job) -> str:
    """Repeat HEAD and PATCH until the upload is complete."""
    for _ in range(MAX_RETRIES):
        offset = int(curl("HEAD", url).final["Upload-Offset"])
        fields = {
            "Content-Type": "application/partial-upload",
            "Upload-Complete": "?1",
            "Upload-Offset": str(offset),
        }
        result = curl("PATCH", url, fields, job.file, offset=offset)
        if not result.connection_lost:
            assert result.final.status in (201, 204), result
            return url
    raise AssertionError("curl did not finish the upload")


def curl_upload(endpoint: str, job: Job) -> str:
    """Upload with curl. Start again if the connection is lost before a response has the URL."""
    for _ in range(MAX_RETRIES):
        result = start_with_curl(endpoint, job)
        if url := result.location():
            return resume_with_curl(url, job) if result.connection_lost else url
    raise AssertionError("curl did not finish the upload")
