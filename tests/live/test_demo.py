"""The demo, as a person uses it: the command, the page in a browser, and Ctrl-C."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import signal
import socket
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.app import PAGE_DIR, UPPY_FILES
from demo.npm import fetch_files, find_npm
from demo.process import ChildProcess, SetupError
from demo.runner import UPPY, DemoPaths
from tests.harness.servers.gunicorn import wait_until
from tests.live.demo_fixtures.chromium import Chromium, Page, find_chromium
from tests.live.demo_fixtures.running import RunningDemo, ask, gone, running, start
from tests.live.demo_fixtures.widget import button, press, uploads, wait_until_sent
from tests.live.demo_fixtures.wire import Wire
from tus_wsgi.domain.model import MIB

pytestmark = pytest.mark.live

# Read before the tests' environment is cleaned.
SCREENSHOTS = os.environ.get("TUS_TEST_SCREENSHOTS")

TUS = {"Tus-Resumable": "1.0.0"}

DROP_ZONE = ".uppy-Dashboard-AddFiles"


@pytest.fixture(scope="module")
def uppy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The widget's files, downloaded once."""
    directory = tmp_path_factory.mktemp("npm") / "uppy"
    fetch_files(UPPY, [f"dist/{name}" for name in UPPY_FILES], directory)
    return directory


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, uppy: Path) -> Iterator[RunningDemo]:
    """A demo for the tests that only use it."""
    with running(tmp_path_factory.mktemp("demo"), uppy=uppy) as demo:
        yield demo


# The page


def test_the_page_and_all_that_it_loads_come_from_the_demo(demo: RunningDemo) -> None:
    page = ask(demo.url)
    assert page.status == 200
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page["Content-Security-Policy"]
    links = set(re.findall(r'(?:href|src)="(/[^"]+)"', page.body.decode()))
    links |= {f"/{file.name}" for file in PAGE_DIR.iterdir() if file.suffix == ".js"}
    links |= {f"/uppy/{name}" for name in UPPY_FILES}
    types = {"css": "text/css", "svg": "image/svg+xml"}
    for link in links:
        reply = ask(demo.url.rstrip("/") + link)
        assert reply.status == 200, link
        expected = types.get(link.rpartition(".")[2], "text/javascript")
        assert reply["Content-Type"].startswith(expected), link


def test_the_page_names_no_other_host() -> None:
    for file in PAGE_DIR.iterdir():
        text = file.read_text(encoding="utf-8")
        # An XML namespace is a name, and nobody goes there.
        hosts = re.findall(r"(?:https?:|[\"'(=])//[^\"' ]+", text)
        assert set(hosts) <= {"http://www.w3.org/2000/svg"}, file.name


def test_a_file_that_did_not_change_is_not_sent_again(demo: RunningDemo) -> None:
    url = f"{demo.url}uppy/uppy.min.mjs"
    first = ask(url)
    assert first["Cache-Control"] == "no-cache"
    again = ask(url, fields={"If-None-Match": first["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("path", ["index.html", "nothing", "uppy/", "../app.py", "%2e%2e/app.py"])
def test_there_is_nothing_else(demo: RunningDemo, path: str) -> None:
    assert ask(demo.url + path).status == 404


def test_the_page_can_only_be_read(demo: RunningDemo) -> None:
    reply = ask(demo.url, "POST", body=b"x")
    assert (reply.status, reply["Allow"]) == (405, "GET, HEAD")


# The command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_leaves_no_process(uppy: Path, tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, uppy=uppy) as demo:
        family = demo.family()
        # Itself, SeaweedFS, gunicorn and its two workers.
        assert len(family) >= 5
        assert demo.end(number) == 0
        assert gone(family)
        assert "Stopped." in demo.process.log_tail()


def test_a_second_start_finds_the_earlier_uploads(uppy: Path, tmp_path: Path) -> None:
    whole, half = random.randbytes(300_000), random.randbytes(100_000)
    with running(tmp_path, uppy=uppy) as demo:
        port = demo.port
        finished = create(demo, length=len(whole))
        patch(finished, whole)
        unfinished = create(demo, length=2 * len(half))
        patch(unfinished, half)
        assert demo.end(signal.SIGINT) == 0
    with running(tmp_path, uppy=uppy, port=port):
        assert ask(finished).body == whole
        head = ask(unfinished, "HEAD", TUS)
        assert (head.status, head["Upload-Offset"]) == (200, str(len(half)))


def test_uploads_survive_the_death_of_all_parts_at_once(uppy: Path, tmp_path: Path) -> None:
    half = random.randbytes(100_000)
    with running(tmp_path, uppy=uppy) as demo:
        unfinished = create(demo, length=2 * len(half))
        patch(unfinished, half)
        for process in demo.family():
            process.kill()
        port = demo.port
    with running(tmp_path, uppy=uppy, port=port):
        patch(unfinished, half, offset=len(half))
        assert ask(unfinished).body == half + half


def create(demo: RunningDemo, *, length: int) -> str:
    url = f"{demo.url}files"
    reply = ask(url, "POST", {**TUS, "Upload-Length": str(length)})
    assert reply.status == 201
    return reply["Location"]


def patch(url: str, data: bytes, *, offset: int = 0) -> None:
    kind = {"Content-Type": "application/offset+octet-stream"}
    reply = ask(url, "PATCH", {**TUS, **kind, "Upload-Offset": str(offset)}, data)
    assert reply.status == 204, reply


# What can be in the way: one sentence that says what to do, and no traceback


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(start(tmp_path / "data", tmp_path / "log", f"--port={port}"))
    assert f"cannot use port {port}" in said
    assert "--port" in said


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    said = refused(start(tmp_path / "data" / "below", tmp_path / "log", "--port=0"))
    assert f"cannot write to {tmp_path / 'data' / 'below'}" in said


def test_a_directory_that_another_demo_uses(demo: RunningDemo, tmp_path: Path) -> None:
    data = demo.process.log.parent
    said = refused(start(data, tmp_path / "log", "--port=0"))
    assert "another SeaweedFS is running" in said
    assert ask(demo.url).status == 200


def test_a_package_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="npm could not download uppy@0.0.0-none"):
        fetch_files("uppy@0.0.0-none", ["dist/uppy.min.mjs"], tmp_path / "uppy")
    assert list(tmp_path.iterdir()) == []


def test_no_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(SetupError, match=r"pip install -e '\.\[node\]'"):
        find_npm()


def test_npm_from_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside this Python, but not on the PATH: an environment that was not activated."""
    wheel = tmp_path / "scripts" / "npm"
    wheel.parent.mkdir()
    wheel.write_text("#!/bin/sh\n")
    wheel.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(wheel.parent))
    assert find_npm() == str(wheel)


def refused(process: ChildProcess) -> str:
    """What a demo says that does not start; it must leave nothing behind."""
    wait_until(lambda: not process.running(), seconds=30)
    said = process.log_tail()
    assert process.exit_code() == 1, said
    assert "Traceback" not in said
    return said


# The page in a browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    command = find_chromium()
    if command is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with Chromium.started(command, tmp_path / "chromium") as browser:
        yield browser
        assert browser.complaints == []


@pytest.fixture
def wire(demo: RunningDemo) -> Iterator[Wire]:
    with Wire(demo.port, upload=16 * MIB) as wire:
        yield wire


@pytest.fixture
def page(browser: Chromium, wire: Wire) -> Page:
    return open_page(browser, wire)


def open_page(browser: Chromium, wire: Wire) -> Page:
    page = browser.page(f"http://127.0.0.1:{wire.port}/")
    page.look(width=1200, height=900)
    page.wait_for(f"document.querySelector({DROP_ZONE!r})")
    return page


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_a_dropped_file_arrives_although_the_network_was_cut(
    demo: RunningDemo, wire: Wire, page: Page, tmp_path: Path
) -> None:
    shoot(page, "empty", tmp_path)
    file = random_file(tmp_path / "holiday video.mp4", size=50 * MIB)
    page.drop(file, DROP_ZONE)
    wait_until_sent(page, 0.4)
    shoot(page, "uploading", tmp_path)

    wire.cut()
    page.network(offline=True)
    page.wait_for("!document.querySelector('#offline').hidden")
    shoot(page, "offline", tmp_path)
    time.sleep(2)  # long enough for its first tries to fail
    assert not uploads(page)[0]["finished"]

    wire.mend()
    page.network()
    page.wait_for("document.querySelector('.finished a[href]')", seconds=60)
    shoot(page, "finished", tmp_path)
    assert_arrived(demo, page, file)
    # 40 % were there when it broke: a start from zero would have carried 70 MiB.
    assert wire.carried < 66 * MIB


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_a_paused_upload_stands_still_until_it_is_resumed(
    demo: RunningDemo, wire: Wire, page: Page, tmp_path: Path
) -> None:
    file = random_file(tmp_path / "thesis.pdf", size=40 * MIB)
    page.drop(file, DROP_ZONE)
    wait_until_sent(page, 0.3)
    press(page, "Pause")
    page.wait_for(f"document.querySelector({button('Resume')!r})")
    page.wait_for("document.querySelector('.row .state').textContent.endsWith('sent, paused')")
    wait_until_quiet(wire)
    shoot(page, "paused", tmp_path)
    url = uploads(page)[0]["url"]
    paused = int(ask(url, "HEAD", TUS)["Upload-Offset"])
    assert 0 < paused < 40 * MIB
    time.sleep(2)
    assert int(ask(url, "HEAD", TUS)["Upload-Offset"]) == paused

    carried = wire.carried
    press(page, "Resume")
    page.wait_for("!document.querySelector('.row .state').textContent.includes('paused')")
    page.wait_for("document.querySelector('.finished a[href]')", seconds=60)
    assert_arrived(demo, page, file)
    assert wire.carried - carried < 40 * MIB - paused + MIB, "only the rest was sent"


@pytest.mark.browser
@pytest.mark.timeout(180)
def test_after_a_reload_the_same_file_goes_on_where_it_was(
    demo: RunningDemo, wire: Wire, page: Page, tmp_path: Path
) -> None:
    file = random_file(tmp_path / "letter.bin", size=40 * MIB)
    page.drop(file, DROP_ZONE)
    wait_until_sent(page, 0.5)
    page.open(f"http://127.0.0.1:{wire.port}/")
    page.wait_for("document.body.innerText.includes('Drop this file again to resume')")
    shoot(page, "reloaded", tmp_path)
    [before] = uploads(page)
    assert 0 < before["offset"] < file.stat().st_size

    page.drop(file, DROP_ZONE)
    page.wait_for("document.querySelector('.finished a[href]')", seconds=60)
    [after] = uploads(page)
    assert after["url"] == before["url"]
    assert_arrived(demo, page, file)


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_an_upload_goes_on_by_itself_after_the_demo_was_stopped_and_started_again(
    uppy: Path, browser: Chromium, tmp_path: Path
) -> None:
    file = random_file(tmp_path / "long.bin", size=40 * MIB)
    with contextlib.ExitStack() as stack:
        data = tmp_path / "data"
        first = stack.enter_context(running(data, uppy=uppy))
        wire = stack.enter_context(Wire(first.port, upload=16 * MIB))
        page = open_page(browser, wire)
        page.drop(file, DROP_ZONE)
        wait_until_sent(page, 0.4)
        assert first.end(signal.SIGINT) == 0
        stored = bytes_stored(data)
        assert 0 < stored < 40 * MIB

        second = stack.enter_context(running(data, uppy=uppy, port=first.port))
        page.wait_for("document.querySelector('.finished a[href]')", seconds=90)
        assert len(uploads(page)) == 1
        assert_arrived(second, page, file)
        assert stored + bytes_stored(data) == 40 * MIB


@pytest.mark.browser
def test_a_cancelled_upload_is_deleted_on_the_server(
    wire: Wire, page: Page, tmp_path: Path
) -> None:
    page.drop(random_file(tmp_path / "mistake.bin", size=40 * MIB), DROP_ZONE)
    wait_until_sent(page, 0.2)
    url = uploads(page)[0]["url"]
    press(page, "Cancel")
    page.wait_for("document.querySelector('#uploads').hidden")
    wait_until(lambda: ask(url, "HEAD", TUS).status in {404, 410}, seconds=10)


def wait_until_quiet(wire: Wire) -> None:
    """Wait until nothing that was sent is still on its way."""
    carried = -1
    while carried != wire.carried:
        carried = wire.carried
        time.sleep(0.5)


def random_file(path: Path, *, size: int) -> Path:
    path.write_bytes(random.randbytes(size))
    return path


def bytes_stored(data: Path) -> int:
    """How many bytes the demo has stored since it was started."""
    log = DemoPaths.under(data).log.read_text(encoding="utf-8")
    return sum(map(int, re.findall(r"event=bytes_stored .*\bcount=(\d+)", log)))


def assert_arrived(demo: RunningDemo, page: Page, file: Path) -> None:
    """The link leads to the file's bytes, and the object in S3 has them too."""
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    link = page.evaluate("document.querySelector('.finished a').href")
    assert hashlib.sha256(ask(link).body).hexdigest() == expected
    shown = str(page.evaluate("document.querySelector('.finished .object').textContent"))
    client, bucket = demo.bucket()
    assert shown.startswith(f"s3://{bucket}/")
    body = client.get_object(Bucket=bucket, Key=shown.rpartition("/")[2])["Body"]
    with body:
        assert hashlib.sha256(body.read()).hexdigest() == expected


def shoot(page: Page, name: str, tmp_path: Path) -> None:
    """Screenshots of this moment for a person to look at: wide, narrow and dark."""
    directory = Path(SCREENSHOTS or tmp_path / "screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    for kind, width, dark in (("wide", 1200, False), ("narrow", 390, False), ("dark", 1200, True)):
        page.look(width=width, height=900, dark=dark)
        page.screenshot(directory / f"{name}-{kind}.png")
    page.look(width=1200, height=900)
