"""The store over TLS. boto3 does not sign bodies then, and several services refuse its defaults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.compat.sandbox import PART, ServiceSandbox, append, concatenate, finish
from tests.harness.data import some_bytes
from tests.harness.tls import tls_proxy, write_certificate
from tus_wsgi.stores.s3.client import ChecksumMode, make_client

pytestmark = pytest.mark.compat


@pytest.fixture(params=list(ChecksumMode))
def tls_sandbox(
    request: pytest.FixtureRequest,
    sandbox: ServiceSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[ServiceSandbox]:
    """The sandbox over TLS, with each checksum setting."""
    port = urlsplit(sandbox.service.endpoint).port
    assert port is not None
    certificate = write_certificate(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    for name, text in sandbox.service.environ().items():
        monkeypatch.setenv(name, text)
    with tls_proxy(port, certificate) as tls_port:
        client = make_client(
            endpoint=f"https://127.0.0.1:{tls_port}", parallel_parts=4, checksum=request.param
        )
        yield replace(sandbox, client=client, has_checksums=request.param is not ChecksumMode.OFF)
        client.close()


def test_an_upload_of_parts_and_a_tail_becomes_an_object(tls_sandbox: ServiceSandbox) -> None:
    content = some_bytes(PART + 100)
    upload = tls_sandbox.create(len(content))
    append(upload, content[:10])
    append(tls_sandbox.reopen(upload, memory=0), content[10 : PART + 50])
    upload = tls_sandbox.reopen(upload)
    assert upload.info.offset == PART + 50
    append(upload, content[PART + 50 :])
    finish(upload)
    assert tls_sandbox.stored(upload) == content
    small = tls_sandbox.create(5, record_now=False)
    append(small, b"12345")
    finish(small)
    assert tls_sandbox.stored(small) == b"12345"


@pytest.mark.long
def test_partial_uploads_become_one_object_with_each_checksum_setting(
    tls_sandbox: ServiceSandbox,
) -> None:
    """`tests/faults/test_copies.py` is the short sample."""
    content = some_bytes(2 * PART + 5)
    slices = [content[:PART], content[PART : 2 * PART], content[2 * PART :]]
    assert tls_sandbox.stored(concatenate(tls_sandbox, slices)) == content
    assert tls_sandbox.list_multiparts() == []
