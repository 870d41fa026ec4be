"""Run the code and commands of the README as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from demo.seaweedfs import SeaweedFS, start_seaweedfs
from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.gunicorn import ROOT, STOP_SECONDS, Gunicorn
from tus_wsgi.domain.model import MIB
from tus_wsgi.stores.s3.client import make_client

pytestmark = pytest.mark.live

FILE = some_bytes(6 * MIB)

_, _, AFTER_HEADING = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## In an app\n")
SECTION = AFTER_HEADING.partition("\n## ")[0]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)```", SECTION, re.DOTALL | re.MULTILINE)
(APP,) = [text for kind, text in BLOCKS if kind == "python"]
(COMMAND,) = [text for _, text in BLOCKS if "app:app" in text]
VARIABLES = dict(
    word.split("=", 1) for word in shlex.split(COMMAND) if re.match(r"[A-Z][A-Z0-9_]+=", word)
)
"""The variables that the command sets for gunicorn."""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3 server with the bucket that the README names."""
    directory = tmp_path_factory.mktemp("s3")
    with start_seaweedfs(directory, bucket=VARIABLES["TUS_S3_BUCKET"]) as server:
        yield server


@pytest.fixture
def environ(bucket: SeaweedFS, tmp_path: Path) -> Mapping[str, str]:
    """The environment without the variables that the command sets: credentials and endpoint."""
    (tmp_path / "app.py").write_text(APP)
    inherited = {k: v for k, v in bucket.environ().items() if k not in VARIABLES}
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    return {
        **inherited,
        "PATH": path,
        "HOME": str(tmp_path),
        "TUS_LOCK_DIR": str(tmp_path / "locks"),
    }


def start_gunicorn(environ: Mapping[str, str], directory: Path, name: str) -> Gunicorn:
    # With `exec env`, gunicorn replaces the shell and is the started process itself.
    command = ["env", f"--chdir={directory}", "bash", "-c", f"exec env {COMMAND}"]
    return Gunicorn(environ, directory=directory / name, command=command)


def test_boto3_uses_the_region_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    (region,) = [value for name, value in VARIABLES.items() if "REGION" in name]
    assert make_client(endpoint=None, parallel_parts=1).meta.region_name == region


def test_the_app_serves_uploads_and_its_hook_is_called(
    bucket: SeaweedFS, environ: Mapping[str, str], tmp_path: Path
) -> None:
    with start_gunicorn(environ, tmp_path, "first") as server:
        server.wait_for_workers(4)
        tus = TusClient(server.port)
        path = tus.create(len(FILE), {"Upload-Metadata": "filename YS50eHQ="})
        tus.append(path, 0, FILE)
        assert tus.request("GET", path).body == FILE
        assert tus.request("GET", "/").status == 404
        server.signal(signal.SIGTERM)
        assert server.wait_for_exit(STOP_SECONDS) == 0
        assert server.logged_errors() == []
    key = path.rpartition("/")[2]
    assert f"a.txt {len(FILE)} {key}" in server.read_log()
    stored = bucket.client().get_object(Bucket=bucket.bucket, Key=key)
    assert stored["Body"].read() == FILE


def test_a_restart_loses_no_bytes(environ: Mapping[str, str], tmp_path: Path) -> None:
    """Users need no configuration of their own."""
    with start_gunicorn(environ, tmp_path, "first") as server:
        path = TusClient(server.port).create(len(FILE))
        with Connection(server.port) as connection:
            connection.send_head(
                "PATCH", path, {**patch_fields(0), "Content-Length": str(len(FILE))}
            )
            connection.send(FILE[: 2 * MIB])
            connection.wait_until_consumed()
            server.signal(signal.SIGTERM)
            assert server.wait_for_exit(STOP_SECONDS) == 0
        assert server.logged_errors() == []
    with start_gunicorn(environ, tmp_path, "second") as server:
        tus = TusClient(server.port)
        assert tus.offset(path) == 2 * MIB
        tus.append(path, 2 * MIB, FILE[2 * MIB :])
        assert tus.request("GET", path).body == FILE
