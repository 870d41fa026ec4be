"""Uploads that are made of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from .rules import PRACTICE, SHOULD, needs, rule
from .server import MIB, Capabilities, Server, Upload, assert_refused, some_bytes
from .wire import Fields, Response, merge_fields

pytestmark = needs("creation", "concatenation")


def part(server: Server, content: bytes, fields: Fields = ()) -> Upload:
    """A finished part."""
    return server.upload(content, merge_fields({"Upload-Concat": "partial"}, fields))


def join(server: Server, urls: Iterable[str], fields: Fields = ()) -> Response:
    """POST for a final upload."""
    return server.post(merge_fields({"Upload-Concat": f"final;{' '.join(urls)}"}, fields))


def joined(server: Server, parts: Iterable[Upload], fields: Fields = ()) -> Upload:
    """A final upload."""
    return server.upload_from(join(server, [one.url for one in parts], fields))


@rule("CO-01", "C-20")
def test_head_of_a_partial_upload_returns_upload_concat(server: Server) -> None:
    upload = server.create(5, {"Upload-Concat": "partial"})
    for sent, data in ((2, b"he"), (5, b"llo")):
        upload.append(data, sent - len(data))
        head = upload.head()
        assert (head["Upload-Concat"], head["Upload-Offset"]) == ("partial", str(sent))


@rule("CO-02")
@pytest.mark.parametrize("sizes", [(5,), (3, 4), (1, 1, 1), (100_000, 7, 70_000)])
def test_the_final_upload_is_the_partial_uploads_in_order(
    server: Server, sizes: tuple[int, ...]
) -> None:
    contents = [some_bytes(size, seed=at) for at, size in enumerate(sizes)]
    parts = [part(server, content) for content in contents]
    joined(server, parts).assert_content(b"".join(contents))


@rule("CO-02")
def test_the_order_is_that_of_the_list(server: Server) -> None:
    one, two = part(server, b"hello "), part(server, b"world")
    joined(server, [two, one]).assert_content(b"worldhello ")


@rule("CO-02", level=PRACTICE)
def test_long_partial_uploads_are_concatenated(server: Server) -> None:
    """Sizes that fit into no grid: 5 MiB is what S3 wants of a part."""
    sizes = (5 * MIB + 1, 3 * MIB, 6 * MIB - 1, 17)
    contents = [some_bytes(size, seed=at) for at, size in enumerate(sizes)]
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda content: part(server, content), contents))
    joined(server, parts).assert_content(b"".join(contents))


@rule("CO-02", level=PRACTICE)
def test_many_partial_uploads_are_concatenated(server: Server) -> None:
    contents = [bytes((at, 255 - at)) for at in range(30)]
    parts = [part(server, content) for content in contents]
    urls = [urlsplit(one.url).path for one in parts]
    server.upload_from(join(server, urls)).assert_content(b"".join(contents))


@rule("CO-03")
def test_head_of_a_final_upload_returns_upload_concat_unchanged(server: Server) -> None:
    parts = [part(server, b"hello "), part(server, b"world")]
    text = f"final;{parts[0].url} {parts[1].url}"
    final = server.upload_from(server.post({"Upload-Concat": text}))
    head = final.head()
    assert head["Upload-Concat"] == text
    assert head["Upload-Offset"] == head["Upload-Length"] == "11"


@rule("CO-04")
@pytest.mark.parametrize("offset", [0, 5, 11])
@pytest.mark.parametrize("data", [b"", b"x"], ids=["empty", "data"])
def test_a_patch_of_a_final_upload_is_403(server: Server, offset: int, data: bytes) -> None:
    parts = [part(server, b"hello "), part(server, b"world")]
    final = joined(server, parts)
    with final.unchanged():
        assert final.patch(data, offset).status == 403
    final.assert_content(b"hello world")


@rule("CO-05")
def test_a_final_upload_has_only_its_own_metadata(server: Server) -> None:
    one = part(server, b"hello", {"Upload-Metadata": "a YQ=="})
    assert "Upload-Metadata" not in joined(server, [one]).head()
    other = part(server, b"hello", {"Upload-Metadata": "a YQ=="})
    final = joined(server, [other], {"Upload-Metadata": "b Yg=="})
    assert final.head()["Upload-Metadata"] == "b Yg=="


@rule("CO-06", level=PRACTICE)
def test_a_list_may_repeat_a_partial_upload(server: Server) -> None:
    one = part(server, b"ha")
    response = join(server, [one.url, one.url])
    if response.status == 201:
        server.upload_from(response).assert_content(b"haha")
    else:
        assert_refused(response)


@rule("CO-06", level=PRACTICE)
def test_a_partial_upload_may_be_used_twice(server: Server) -> None:
    one = part(server, b"ha")
    joined(server, [one]).assert_content(b"ha")
    response = join(server, [one.url])
    if response.status == 201:
        server.upload_from(response).assert_content(b"ha")
    else:
        assert_refused(response)


NAMES: dict[str, Callable[[Upload], str]] = {
    "as-it-was-said": lambda u: u.url,
    "absolute": lambda u: u.url,
    "path": lambda u: urlsplit(u.url).path,
}


@rule("CO-07")
@pytest.mark.parametrize("name", NAMES)
def test_a_list_may_contain_urls_or_paths(server: Server, name: str) -> None:
    """ "The URLs … MAY be absolute or relative.\""""
    parts = [part(server, b"hello "), part(server, b"world")]
    server.upload_from(join(server, map(NAMES[name], parts))).assert_content(b"hello world")


@rule("CO-07", level=PRACTICE)
def test_a_list_may_mix_urls_and_paths(server: Server) -> None:
    one, two = part(server, b"hello "), part(server, b"world")
    response = join(server, [one.url, urlsplit(two.url).path])
    server.upload_from(response).assert_content(b"hello world")


@rule("CO-07", level=PRACTICE)
def test_a_url_of_another_server_is_refused(server: Server) -> None:
    """A server that fetched it would be a tool for others."""
    one = part(server, b"hello")
    for url in (
        f"http://127.0.0.2:1{urlsplit(one.url).path}",
        f"{one.url.rpartition('/')[0]}-elsewhere/{one.id}",
        f"file:///etc/passwd#{one.id}",
    ):
        assert_refused(join(server, [url]))


@rule("CO-08", level=PRACTICE, needs="not:concatenation-unfinished")
@pytest.mark.parametrize("sent", [b"", b"he"], ids=["empty", "begun"])
def test_an_unfinished_partial_upload_is_refused(server: Server, sent: bytes) -> None:
    one = server.create(5, {"Upload-Concat": "partial"})
    if sent:
        one.append(sent)
    with one.unchanged():
        assert_refused(join(server, [part(server, b"x").url, one.url]))


@rule("CO-09", level=PRACTICE)
def test_an_unknown_partial_upload_is_refused(server: Server) -> None:
    assert_refused(join(server, [server.unknown_url()]))
    assert_refused(join(server, [part(server, b"x").url, server.unknown_url()]))


@rule("CO-09", level=PRACTICE)
@pytest.mark.parametrize("kind", ["ordinary", "final"])
def test_an_upload_that_is_not_partial_is_refused_or_concatenated(
    server: Server, kind: str
) -> None:
    whole = (
        server.upload(b"hello") if kind == "ordinary" else joined(server, [part(server, b"hello")])
    )
    response = join(server, [whole.url])
    if response.status == 201:
        server.upload_from(response).assert_content(b"hello")
    else:
        assert_refused(response)
    whole.assert_content(b"hello")


@rule("CO-09", level=PRACTICE)
@pytest.mark.parametrize("text", ["final;", "final; ", "final"])
def test_an_empty_list_is_400(server: Server, text: str) -> None:
    assert server.post({"Upload-Concat": text}).status == 400


@rule("CO-10", level=PRACTICE)
@pytest.mark.parametrize(
    "text", ["partial;x", "PARTIAL", "foo", "", "partial, partial", "final:/x"]
)
def test_an_invalid_upload_concat_is_400(server: Server, text: str) -> None:
    assert server.post({"Upload-Concat": text, "Upload-Length": "5"}).status == 400


@rule("CO-10", level=PRACTICE)
@pytest.mark.parametrize(
    "form", ["final;  {}", "final;{} ", "final ;{}", "Final;{}", "final;{}  {}"]
)
def test_a_nearly_valid_upload_concat_is_refused_or_followed(server: Server, form: str) -> None:
    one = part(server, b"ha")
    response = server.post({"Upload-Concat": form.format(one.url, one.url)})
    if response.status == 201:
        server.upload_from(response).assert_content(b"ha" * form.count("{}"))
    else:
        assert_refused(response)


@rule("CO-11", level=PRACTICE)
def test_a_length_of_a_final_upload_is_refused_or_ignored(server: Server) -> None:
    one = part(server, b"hello")
    for fields in ({"Upload-Length": "5"}, {"Upload-Length": "6"}, {"Upload-Defer-Length": "1"}):
        response = join(server, [one.url], fields)
        if response.status == 201:
            server.upload_from(response).assert_content(b"hello")
            one = part(server, b"hello")
        else:
            assert_refused(response)


@rule("CO-12", level=PRACTICE, needs="small-max-size")
def test_a_final_upload_over_the_limit_is_413(server: Server, capabilities: Capabilities) -> None:
    assert capabilities.max_size is not None
    half = some_bytes(capabilities.max_size // 2 + 1)
    parts = [part(server, half), part(server, half)]
    assert join(server, [one.url for one in parts]).status == 413


@rule("CO-14", level=PRACTICE)
@pytest.mark.parametrize(
    "contents",
    [(b"",), (b"", b""), (b"", b"hello"), (b"hello", b""), (b"he", b"", b"llo")],
    ids=["alone", "two", "first", "last", "middle"],
)
def test_a_partial_upload_may_be_empty(server: Server, contents: tuple[bytes, ...]) -> None:
    parts = [part(server, content) for content in contents]
    joined(server, parts).assert_content(b"".join(contents))


@rule("CO-01", "DL-04", level=PRACTICE, needs="creation-defer-length")
def test_a_partial_upload_may_defer_its_length(server: Server) -> None:
    one = server.create(None, {"Upload-Concat": "partial"})
    one.append(b"hello", 0, {"Upload-Length": "5"})
    joined(server, [one]).assert_content(b"hello")


@rule("CO-01", level=PRACTICE)
def test_an_interrupted_partial_upload_can_be_resumed(server: Server) -> None:
    content = some_bytes(100_000)
    one = server.create(len(content), {"Upload-Concat": "partial"})
    with one.connect() as connection:
        one.begin_patch(connection, content[:50_000], 0, content_length=len(content))
        connection.reset()
    one.resume(content)
    joined(server, [one]).assert_content(content)


# Over parts that still run


UNFINISHED = needs("concatenation-unfinished")


@UNFINISHED
@rule("CU-01")
def test_a_final_upload_may_be_created_before_its_partial_uploads_are_complete(
    server: Server,
) -> None:
    parts = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    final = joined(server, parts)
    head = final.head()
    assert head["Upload-Concat"].startswith("final;")
    assert "Upload-Offset" not in head or head["Upload-Offset"] != head.get("Upload-Length")


@UNFINISHED
@rule("CU-01", level=SHOULD)
def test_an_incomplete_final_upload_has_no_offset(server: Server) -> None:
    parts = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    final = joined(server, parts)
    assert "Upload-Offset" not in final.head()
    parts[0].append(b"hello")
    assert "Upload-Offset" not in final.head()


@UNFINISHED
@rule("CU-01", level=PRACTICE)
def test_the_length_of_a_final_upload_is_the_sum_of_known_lengths(server: Server) -> None:
    parts = [server.create(size, {"Upload-Concat": "partial"}) for size in (5, 6)]
    assert joined(server, parts).head().get("Upload-Length") == "11"


@UNFINISHED
@rule("CU-02")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in-order", "last-one-first"])
def test_a_final_upload_completes_with_its_last_partial_upload(
    server: Server, order: tuple[int, int]
) -> None:
    parts = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    contents = [b"hello", b"world"]
    final = joined(server, parts)
    for at in order:
        parts[at].append(contents[at])
    final.assert_content(b"helloworld")


@UNFINISHED
@rule("CU-02", "CO-04")
def test_an_incomplete_final_upload_takes_no_data(server: Server) -> None:
    one = server.create(5, {"Upload-Concat": "partial"})
    final = joined(server, [one])
    assert final.patch(b"hello", 0).status == 403
    assert one.offset() == 0
    one.append(b"hello")
    final.assert_content(b"hello")


@UNFINISHED
@rule("CU-03", level=PRACTICE, needs="termination")
def test_a_final_upload_reports_a_terminated_partial_upload(server: Server) -> None:
    parts = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    final = joined(server, parts)
    parts[0].append(b"hello")
    assert parts[1].delete().status == 204
    head = final.head()
    assert head.status in {200, 204, 404, 409, 410}
    assert head.get("Upload-Offset") != "10"
    if head.status < 300:
        assert "Upload-Offset" not in head
