"""Third-party clients over an unreliable network: the object has the bytes of the file.

A proxy resets each client's connection several times, and the tests assert the number of resets.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import tus as tus_py

from tests.harness.clients.tus import TusClient
from tests.harness.data import write_file
from tests.harness.proxies.tcp import TcpProxy
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.live.clients.curl import INTEROP, curl
from tests.live.clients.drivers import (
    Client,
    Job,
    aiotus_upload,
    curl_upload,
    resumable_upload_client,
    resume_with_curl,
    run_tus_js_client,
    start_with_curl,
    tus_dot_py,
    tus_js_client,
    tuspy,
    tuspy_async,
    uppy,
)
from tus_wsgi.domain.model import MIB

pytestmark = [
    pytest.mark.live,
    # These clients use aiohttp in deprecated ways.
    pytest.mark.filterwarnings("default::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]

LARGE = 200 * MIB
LARGE_CUTS = [1_500_000, 17 * MIB, 60 * MIB, 61 * MIB, 120 * MIB + 1, 199 * MIB]

MIDDLE = 40 * MIB
MIDDLE_CUTS = [1_500_000, 7 * MIB, 16 * MIB, 17 * MIB, 30 * MIB + 1, 39 * MIB]

MEDIUM = 21 * MIB
MEDIUM_CUTS = [300_000, 7 * MIB, 16 * MIB + 5]

SMALL = 7 * MIB
SMALL_CUTS = [300_000, 2 * MIB, 5 * MIB + 5]
"""Fewer bytes for requests of 1 MiB, of which each upload needs many."""

CHUNKING: dict[str, Client] = {
    "tus-js-client": tus_js_client,
    "uppy": uppy,
    "tuspy": tuspy,
    "tuspy-async": tuspy_async,
    "aiotus": aiotus_upload,
    "tus.py": tus_dot_py,
}
"""The clients whose request size can be set."""

CLIENTS = {**CHUNKING, "resumable-upload": resumable_upload_client, "curl": curl_upload}

DEFERRED = {"uploadLengthDeferred": True}
WITH_UPLOAD = {"uploadDataDuringCreation": True}

Files = Callable[[int], tuple[Path, str]]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Create files of any size, each once. Return their paths and SHA-256 digests."""
    directory = tmp_path_factory.mktemp("files")
    created: dict[int, tuple[Path, str]] = {}

    def file(size: int) -> tuple[Path, str]:
        if size not in created:
            path = directory / f"{size}.bin"
            created[size] = path, write_file(path, size)
        return created[size]

    return file


def upload_through_cuts(
    client: Client, job: Job, deployment: Deployment, *, cuts: list[int] | None = None
) -> str:
    """Upload a file through resets and return the upload's path."""
    if cuts is None:
        cuts = SMALL_CUTS if job.size == SMALL else MEDIUM_CUTS
    with TcpProxy(deployment.servers[0].port, cuts=cuts) as network:
        url = client(f"http://127.0.0.1:{network.port}/files", job)
        assert network.cut_count == len(cuts)
    return urlsplit(url).path


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("size", "cuts"),
    [
        pytest.param(MIDDLE, MIDDLE_CUTS, id="40MiB"),
        pytest.param(LARGE, LARGE_CUTS, id="200MiB", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    ("client", "options"),
    [
        pytest.param(tus_js_client, {}, id="tus-js-client"),
        pytest.param(tuspy, {}, id="tuspy"),
        pytest.param(tuspy_async, {}, id="tuspy-async"),
        pytest.param(aiotus_upload, {}, id="aiotus"),
        pytest.param(tuspy, {"chunk": MIB}, id="1MiB"),
        pytest.param(aiotus_upload, {"chunk": 6_000_000}, id="6MB"),
        pytest.param(tus_js_client, {"chunk": 6_000_000, "options": DEFERRED}, id="deferred"),
        pytest.param(tus_js_client, {"options": WITH_UPLOAD}, id="with-upload"),
    ],
)
def test_a_file_of_many_parts_arrives_unchanged_through_six_resets(
    client: Client,
    options: dict[str, Any],
    *,
    size: int,
    cuts: list[int],
    deployment: Deployment,
    tus: TusClient,
    files: Files,
) -> None:
    file, digest = files(size)
    path = upload_through_cuts(client, Job(file, size, **options), deployment, cuts=cuts)
    assert deployment.sha256(path) == digest
    assert tus.offset(path) == size
    s3_object = deployment.head_object(path)
    assert s3_object["ContentType"] == "video/mp4"
    assert s3_object["Metadata"]["filename"] == "Men?.mp4"


@pytest.mark.parametrize("client", CHUNKING.values(), ids=CHUNKING)
@pytest.mark.parametrize("chunk", [MIB, 6_000_000], ids=["1MiB", "6MB"])
def test_uploads_succeed_with_any_request_size(
    client: Client, chunk: int, deployment: Deployment, files: Files
) -> None:
    size = SMALL if chunk == MIB else MEDIUM
    file, digest = files(size)
    path = upload_through_cuts(client, Job(file, size, chunk), deployment)
    assert deployment.sha256(path) == digest


LENGTHS = {"0": 0, "1": 1, "N-1": PART_SIZE - 1, "N": PART_SIZE, "N+1": PART_SIZE + 1}


@pytest.mark.parametrize(
    ("name", "length"),
    [
        pytest.param(
            client,
            length,
            id=f"{name}-{client}",
            marks=() if client == "tus-js-client" or name == "N+1" else pytest.mark.long,
        )
        for client, (name, length) in itertools.product(CLIENTS, LENGTHS.items())
    ],
)
def test_lengths_around_the_part_size_arrive_unchanged(
    name: str, length: int, deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """Each request sends all remaining bytes. Uploads of 0 and 1 bytes have no cuts."""
    file, digest = files(length)
    cuts = [1_500_000, 4 * MIB] if length > 1 else []
    path = upload_through_cuts(CLIENTS[name], Job(file, length), deployment, cuts=cuts)
    assert deployment.sha256(path) == digest
    assert tus.offset(path) == length


# tus-js-client does not support empty files with either option: it reads the bytes from 0 to -1, or
# waits for ever for the end of an empty stream.
@pytest.mark.parametrize("length", list(LENGTHS.values())[1:], ids=list(LENGTHS)[1:])
@pytest.mark.parametrize("options", [WITH_UPLOAD, DEFERRED], ids=["CW", "DL"])
def test_lengths_around_the_part_size_arrive_unchanged_with_creation_options(
    length: int, options: dict[str, object], deployment: Deployment, files: Files
) -> None:
    file, digest = files(length)
    cuts = [1_500_000, 4 * MIB] if length > 1 else []
    job = Job(file, length, 2 * MIB, options=options)
    path = upload_through_cuts(tus_js_client, job, deployment, cuts=cuts)
    assert deployment.sha256(path) == digest


# tus-js-client


@pytest.mark.parametrize(
    ("chunk", "options"),
    [
        pytest.param(MIB, DEFERRED, id="DL-deferred-length"),
        pytest.param(6_000_000, WITH_UPLOAD, id="CW-with-upload"),
        pytest.param(6_000_000, {"overridePatchMethod": True}, id="C-10-override"),
    ],
)
def test_tus_js_client_options_work_through_resets(
    chunk: int, options: dict[str, object], deployment: Deployment, files: Files
) -> None:
    size = SMALL if chunk == MIB else MEDIUM
    file, digest = files(size)
    job = Job(file, size, chunk, options=options)
    assert deployment.sha256(upload_through_cuts(tus_js_client, job, deployment)) == digest


@pytest.mark.parametrize("chunk", [MIB, 0], ids=["1MiB", "unlimited"])
def test_tus_js_client_uploads_a_file_in_parallel(
    chunk: int, deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """CO-02."""
    file, digest = files(MEDIUM)
    job = Job(file, MEDIUM, chunk, options={"parallelUploads": 3})
    path = upload_through_cuts(tus_js_client, job, deployment)
    assert deployment.sha256(path) == digest
    assert deployment.head_object(path)["ContentType"] == "video/mp4"
    kind, _, partials = tus.head(path)["Upload-Concat"].partition(";")
    assert (kind, len(partials.split())) == ("final", 3)


@pytest.mark.parametrize("chunk", [6_000_000, 0], ids=["6MB", "unlimited"])
@pytest.mark.parametrize(("protocol", "interop"), [("ietf-draft-03", "5"), ("ietf-draft-05", "6")])
def test_tus_js_client_uploads_with_the_ietf_drafts(
    protocol: str, interop: str, chunk: int, deployment: Deployment, files: Files
) -> None:
    file, digest = files(MEDIUM)
    job = Job(file, MEDIUM, chunk, options={"protocol": protocol})
    interop_versions: list[object] = []

    def client(endpoint: str, job: Job) -> str:
        printed = run_tus_js_client(endpoint, job)
        interop_versions.append(printed["interop"])
        return str(printed["url"])

    assert deployment.sha256(upload_through_cuts(client, job, deployment)) == digest
    assert interop_versions == [interop]


def test_tus_js_client_terminates_an_unfinished_upload(
    deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """TE-01: in the middle of a request, and after two requests that were cut.

    The file is larger than the buffers between client and server. Otherwise the server would have
    all bytes before the client reports its progress.
    """
    file, _ = files(LARGE)
    with TcpProxy(deployment.servers[0].port, cuts=MEDIUM_CUTS[:2]) as network:
        endpoint = f"http://127.0.0.1:{network.port}/files"
        printed = run_tus_js_client(endpoint, Job(file, LARGE), terminateAt=12 * MIB)
        assert network.cut_count == 2
    path = urlsplit(str(printed["url"])).path
    assert tus.head(path).status in (404, 410)
    assert [key for key in deployment.list_keys() if key.startswith(deployment.key(path))] == []


# tuspy


@pytest.mark.parametrize("client", [tuspy, tuspy_async], ids=["sync", "async"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="metadata"),
        pytest.param({"metadata": {}}, id="bare"),
        pytest.param({"checksum": True}, id="checksum-metadata"),
        pytest.param({"checksum": True, "metadata": {}}, id="checksum"),
    ],
)
def test_tuspy_works_with_and_without_checksums_and_metadata(
    client: Client, options: dict[str, Any], deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """CK-02, CK-07."""
    file, digest = files(SMALL)
    job = Job(file, SMALL, 1_500_000, **options)
    path = upload_through_cuts(client, job, deployment)
    assert deployment.sha256(path) == digest
    assert set(deployment.head_object(path)["Metadata"]) == set(job.metadata)
    assert bool(tus.head(path).get("Upload-Metadata")) is bool(job.metadata)


# resumable-upload


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "plain"])
def test_resumable_upload_works_with_and_without_checksums(
    checksum: bool, parallel: int, deployment: Deployment, files: Files
) -> None:
    file, digest = files(SMALL)
    client = partial(resumable_upload_client, parallel=parallel)
    path = upload_through_cuts(client, Job(file, SMALL, checksum=checksum), deployment)
    assert deployment.sha256(path) == digest


# tus.py


def test_tus_dot_py_uploads_from_a_pipe(
    deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """DL: the client declares the length with an empty request at the end.

    Without cuts: the bytes of a pipe can be read only once, so the client cannot resume.
    """
    file, digest = files(SMALL)
    endpoint = f"http://127.0.0.1:{tus.port}/files"
    url = tus_py.create(endpoint, "pipe", None)
    with subprocess.Popen(["cat", str(file)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        tus_py.resume(cat.stdout, url, chunk_size=MIB, offset=0)
    path = urlsplit(url).path
    assert deployment.sha256(path) == digest
    assert tus.head(path)["Upload-Length"] == str(SMALL)


# curl


def test_curl_receives_the_location_in_an_interim_response(tus: TusClient, files: Files) -> None:
    """R-10, R-15."""
    file, _ = files(1)
    result = start_with_curl(f"http://127.0.0.1:{tus.port}/files", Job(file, 1))
    first, final = [response for response in result.responses if response.status != 100]
    assert (first.status, final.status) == (104, 201)
    assert first["Upload-Draft-Interop-Version"] == str(INTEROP)
    assert first["Location"] == final["Location"]


def test_curl_resumes_from_the_offset_of_an_interim_response(
    deployment: Deployment, files: Files
) -> None:
    """R-18, R-42: bytes acknowledged by an interim response are stored after the cut."""
    file, digest = files(MEDIUM)
    job = Job(file, MEDIUM)
    cuts = [14 * MIB, 15 * MIB, 18 * MIB]
    with TcpProxy(deployment.servers[0].port, cuts=cuts) as network:
        # At this rate a progress response, which is sent once a second, arrives before the cut.
        started = start_with_curl(
            f"http://127.0.0.1:{network.port}/files", job, "--limit-rate", "4M"
        )
        assert started.connection_lost
        url = started.location()
        assert url is not None
        offsets = [
            int(response["Upload-Offset"])
            for response in started.interim()
            if "upload-offset" in response.fields
        ]
        assert offsets
        assert max(offsets) > 0
        assert int(curl("HEAD", url).final["Upload-Offset"]) >= max(offsets)
        resume_with_curl(url, job)
        assert network.cut_count == len(cuts)
    assert deployment.sha256(urlsplit(url).path) == digest
