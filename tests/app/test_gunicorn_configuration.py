"""`tus_wsgi.gunicorn`: what gunicorn reads, and what the hooks refuse."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gunicorn.config
import pytest
from gunicorn.workers.sync import SyncWorker

from tus_wsgi import gunicorn as configuration
from tus_wsgi.domain.hidden_ids import fingerprint
from tus_wsgi.domain.model import UploadId

ROOT = Path(__file__).parents[2]


def server(worker_class: type[object] = object, **settings: Any) -> Any:
    cfg = SimpleNamespace(**{"workers": 2, "worker_connections": 1000, **settings})
    log = logging.getLogger("gunicorn.error")
    return SimpleNamespace(worker_class=worker_class, cfg=cfg, log=log)


def test_gunicorn_accepts_each_name_of_the_configuration() -> None:
    config = gunicorn.config.Config()
    for name in configuration.__all__:
        config.set(name, getattr(configuration, name))


def test_loading_the_configuration_imports_neither_gevent_nor_a_user_of_ssl() -> None:
    """gevent patches once the worker class is known. No module may import `ssl` before."""
    code = (
        "import sys, tus_wsgi.gunicorn;"
        "bad = {'gevent', 'boto3', 'urllib3', 'tus_wsgi.app'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


LOAD = """
import sys
import gunicorn.app.base
{before}
import tus_wsgi.gunicorn as configuration
monkey = sys.modules.get("gevent.monkey")
print(monkey is not None and monkey.is_module_patched("socket"))
"""


def load(*arguments: str, before: str = "", environ: str = "") -> subprocess.CompletedProcess[str]:
    """Load the configuration as gunicorn does, and print whether gevent has patched."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD.format(before=before), *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "GUNICORN_CMD_ARGS": environ},
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "is_patched"),
    [
        (["-w", "4", "--worker-tmp-dir", "/tmp"], "--threads 3", True),
        (["-k", "gthread", "app:app"], "-k gevent", False),
        (["app:app"], "--worker-class=gthread --threads 8", False),
    ],
)
def test_gevent_patches_only_for_its_own_workers(
    arguments: list[str], environ: str, *, is_patched: bool
) -> None:
    done = load(*arguments, environ=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{is_patched}\n", "")


def test_a_configuration_that_imports_boto3_before_gevent_patches_is_refused() -> None:
    done = load(before="import warnings, urllib3; warnings.simplefilter('ignore')")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Begin the configuration with: from tus_wsgi.gunicorn import *" in line


@pytest.mark.parametrize("is_patched", [True, False])
def test_a_worker_class_that_does_not_fit_the_patch_is_refused(
    monkeypatch: pytest.MonkeyPatch, *, is_patched: bool
) -> None:
    """The worker class is set in a configuration that begins with this one."""
    gevent_worker = type("GeventWorker", (), {})
    monkeypatch.setattr(configuration, "is_patched", lambda: is_patched)
    if is_patched:
        fitting, unfit = gevent_worker, SyncWorker
    else:
        fitting, unfit = SyncWorker, gevent_worker
    configuration.on_starting(server(fitting))
    with pytest.raises(SystemExit, match="Choose the workers with"):
        configuration.on_starting(server(unfit))


def test_memory_locks_with_several_workers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration.on_starting(server())
    monkeypatch.setenv("TUS_LOCKER", "memory")
    with pytest.raises(SystemExit, match="memory is for one process"):
        configuration.on_starting(server())


def test_http2_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    configuration.on_starting(server(http_protocols=["h1"]))
    assert caplog.messages == []
    configuration.on_starting(server(http_protocols=["h2", "h1"]))
    (message,) = caplog.messages
    assert "HTTP/2" in message


def test_a_limit_of_open_files_that_is_too_low_for_the_connections_is_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "raise_file_limit", lambda count: min(count, 2512))
    configuration.on_starting(server())
    assert caplog.messages == []
    configuration.on_starting(server(worker_connections=1001))
    (message,) = caplog.messages
    assert "1001 connections may need 2514 open files, but the system allows 2512" in message


def test_the_configuration_in_the_documentation_can_be_loaded() -> None:
    page = (ROOT / "docs" / "servers.md").read_text(encoding="utf-8")
    (example, *_) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(example, names)
    assert set(configuration.__all__) <= names.keys()
    config = gunicorn.config.Config()
    for name in set(names) & set(config.settings):
        config.set(name, names[name])
    assert config.post_worker_init is names["post_worker_init"]
    hooks = set(re.findall(r"`(\w+)`", page.partition("If you replace one of the hooks")[2][:120]))
    assert hooks <= set(configuration.__all__)


ID = UploadId("QTzW1Qy0m2mLw0b0nXq3fA")

ENVIRON = {
    "REMOTE_ADDR": "192.0.2.1",
    "REQUEST_METHOD": "PATCH",
    "RAW_URI": f"/files/{ID}",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "tus_wsgi.request_id": "7f3a",
}

RESPONSE = SimpleNamespace(status="204 No Content", sent=0, headers=[("Location", f"/files/{ID}")])


def log_lines(tmp_path: Path) -> list[str]:
    """Return the lines of a request and of an error with gunicorn's logger."""
    config = gunicorn.config.Config()
    config.set("errorlog", str(tmp_path / "error.log"))
    config.set("accesslog", str(tmp_path / "access.log"))
    logger = configuration.logger_class(config)
    request = SimpleNamespace(headers=[("REFERER", f"http://example.com/files/{ID}")])
    logger.access(RESPONSE, request, ENVIRON, timedelta(seconds=0.25))
    logger.error("Error handling request %s %s", "PATCH", f"/files/{ID}")
    for log in (logger.error_log, logger.access_log):
        for handler in log.handlers[:]:
            log.removeHandler(handler)
            handler.close()
    names = ("access.log", "error.log")
    lines = [(tmp_path / name).read_text(encoding="utf-8") for name in names]
    assert not any(ID in line for line in lines)
    assert all(line.count("\n") == 1 for line in lines)
    return lines


def test_gunicorn_s_log_has_fingerprints_instead_of_ids(tmp_path: Path) -> None:
    access, error = log_lines(tmp_path)
    assert f'"PATCH /files/{fingerprint(ID)} HTTP/1.1" 204 0' in access
    assert f"[ERROR] Error handling request PATCH /files/{fingerprint(ID)}" in error


def test_gunicorn_s_log_is_json_if_the_log_of_uploads_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUS_LOG_FORMAT", "json")
    access, error = map(json.loads, log_lines(tmp_path))
    assert access.pop("time")
    assert access == {
        "level": "INFO",
        "event": "request",
        "remote": "192.0.2.1",
        "method": "PATCH",
        "path": f"/files/{fingerprint(ID)}",
        "status": 204,
        "bytes": 0,
        "seconds": 0.25,
        "request": "7f3a",
    }
    assert (error["level"], error["message"].split()[0]) == ("ERROR", "Error")
