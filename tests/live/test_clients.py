"""Clients that others wrote, through a network that breaks: the object is the file.

Each client's connection is reset several times on the way; the proxy counts.
"""

from __future__ import annotations

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
from tests.harness.proxies.cutting import CuttingProxy
from tests.harness.servers.deployment import PART_SIZE, Deployment
from tests.live.clients.curl import INTEROP, curl
from tests.live.clients.drivers import (
    Client,
    Job,
    aiotus_upload,
    begin_with_curl,
    curl_by_hand,
    go_on_with_curl,
    resumable_upload_client,
    run_tus_js_client,
    tus_dot_py,
    tus_js_client,
    tuspy,
    tuspy_async,
    uppy,
)
from tus_wsgi.domain.model import MIB

pytestmark = [
    pytest.mark.live,
    # Their ways of using aiohttp are not ours to mend.
    pytest.mark.filterwarnings("default::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]

LARGE = 200 * MIB
LARGE_CUTS = [1_500_000, 17 * MIB, 60 * MIB, 61 * MIB, 120 * MIB + 1, 199 * MIB]

MEDIUM = 21 * MIB
MEDIUM_CUTS = [300_000, 7 * MIB, 16 * MIB + 5]

SMALL = 7 * MIB
SMALL_CUTS = [300_000, 2 * MIB, 5 * MIB + 5]
"""For requests of 1 MiB, of which there are many."""

CHUNKING: dict[str, Client] = {
    "tus-js-client": tus_js_client,
    "uppy": uppy,
    "tuspy": tuspy,
    "tuspy-async": tuspy_async,
    "aiotus": aiotus_upload,
    "tus.py": tus_dot_py,
}
"""Those whose requests have the size that they are told."""

CLIENTS = {**CHUNKING, "resumable-upload": resumable_upload_client, "curl": curl_by_hand}

DEFERRED = {"uploadLengthDeferred": True}
WITH_UPLOAD = {"uploadDataDuringCreation": True}

Files = Callable[[int], tuple[Path, str]]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Makes files of any size once: their paths and their SHA-256."""
    directory = tmp_path_factory.mktemp("files")
    made: dict[int, tuple[Path, str]] = {}

    def file(size: int) -> tuple[Path, str]:
        if size not in made:
            path = directory / f"{size}.bin"
            made[size] = path, write_file(path, size)
        return made[size]

    return file


def upload_through_cuts(
    client: Client, job: Job, deployment: Deployment, *, cuts: list[int] | None = None
) -> str:
    """Upload a file through resets; returns the upload's path."""
    if cuts is None:
        cuts = SMALL_CUTS if job.size == SMALL else MEDIUM_CUTS
    with CuttingProxy(deployment.servers[0].port, cuts=cuts) as network:
        url = client(f"http://127.0.0.1:{network.port}/files", job)
        assert network.cut_count == len(cuts)
    return urlsplit(url).path


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("client", "said"),
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
def test_200_mib_arrive_whole_through_six_resets(
    client: Client, said: dict[str, Any], deployment: Deployment, tus: TusClient, files: Files
) -> None:
    file, digest = files(LARGE)
    path = upload_through_cuts(client, Job(file, LARGE, **said), deployment, cuts=LARGE_CUTS)
    assert deployment.sha256(path) == digest
    assert tus.offset(path) == LARGE
    head = deployment.head_object(path)
    assert head["ContentType"] == "video/mp4"
    assert head["Metadata"]["filename"] == "Men?.mp4"


@pytest.mark.parametrize("client", CHUNKING.values(), ids=CHUNKING)
@pytest.mark.parametrize("chunk", [MIB, 6_000_000], ids=["1MiB", "6MB"])
def test_requests_may_have_any_size(
    client: Client, chunk: int, deployment: Deployment, files: Files
) -> None:
    size = SMALL if chunk == MIB else MEDIUM
    file, digest = files(size)
    path = upload_through_cuts(client, Job(file, size, chunk), deployment)
    assert deployment.sha256(path) == digest


LENGTHS = {"0": 0, "1": 1, "N-1": PART_SIZE - 1, "N": PART_SIZE, "N+1": PART_SIZE + 1}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
def test_lengths_around_the_part_size_arrive_whole(
    client: Client, length: int, deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """With one request for all that is left. In 0 bytes and in 1 there is nothing to cut."""
    file, digest = files(length)
    cuts = [1_500_000, 4 * MIB] if length > 1 else []
    path = upload_through_cuts(client, Job(file, length), deployment, cuts=cuts)
    assert deployment.sha256(path) == digest
    assert tus.offset(path) == length


# An empty file with either option is not tus-js-client's strength: it asks the file for the bytes
# from 0 to -1, or waits for ever for the end of an empty stream.
@pytest.mark.parametrize("length", list(LENGTHS.values())[1:], ids=list(LENGTHS)[1:])
@pytest.mark.parametrize("options", [WITH_UPLOAD, DEFERRED], ids=["CW", "DL"])
def test_such_lengths_arrive_whole_with_other_ways_to_begin(
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
def test_the_options_of_tus_js_client_work_through_resets(
    chunk: int, options: dict[str, object], deployment: Deployment, files: Files
) -> None:
    size = SMALL if chunk == MIB else MEDIUM
    file, digest = files(size)
    job = Job(file, size, chunk, options=options)
    assert deployment.sha256(upload_through_cuts(tus_js_client, job, deployment)) == digest


@pytest.mark.parametrize("chunk", [MIB, 0], ids=["1MiB", "unlimited"])
def test_tus_js_client_uploads_parts_of_a_file_at_the_same_time(
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
def test_tus_js_client_speaks_the_drafts_of_the_ietf(
    protocol: str, interop: str, chunk: int, deployment: Deployment, files: Files
) -> None:
    file, digest = files(MEDIUM)
    job = Job(file, MEDIUM, chunk, options={"protocol": protocol})
    answered: list[object] = []

    def client(endpoint: str, job: Job) -> str:
        printed = run_tus_js_client(endpoint, job)
        answered.append(printed["interop"])
        return str(printed["url"])

    assert deployment.sha256(upload_through_cuts(client, job, deployment)) == digest
    assert answered == [interop]


def test_tus_js_client_terminates_what_it_has_begun(
    deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """TE-01: in the middle of a request, and after two that were cut.

    More is to be sent than fits between client and server, or all of it is there before the client
    has noticed how far it is.
    """
    file, _ = files(LARGE)
    with CuttingProxy(deployment.servers[0].port, cuts=MEDIUM_CUTS[:2]) as network:
        endpoint = f"http://127.0.0.1:{network.port}/files"
        printed = run_tus_js_client(endpoint, Job(file, LARGE), terminateAt=12 * MIB)
        assert network.cut_count == 2
    path = urlsplit(str(printed["url"])).path
    assert tus.head(path).status in (404, 410)
    assert [key for key in deployment.list_contents() if key.startswith(deployment.key(path))] == []


# tuspy


@pytest.mark.parametrize("client", [tuspy, tuspy_async], ids=["sync", "async"])
@pytest.mark.parametrize(
    "said",
    [
        pytest.param({}, id="metadata"),
        pytest.param({"metadata": {}}, id="bare"),
        pytest.param({"checksum": True}, id="checksum-metadata"),
        pytest.param({"checksum": True, "metadata": {}}, id="checksum"),
    ],
)
def test_tuspy_works_with_and_without_checksums_and_metadata(
    client: Client, said: dict[str, Any], deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """CK-02, CK-07."""
    file, digest = files(SMALL)
    job = Job(file, SMALL, 1_500_000, **said)
    path = upload_through_cuts(client, job, deployment)
    assert deployment.sha256(path) == digest
    assert set(deployment.head_object(path)["Metadata"]) == set(job.metadata)
    assert bool(tus.head(path).get("Upload-Metadata")) is bool(job.metadata)


# resumable-upload


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("checksum", [True, False], ids=["checksum", "plain"])
def test_the_client_of_resumable_upload_works(
    checksum: bool, parallel: int, deployment: Deployment, files: Files
) -> None:
    file, digest = files(SMALL)
    client = partial(resumable_upload_client, parallel=parallel)
    path = upload_through_cuts(client, Job(file, SMALL, checksum=checksum), deployment)
    assert deployment.sha256(path) == digest


# tus.py


def test_tus_dot_py_uploads_what_comes_through_a_pipe(
    deployment: Deployment, tus: TusClient, files: Files
) -> None:
    """DL: it says the length with an empty request at the end.

    Without cuts: a pipe gives its bytes once, so the client cannot resume.
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


def test_curl_sees_first_where_the_upload_is(tus: TusClient, files: Files) -> None:
    """R-10, R-15."""
    file, _ = files(1)
    ran = begin_with_curl(f"http://127.0.0.1:{tus.port}/files", Job(file, 1))
    first, final = [one for one in ran.seen if one.status != 100]
    assert (first.status, final.status) == (104, 201)
    assert first["Upload-Draft-Interop-Version"] == str(INTEROP)
    assert first["Location"] == final["Location"]


def test_curl_goes_on_where_the_interim_response_says(deployment: Deployment, files: Files) -> None:
    """R-18, R-42: what was acknowledged on the way is there after the cut."""
    file, digest = files(MEDIUM)
    job = Job(file, MEDIUM)
    cuts = [14 * MIB, 15 * MIB, 18 * MIB]
    with CuttingProxy(deployment.servers[0].port, cuts=cuts) as network:
        # So slowly that the server tells of its progress, once a second, before the cut.
        begun = begin_with_curl(f"http://127.0.0.1:{network.port}/files", job, "--limit-rate", "4M")
        assert begun.failed
        url = begun.location()
        assert url is not None
        told = [
            int(one["Upload-Offset"]) for one in begun.interim() if "upload-offset" in one.fields
        ]
        assert told
        assert max(told) > 0
        assert int(curl("HEAD", url).final["Upload-Offset"]) >= max(told)
        go_on_with_curl(url, job)
        assert network.cut_count == len(cuts)
    assert deployment.sha256(urlsplit(url).path) == digest
