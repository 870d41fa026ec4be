"""DELETE: termination."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from .rules import PRACTICE, SHOULD, needs, rule
from .server import KIB, Server, Upload, some_bytes
from .wire import NoResponse

pytestmark = needs("creation", "termination")


@pytest.fixture(params=[b"", b"he", b"hello"], ids=["empty", "mid-way", "complete"])
def upload(server: Server, request: pytest.FixtureRequest) -> Upload:
    upload = server.create(5)
    if request.param:
        upload.append(request.param)
    return upload


@rule("TE-01")
def test_an_upload_can_be_terminated(upload: Upload) -> None:
    assert upload.delete().status == 204


@rule("TE-01")
def test_an_empty_upload_can_be_terminated(server: Server) -> None:
    assert server.create(0).delete().status == 204


@rule("TE-02", "C-24", "C-36", level=SHOULD)
def test_a_terminated_upload_is_gone(upload: Upload) -> None:
    upload.delete()
    head = upload.head()
    assert head.status in {404, 410}
    assert "Upload-Offset" not in head
    assert upload.patch(b"", 0).status in {404, 410}
    assert upload.delete().status in {404, 410}


@rule("TE-02", "GET", level=PRACTICE, needs="get")
def test_a_terminated_upload_cannot_be_downloaded(server: Server) -> None:
    upload = server.upload(b"hello")
    upload.delete()
    assert server.send("GET", upload.url).status in {404, 410}


@rule("TE-03", level=PRACTICE)
def test_delete_of_an_unknown_upload_is_404(server: Server) -> None:
    assert server.send("DELETE", server.unknown_url()).status == 404


@rule("TE-05")
def test_a_running_patch_does_not_restore_a_terminated_upload(server: Server) -> None:
    size = 200 * KIB
    content = some_bytes(size)
    upload = server.create(size)
    with upload.connect() as connection:
        upload.begin_patch(connection, content[: size // 2], 0, content_length=size)
        deleted = upload.delete().status
        assert deleted in {204, 409, 423}
        try:
            connection.send(content[size // 2 :])
            status = connection.response("PATCH").status
        except (NoResponse, OSError):
            status = None
    if deleted == 204:
        assert status != 204
        upload.assert_gone()
    else:
        assert status == 204
        upload.assert_content(content)


@rule("TE-05", level=PRACTICE)
def test_delete_does_not_wait_for_a_running_patch(server: Server) -> None:
    upload = server.create(1000)
    with upload.connect() as connection:
        upload.begin_patch(connection, b"x", 0, content_length=1000)
        assert upload.delete().status == 204
        connection.close()
    upload.assert_gone()


@rule("TE-05", needs="second-url")
def test_another_worker_can_terminate_an_upload(server: Server, second_server: Server) -> None:
    upload = server.create(5)
    upload.append(b"he")
    assert upload.on(second_server).delete().status == 204
    upload.assert_gone()


@rule("TE-06", level=PRACTICE)
def test_the_body_of_a_delete_is_ignored(server: Server) -> None:
    upload = server.create(5)
    assert server.send("DELETE", upload.url, {}, b"hello").status == 204
    upload.assert_gone()


@rule("TE-06", level=PRACTICE)
def test_at_least_one_of_two_concurrent_deletes_succeeds(server: Server) -> None:
    upload = server.create(5)
    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(lambda _: upload.delete().status, range(2)))
    assert 204 in statuses
    assert set(statuses) <= {204, 404, 410, 423}
    upload.assert_gone()


@rule("TE-07", level=PRACTICE, needs=("concatenation", "content"))
def test_termination_of_a_partial_upload_keeps_the_final_one(server: Server) -> None:
    part = server.upload(b"hello", {"Upload-Concat": "partial"})
    final = server.upload_from(server.post({"Upload-Concat": f"final;{part.url}"}))
    assert part.delete().status in {204, 404, 410}
    final.assert_content(b"hello")
