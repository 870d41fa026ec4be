"""The store over TLS, where boto3 signs no body and several services refuse its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.compat.sandbox import PART, Shop, append, finish
from tests.harness.data import some_bytes
from tests.harness.tls import tls_in_front_of, write_certificate
from tus_wsgi.stores.s3.client import ChecksumMode, make_client

pytestmark = pytest.mark.compat


@pytest.fixture(params=list(ChecksumMode))
def secure(
    request: pytest.FixtureRequest, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    """The same corner, behind TLS, with each of the settings of checksums."""
    port = urlsplit(shop.service.endpoint).port
    assert port is not None
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    for name, text in shop.service.environ().items():
        monkeypatch.setenv(name, text)
    with tls_in_front_of(port, certificate) as front:
        client = make_client(
            endpoint=f"https://127.0.0.1:{front}", parallel_parts=4, checksum=request.param
        )
        yield replace(shop, client=client, has_checksums=request.param is not ChecksumMode.OFF)
        client.close()


def test_an_upload_of_parts_and_a_tail_is_its_object(secure: Shop) -> None:
    content = some_bytes(PART + 100)
    upload = secure.create(len(content))
    append(upload, content[:10])
    append(secure.reopen(upload, memory=0), content[10 : PART + 50])
    upload = secure.reopen(upload)
    assert upload.info.offset == PART + 50
    append(upload, content[PART + 50 :])
    finish(upload)
    assert secure.stored(upload) == content
    small = secure.create(5, record_now=False)
    append(small, b"12345")
    finish(small)
    assert secure.stored(small) == b"12345"
