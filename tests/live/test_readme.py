"""What the README prints, run as it is printed."""

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

_, _, REST = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## In an app\n")
SECTION = REST.partition("\n## ")[0]
BLOCKS = [block.partition("\n")[::2] for block in SECTION.split("```")[1::2]]
(APP, CONFIGURATION) = [text for kind, text in BLOCKS if kind == "python"]
(COMMAND,) = [text for _, text in BLOCKS if "app:app" in text]
VARIABLES = dict(
    word.split("=", 1) for word in shlex.split(COMMAND) if re.match(r"[A-Z][A-Z0-9_]+=", word)
)
"""Those that the command sets for gunicorn."""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server with the bucket that the README names."""
    directory = tmp_path_factory.mktemp("s3")
    with start_seaweedfs(directory, bucket=VARIABLES["TUS_S3_BUCKET"]) as server:
        yield server


@pytest.fixture
def environ(bucket: SeaweedFS, tmp_path: Path) -> Mapping[str, str]:
    """What a machine has before anybody types the command: who it is, and where its S3 is."""
    (tmp_path / "app.py").write_text(APP)
    known = {k: v for k, v in bucket.environ().items() if k not in VARIABLES}
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    return {**known, "PATH": path, "HOME": str(tmp_path), "TUS_LOCK_DIR": str(tmp_path / "locks")}


def started(environ: Mapping[str, str], directory: Path, name: str) -> Gunicorn:
    # "exec env", so that gunicorn is the process that is started and not the shell's child.
    command = ["env", f"--chdir={directory}", "bash", "-c", f"exec env {COMMAND}"]
    return Gunicorn(environ, directory=directory / name, command=command)


def test_the_region_of_the_command_reaches_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    (region,) = [value for name, value in VARIABLES.items() if "REGION" in name]
    assert make_client(endpoint=None, parallel_parts=1).meta.region_name == region


def test_the_app_takes_uploads_and_is_told_of_them(
    bucket: SeaweedFS, environ: Mapping[str, str], tmp_path: Path
) -> None:
    with started(environ, tmp_path, "first") as server:
        assert len(server.workers()) == 4
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


def test_the_configuration_warns_of_nothing_and_loses_nothing_at_a_restart(
    environ: Mapping[str, str], tmp_path: Path
) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    with started(environ, tmp_path, "first") as server:
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
    with started(environ, tmp_path, "second") as server:
        tus = TusClient(server.port)
        assert tus.offset(path) == 2 * MIB
        tus.append(path, 2 * MIB, FILE[2 * MIB :])
        assert tus.request("GET", path).body == FILE
