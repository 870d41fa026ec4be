"""Clients that others wrote, through a network that breaks: the object is the file.

Each client's connection is reset several times on the way; the proxy counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiotus
import pytest
from tusclient.client import TusClient

from tests.harness.data import write_file
from tests.harness.gunicorn import Gunicorn
from tests.harness.node import node_packages, run_node
from tests.harness.proxy import CuttingProxy
from tests.harness.site import PART_SIZE, Site
from tests.harness.tus import Tus
from tus_wsgi.model import MIB

pytestmark = [
    pytest.mark.live,
    # Their ways of using aiohttp are not ours to mend.
    pytest.mark.filterwarnings("default::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]

HERE = Path(__file__).parent
TUS_JS_CLIENT = "tus-js-client@4.3.1"

LARGE = 200 * MIB
LARGE_CUTS = [1_500_000, 17 * MIB, 60 * MIB, 61 * MIB, 120 * MIB + 1, 199 * MIB]

MEDIUM = 21 * MIB
MEDIUM_CUTS = [300_000, 7 * MIB, 16 * MIB + 5]

SMALL = 7 * MIB
SMALL_CUTS = [300_000, 2 * MIB, 5 * MIB + 5]
"""For requests of 1 MiB, of which there are many."""

FILENAME = "Menü.mp4"


@dataclass(frozen=True, slots=True)
class Job:
    """A file to upload.

    Attributes:
        file: where it is.
        size: its bytes.
        chunk: bytes for each request at most; 0 for all that is left.
        options: for tus-js-client, by its own names.
    """

    file: Path
    size: int
    chunk: int
    options: dict[str, object] = field(default_factory=dict)


Client = Callable[[str, Job], str]
"""Uploads a file to an endpoint, and returns the upload's URL."""


def tus_js_client(endpoint: str, job: Job) -> str:
    options = {
        "endpoint": endpoint,
        "file": str(job.file),
        "size": job.size,
        "chunkSize": job.chunk,
        "metadata": {"filename": FILENAME, "filetype": "video/mp4"},
        "options": job.options,
    }
    modules = node_packages(TUS_JS_CLIENT)
    printed = run_node(HERE / "clients" / "tus_js.cjs", options, modules=modules, seconds=100)
    return str(printed["url"])


def tuspy_arguments(job: Job) -> dict[str, Any]:
    chunk = {"chunk_size": job.chunk} if job.chunk else {}
    metadata = {"filename": FILENAME, "filetype": "video/mp4"}
    return {"retries": 20, "retry_delay": 0.05, "metadata": metadata, **chunk}


def tuspy(endpoint: str, job: Job) -> str:
    with job.file.open("rb") as file:
        uploader = TusClient(endpoint).uploader(file_stream=file, **tuspy_arguments(job))
        uploader.upload()
    return str(uploader.url)


def tuspy_async(endpoint: str, job: Job) -> str:
    with job.file.open("rb") as file:
        uploader = TusClient(endpoint).async_uploader(file_stream=file, **tuspy_arguments(job))
        asyncio.run(uploader.upload())
    return str(uploader.url)


def aiotus_upload(endpoint: str, job: Job) -> str:
    # Without a limit it waits one second after the first failure, and then twice as long each time.
    patience = aiotus.RetryConfiguration(retry_attempts=20, max_retry_period_seconds=0.05)
    metadata = {"filename": FILENAME.encode(), "filetype": b"video/mp4"}
    with job.file.open("rb") as file:
        url = asyncio.run(
            aiotus.upload(
                endpoint, file, metadata, config=patience, chunksize=job.chunk or job.size or 1
            )
        )
    assert url is not None, "aiotus gave up"
    return str(url)


CLIENTS = {
    "tus-js-client": tus_js_client,
    "tuspy": tuspy,
    "tuspy-async": tuspy_async,
    "aiotus": aiotus_upload,
}

every_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Path, str]]:
    """Makes files of any size once: their paths and their SHA-256."""
    directory = tmp_path_factory.mktemp("files")
    made: dict[int, tuple[Path, str]] = {}

    def file(size: int) -> tuple[Path, str]:
        if size not in made:
            path = directory / f"{size}.bin"
            made[size] = path, write_file(path, size)
        return made[size]

    return file


Files = Callable[[int], tuple[Path, str]]


def upload_through_cuts(client: Client, job: Job, server: Gunicorn, *, cuts: list[int]) -> str:
    """Upload a file through resets; returns the upload's path."""
    with CuttingProxy(server.port, cuts=cuts) as network:
        url = client(f"http://127.0.0.1:{network.port}/files", job)
        assert network.cut_count == len(cuts)
    return urlsplit(url).path


@pytest.mark.timeout(240)
@every_client
def test_200_mib_arrive_whole_through_six_resets(
    client: Client, site: Site, server: Gunicorn, tus: Tus, files: Files
) -> None:
    file, digest = files(LARGE)
    path = upload_through_cuts(client, Job(file, LARGE, 0), server, cuts=LARGE_CUTS)
    assert site.sha256(path) == digest
    assert tus.offset(path) == LARGE
    head = site.head(path)
    assert head["ContentType"] == "video/mp4"
    assert head["Metadata"]["filename"] == "Men?.mp4"


def upload_some(
    client: Client, chunk: int, server: Gunicorn, files: Files, **options: object
) -> tuple[str, str]:
    """Upload a file through three resets; returns the upload's path and the file's SHA-256."""
    size, cuts = (SMALL, SMALL_CUTS) if chunk == MIB else (MEDIUM, MEDIUM_CUTS)
    file, digest = files(size)
    return upload_through_cuts(client, Job(file, size, chunk, options), server, cuts=cuts), digest


@every_client
@pytest.mark.parametrize("chunk", [MIB, 6_000_000, 0], ids=["1MiB", "6MB", "unlimited"])
def test_requests_may_have_any_size(
    client: Client, chunk: int, site: Site, server: Gunicorn, files: Files
) -> None:
    path, digest = upload_some(client, chunk, server, files)
    assert site.sha256(path) == digest


@pytest.mark.parametrize(
    ("chunk", "option"),
    [
        pytest.param(6_000_000, "uploadLengthDeferred", id="DL-deferred-length"),
        pytest.param(MIB, "uploadLengthDeferred", id="DL-deferred-length-1MiB"),
        pytest.param(6_000_000, "uploadDataDuringCreation", id="CW-with-upload"),
        pytest.param(0, "uploadDataDuringCreation", id="CW-with-upload-unlimited"),
        pytest.param(6_000_000, "overridePatchMethod", id="C-10-override"),
    ],
)
def test_the_options_of_tus_js_client_work_through_resets(
    chunk: int, option: str, site: Site, server: Gunicorn, files: Files
) -> None:
    path, digest = upload_some(tus_js_client, chunk, server, files, **{option: True})
    assert site.sha256(path) == digest


LENGTHS = {"0": 0, "1": 1, "N-1": PART_SIZE - 1, "N": PART_SIZE, "N+1": PART_SIZE + 1}


@every_client
@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
def test_lengths_around_the_part_size_arrive_whole(
    client: Client, length: int, site: Site, tus: Tus, files: Files
) -> None:
    file, digest = files(length)
    url = client(f"http://127.0.0.1:{tus.port}/files", Job(file, length, 0))
    path = urlsplit(url).path
    assert site.sha256(path) == digest
    assert tus.offset(path) == length


# An empty file with either option is not tus-js-client's strength: it asks the file for the bytes
# from 0 to -1, or waits for ever for the end of an empty stream.
@pytest.mark.parametrize("length", list(LENGTHS.values())[1:], ids=list(LENGTHS)[1:])
@pytest.mark.parametrize("option", ["uploadDataDuringCreation", "uploadLengthDeferred"])
def test_such_lengths_arrive_whole_with_other_ways_to_begin(
    length: int, option: str, site: Site, server: Gunicorn, files: Files
) -> None:
    file, digest = files(length)
    job = Job(file, length, 2 * MIB, {option: True})
    url = tus_js_client(f"http://127.0.0.1:{server.port}/files", job)
    assert site.sha256(urlsplit(url).path) == digest
