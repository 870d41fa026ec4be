"""Partial uploads and the final uploads that concatenate them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from .rules import PRACTICE, SHOULD, needs, rule
from .server import MIB, Capabilities, Server, Upload, assert_refused, some_bytes
from .wire import Fields, Response, merge_fields

pytestmark = needs("creation", "concatenation")


def create_partial(server: Server, content: bytes, fields: Fields = ()) -> Upload:
    """Create a finished partial upload."""
    return server.upload(content, merge_fields({"Upload-Concat": "partial"}, fields))


def concatenate(server: Server, urls: Iterable[str], fields: Fields = ()) -> Response:
    """Send POST for a final upload."""
    return server.post(merge_fields({"Upload-Concat": f"final;{' '.join(urls)}"}, fields))


def create_final(server: Server, partials: Iterable[Upload], fields: Fields = ()) -> Upload:
    """Create a final upload."""
    return server.upload_from(concatenate(server, [upload.url for upload in partials], fields))


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
    contents = [some_bytes(size, seed=seed) for seed, size in enumerate(sizes)]
    partials = [create_partial(server, content) for content in contents]
    create_final(server, partials).assert_content(b"".join(contents))


@rule("CO-02")
def test_the_order_is_that_of_the_list(server: Server) -> None:
    first, second = create_partial(server, b"hello "), create_partial(server, b"world")
    create_final(server, [second, first]).assert_content(b"worldhello ")


@rule("CO-02", level=PRACTICE)
def test_long_partial_uploads_are_concatenated(server: Server) -> None:
    """No size is a multiple of another; 5 MiB is the minimum size of a part in S3."""
    sizes = (5 * MIB + 1, 3 * MIB, 6 * MIB - 1, 17)
    contents = [some_bytes(size, seed=seed) for seed, size in enumerate(sizes)]
    with ThreadPoolExecutor(2) as pool:
        partials = list(pool.map(lambda content: create_partial(server, content), contents))
    create_final(server, partials).assert_content(b"".join(contents))


@rule("CO-02", level=PRACTICE)
def test_many_partial_uploads_are_concatenated(server: Server) -> None:
    contents = [bytes((number, 255 - number)) for number in range(30)]
    partials = [create_partial(server, content) for content in contents]
    urls = [urlsplit(upload.url).path for upload in partials]
    server.upload_from(concatenate(server, urls)).assert_content(b"".join(contents))


@rule("CO-03")
def test_head_of_a_final_upload_returns_upload_concat_unchanged(server: Server) -> None:
    partials = [create_partial(server, b"hello "), create_partial(server, b"world")]
    text = f"final;{partials[0].url} {partials[1].url}"
    final = server.upload_from(server.post({"Upload-Concat": text}))
    head = final.head()
    assert head["Upload-Concat"] == text
    assert head["Upload-Offset"] == head["Upload-Length"] == "11"


@rule("CO-04")
@pytest.mark.parametrize("offset", [0, 5, 11])
@pytest.mark.parametrize("data", [b"", b"x"], ids=["empty", "data"])
def test_a_patch_of_a_final_upload_is_403(server: Server, offset: int, data: bytes) -> None:
    partials = [create_partial(server, b"hello "), create_partial(server, b"world")]
    final = create_final(server, partials)
    with final.unchanged():
        assert final.patch(data, offset).status == 403
    final.assert_content(b"hello world")


@rule("CO-05")
def test_a_final_upload_has_only_its_own_metadata(server: Server) -> None:
    partial = create_partial(server, b"hello", {"Upload-Metadata": "a YQ=="})
    assert "Upload-Metadata" not in create_final(server, [partial]).head()
    other = create_partial(server, b"hello", {"Upload-Metadata": "a YQ=="})
    final = create_final(server, [other], {"Upload-Metadata": "b Yg=="})
    assert final.head()["Upload-Metadata"] == "b Yg=="


@rule("CO-06", level=PRACTICE)
def test_a_list_may_repeat_a_partial_upload(server: Server) -> None:
    partial = create_partial(server, b"ha")
    response = concatenate(server, [partial.url, partial.url])
    if response.status == 201:
        server.upload_from(response).assert_content(b"haha")
    else:
        assert_refused(response)


@rule("CO-06", level=PRACTICE)
def test_a_partial_upload_may_be_used_twice(server: Server) -> None:
    partial = create_partial(server, b"ha")
    create_final(server, [partial]).assert_content(b"ha")
    response = concatenate(server, [partial.url])
    if response.status == 201:
        server.upload_from(response).assert_content(b"ha")
    else:
        assert_refused(response)


REFERENCES: dict[str, Callable[[Upload], str]] = {
    "location": lambda u: u.url,
    "absolute": lambda u: u.url,
    "path": lambda u: urlsplit(u.url).path,
}


@rule("CO-07")
@pytest.mark.parametrize("reference", REFERENCES)
def test_a_list_may_contain_urls_or_paths(server: Server, reference: str) -> None:
    """ "The URLs … MAY be absolute or relative.\""""
    partials = [create_partial(server, b"hello "), create_partial(server, b"world")]
    server.upload_from(concatenate(server, map(REFERENCES[reference], partials))).assert_content(
        b"hello world"
    )


@rule("CO-07", level=PRACTICE)
def test_a_list_may_mix_urls_and_paths(server: Server) -> None:
    first, second = create_partial(server, b"hello "), create_partial(server, b"world")
    response = concatenate(server, [first.url, urlsplit(second.url).path])
    server.upload_from(response).assert_content(b"hello world")


@rule("CO-07", level=PRACTICE)
def test_a_url_of_another_server_is_refused(server: Server) -> None:
    """A server that fetches it can be abused to reach other hosts (SSRF)."""
    partial = create_partial(server, b"hello")
    for url in (
        f"http://127.0.0.2:1{urlsplit(partial.url).path}",
        f"{partial.url.rpartition('/')[0]}-elsewhere/{partial.id}",
        f"file:///etc/passwd#{partial.id}",
    ):
        assert_refused(concatenate(server, [url]))


@rule("CO-08", level=PRACTICE, needs="not:concatenation-unfinished")
@pytest.mark.parametrize("sent", [b"", b"he"], ids=["empty", "begun"])
def test_an_unfinished_partial_upload_is_refused(server: Server, sent: bytes) -> None:
    partial = server.create(5, {"Upload-Concat": "partial"})
    if sent:
        partial.append(sent)
    with partial.unchanged():
        assert_refused(concatenate(server, [create_partial(server, b"x").url, partial.url]))


@rule("CO-09", level=PRACTICE)
def test_an_unknown_partial_upload_is_refused(server: Server) -> None:
    assert_refused(concatenate(server, [server.unknown_url()]))
    assert_refused(concatenate(server, [create_partial(server, b"x").url, server.unknown_url()]))


@rule("CO-09", level=PRACTICE)
@pytest.mark.parametrize("kind", ["ordinary", "final"])
def test_an_upload_that_is_not_partial_is_refused_or_concatenated(
    server: Server, kind: str
) -> None:
    upload = (
        server.upload(b"hello")
        if kind == "ordinary"
        else create_final(server, [create_partial(server, b"hello")])
    )
    response = concatenate(server, [upload.url])
    if response.status == 201:
        server.upload_from(response).assert_content(b"hello")
    else:
        assert_refused(response)
    upload.assert_content(b"hello")


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
    partial = create_partial(server, b"ha")
    response = server.post({"Upload-Concat": form.format(partial.url, partial.url)})
    if response.status == 201:
        server.upload_from(response).assert_content(b"ha" * form.count("{}"))
    else:
        assert_refused(response)


@rule("CO-11", level=PRACTICE)
def test_a_length_of_a_final_upload_is_refused_or_ignored(server: Server) -> None:
    partial = create_partial(server, b"hello")
    for fields in ({"Upload-Length": "5"}, {"Upload-Length": "6"}, {"Upload-Defer-Length": "1"}):
        response = concatenate(server, [partial.url], fields)
        if response.status == 201:
            server.upload_from(response).assert_content(b"hello")
            partial = create_partial(server, b"hello")
        else:
            assert_refused(response)


@rule("CO-12", level=PRACTICE, needs="small-max-size")
def test_a_final_upload_over_the_limit_is_413(server: Server, capabilities: Capabilities) -> None:
    assert capabilities.max_size is not None
    half = some_bytes(capabilities.max_size // 2 + 1)
    partials = [create_partial(server, half), create_partial(server, half)]
    assert concatenate(server, [upload.url for upload in partials]).status == 413


@rule("CO-14", level=PRACTICE)
@pytest.mark.parametrize(
    "contents",
    [(b"",), (b"", b""), (b"", b"hello"), (b"hello", b""), (b"he", b"", b"llo")],
    ids=["alone", "two", "first", "last", "middle"],
)
def test_a_partial_upload_may_be_empty(server: Server, contents: tuple[bytes, ...]) -> None:
    partials = [create_partial(server, content) for content in contents]
    create_final(server, partials).assert_content(b"".join(contents))


@rule("CO-01", "DL-04", level=PRACTICE, needs="creation-defer-length")
def test_a_partial_upload_may_defer_its_length(server: Server) -> None:
    partial = server.create(None, {"Upload-Concat": "partial"})
    partial.append(b"hello", 0, {"Upload-Length": "5"})
    create_final(server, [partial]).assert_content(b"hello")


@rule("CO-01", level=PRACTICE)
def test_an_interrupted_partial_upload_can_be_resumed(server: Server) -> None:
    content = some_bytes(100_000)
    partial = server.create(len(content), {"Upload-Concat": "partial"})
    with partial.connect() as connection:
        partial.begin_patch(connection, content[:50_000], 0, content_length=len(content))
        connection.reset()
    partial.resume(content)
    create_final(server, [partial]).assert_content(content)


# Final uploads of unfinished partial uploads


UNFINISHED = needs("concatenation-unfinished")


@UNFINISHED
@rule("CU-01")
def test_a_final_upload_may_be_created_before_its_partial_uploads_are_complete(
    server: Server,
) -> None:
    partials = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    final = create_final(server, partials)
    head = final.head()
    assert head["Upload-Concat"].startswith("final;")
    assert "Upload-Offset" not in head or head["Upload-Offset"] != head.get("Upload-Length")


@UNFINISHED
@rule("CU-01", level=SHOULD)
def test_an_incomplete_final_upload_has_no_offset(server: Server) -> None:
    partials = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    final = create_final(server, partials)
    assert "Upload-Offset" not in final.head()
    partials[0].append(b"hello")
    assert "Upload-Offset" not in final.head()


@UNFINISHED
@rule("CU-01", level=PRACTICE)
def test_the_length_of_a_final_upload_is_the_sum_of_known_lengths(server: Server) -> None:
    partials = [server.create(size, {"Upload-Concat": "partial"}) for size in (5, 6)]
    assert create_final(server, partials).head().get("Upload-Length") == "11"


@UNFINISHED
@rule("CU-02")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in-order", "last-one-first"])
def test_a_final_upload_completes_with_its_last_partial_upload(
    server: Server, order: tuple[int, int]
) -> None:
    partials = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    contents = [b"hello", b"world"]
    final = create_final(server, partials)
    for index in order:
        partials[index].append(contents[index])
    final.assert_content(b"helloworld")


@UNFINISHED
@rule("CU-02", "CO-04")
def test_an_incomplete_final_upload_takes_no_data(server: Server) -> None:
    partial = server.create(5, {"Upload-Concat": "partial"})
    final = create_final(server, [partial])
    assert final.patch(b"hello", 0).status == 403
    assert partial.offset() == 0
    partial.append(b"hello")
    final.assert_content(b"hello")


@UNFINISHED
@rule("CU-03", level=PRACTICE, needs="termination")
def test_a_final_upload_reports_a_terminated_partial_upload(server: Server) -> None:
    partials = [server.create(5, {"Upload-Concat": "partial"}) for _ in range(2)]
    final = create_final(server, partials)
    partials[0].append(b"hello")
    assert partials[1].delete().status == 204
    head = final.head()
    assert head.status in {200, 204, 404, 409, 410}
    assert head.get("Upload-Offset") != "10"
    if head.status < 300:
        assert "Upload-Offset" not in head
