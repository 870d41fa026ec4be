"""The examples as users see them: in a browser, over a connection that breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.harness.proxies.tcp import TcpProxy
from tests.live.demo_fixtures.chromium import Chromium, Page
from tests.live.demo_fixtures.running import RunningDemo, running_demo
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

DROP_ZONE = ".uppy-Dashboard-AddFiles"
LINK = "#files a"


# tests/examples tries what the apps decide. Here they differ only in how the page is served.
@pytest.fixture(
    params=[
        "flask",
        pytest.param("django", marks=pytest.mark.long),
        pytest.param("pyramid", marks=pytest.mark.long),
    ]
)
def example(request: pytest.FixtureRequest, tmp_path: Path, uppy: Path) -> Iterator[RunningDemo]:
    pytest.importorskip("sqlalchemy")
    program = ("examples", request.param)
    with running_demo(tmp_path / "example", uppy=uppy, program=program) as example:
        yield example


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_two_users_upload_over_a_broken_connection(
    example: RunningDemo, browser: Chromium, tmp_path: Path
) -> None:
    with TcpProxy(example.port, cuts=[6 * MIB]) as proxy:
        root = f"http://127.0.0.1:{proxy.port}/"
        page = browser.open_page(root)
        log_in(page, root, "ada")

        # The connection is cut in the middle of the upload, which resumes by itself.
        content = b"%PDF-1.7" + bytes(12 * MIB)
        page.drop(written(tmp_path / "thesis.pdf", content), DROP_ZONE)
        page.wait_for(f"document.querySelector({LINK!r})", seconds=60)
        assert proxy.cut_count == 1
        counts = re.findall(r"event=bytes_stored .*\bcount=(\d+)", server_log(example))
        assert sum(map(int, counts)) == len(content)
        url = str(page.evaluate(f"document.querySelector({LINK!r}).href"))
        assert status(page, url, "GET") == 200
        key = f"users/1/{url.rpartition('/')[2]}/thesis.pdf"
        assert is_stored(example, key, content)

        # A program with the name of a document is rejected, with the sentence of the app.
        open_files(page, root)
        page.drop(written(tmp_path / "letter.pdf", b"MZ" + bytes(1000)), DROP_ZONE)
        sentence = "Only PDF, PNG and JPEG files are accepted."
        page.wait_for(f"document.querySelector('#refusal').textContent.includes('{sentence}')")
        assert page.evaluate("document.querySelectorAll('#files a').length") == 1

        # Another user can neither see, read nor delete the file.
        log_in(page, root, "eve")
        assert page.evaluate("document.querySelectorAll('#files a').length") == 0
        assert status(page, url, "GET") == status(page, url, "DELETE") == 404

        log_in(page, root, "ada")
        send_form(page, "#files form")
        open_files(page, root)
        assert page.evaluate("document.querySelectorAll('#files a').length") == 0
        assert not is_stored(example, key, content)


def log_in(page: Page, url: str, name: str) -> None:
    """Log in, and open the page of the files."""
    page.navigate(f"{url}login")
    page.evaluate(f"document.querySelectorAll('label input').forEach((i) => i.value = {name!r})")
    send_form(page, "form")
    open_files(page, url)


def open_files(page: Page, url: str) -> None:
    page.navigate(url)
    page.wait_for(f"document.querySelector({DROP_ZONE!r})")


def send_form(page: Page, selector: str) -> None:
    """Send a form without leaving the page, because a navigation would interrupt the script."""
    sent = page.evaluate(
        f"((form) => fetch(form.action, {{method: 'POST',"
        f" body: new URLSearchParams(new FormData(form))}}).then((response) => response.ok))"
        f"(document.querySelector({selector!r}))"
    )
    assert sent


def fetch(url: str, method: str) -> str:
    return f"fetch({url!r}, {{method: {method!r}, headers: {{'Tus-Resumable': '1.0.0'}}}})"


def status(page: Page, url: str, method: str) -> int:
    return int(page.evaluate(f"{fetch(url, method)}.then((response) => response.status)"))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def server_log(example: RunningDemo) -> str:
    """Return the log of the example's gunicorn."""
    return (example.process.log.parent / "gunicorn.log").read_text(encoding="utf-8")


def is_stored(example: RunningDemo, key: str, content: bytes) -> bool:
    """Return whether the bucket has an object with this key and content."""
    client, bucket = example.bucket()
    try:
        with client.get_object(Bucket=bucket, Key=key)["Body"] as body:
            return body.read() == content
    except ClientError:
        return False
