"""`deploy/systemd`: the units, and a restart of the server with its socket."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.ports import HOST
from demo.process import ChildProcess
from demo.seaweedfs import SeaweedFS
from tests.harness import activate, read_only
from tests.harness.clients.http import Connection
from tests.harness.clients.tus import TusClient, patch_fields
from tests.harness.data import some_bytes
from tests.harness.servers.proxy_program import UPSTREAM
from tests.harness.timing import wait_until
from tus_wsgi import gunicorn as configuration
from tus_wsgi.settings.settings import Settings
from tus_wsgi.settings.table import table

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"

FILE = some_bytes(200_000)

START_SECONDS = 60

Unit = Mapping[str, list[str]]


def read_unit(name: str) -> Unit:
    """Return the values of each key; no key is in two sections."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def one(unit: Unit, key: str) -> str:
    (value,) = unit[key]
    return value


SERVER = read_unit("tus.service")
SWEEP = read_unit("tus-sweep.service")


def environment_file() -> dict[str, str]:
    lines = [line for line in (UNITS / "tus.env").read_text().splitlines() if line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """The programs are replaced, because systemd checks that they exist."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is missing: Debian's package is systemd")
    names = []
    for path in UNITS.glob("tus*.*"):
        if path.suffix != ".env":
            text = re.sub(r"/opt/tus/bin/\S+", "/bin/true", path.read_text())
            (tmp_path / path.name).write_text(text)
            names.append(str(tmp_path / path.name))
    assert len(names) == 4
    ran = subprocess.run(
        [program, "verify", "--man=no", *names], check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_environment_file_contains_valid_settings() -> None:
    environ = environment_file()
    settings = Settings.from_environ(environ)
    assert settings.expires > 0
    assert {name for name in environ if name.startswith("TUS_")} <= {
        row.variable for row in table()
    }


def test_systemd_waits_longer_than_gunicorn_for_running_requests() -> None:
    assert float(one(SERVER, "TimeoutStopSec")) > configuration.graceful_timeout + 5
    assert one(SERVER, "KillMode") == "mixed"


def test_the_sweep_uses_the_locks_of_the_server() -> None:
    """The directory is private to the user, and is kept when one of the units stops."""
    for key in ("User", "Group", "Environment", "RuntimeDirectory", "RuntimeDirectoryPreserve"):
        assert SWEEP[key] == SERVER[key], key
    assert one(SERVER, "Environment") == f"TUS_LOCK_DIR=/run/{one(SERVER, 'RuntimeDirectory')}"
    assert one(SERVER, "RuntimeDirectoryPreserve") == "yes"


def test_the_sweep_is_as_restricted_as_the_server() -> None:
    def restrictions(unit: Unit) -> dict[str, list[str]]:
        prefixes = ("Private", "Protect", "Restrict", "SystemCall", "Capability", "NoNew", "UMask")
        return {key: value for key, value in unit.items() if key.startswith(prefixes)}

    assert len(restrictions(SERVER)) > 15
    assert restrictions(SWEEP) == restrictions(SERVER)


def test_proxies_connect_to_the_port_of_the_socket() -> None:
    assert one(read_unit("tus.socket"), "ListenStream") == UPSTREAM


class System:
    """What systemd does for the server: it opens the port, starts it, and waits for its message."""

    def __init__(self, s3: SeaweedFS, directory: Path) -> None:
        self.listener = socket.create_server((HOST, 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self._directory = directory
        (directory / "run").mkdir(mode=0o700)
        (directory / "tmp").mkdir(mode=0o700)
        self._environ = {
            **{name: value for name, value in environment_file().items() if value},
            **s3.environ(),
            "TUS_S3_OBJECT_PREFIX": f"{directory.name}/",
            "TUS_S3_METADATA_OBJECT_PREFIX": "",
            "TUS_LOCK_DIR": str(directory / "run"),
            # PrivateTmp makes a /tmp of its own.
            "TMPDIR": str(directory / "tmp"),
            "WEB_CONCURRENCY": "1",
            "NOTIFY_SOCKET": str(directory / "notify"),
        }

    @contextmanager
    def started(self) -> Iterator[ChildProcess]:
        """Start the server as its unit says, and wait until it says that it is ready."""
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = self._directory / "notify"
        path.unlink(missing_ok=True)
        program, *arguments = shlex.split(one(SERVER, "ExecStart").replace("()", r"\(\)"))
        program = str(Path(sysconfig.get_path("scripts"), Path(program).name))
        command = [
            *(sys.executable, read_only.__file__, *self._writable(), "--"),
            *(sys.executable, activate.__file__, str(self.listener.fileno())),
            *(program, *arguments),
        ]
        with notify:
            notify.bind(str(path))
            notify.settimeout(START_SECONDS)
            log = self._directory / "log"
            fds = [self.listener.fileno()]
            process = ChildProcess(command, environ=self._environ, log=log, pass_fds=fds)
            try:
                assert b"READY=1" in notify.recv(1024), process.log_tail()
                yield process
            finally:
                process.stop(grace=0)

    def _writable(self) -> list[str]:
        return [str(self._directory / name) for name in ("run", "tmp")]


@pytest.mark.live
def test_a_restart_refuses_no_connection_and_loses_no_byte(s3: SeaweedFS, tmp_path: Path) -> None:
    """The new server answers a request that arrived while no server ran."""
    system = System(s3, tmp_path)
    tus = TusClient(system.port)
    with system.listener:
        with system.started() as first:
            path = tus.create(len(FILE))
            with Connection(system.port) as interrupted:
                fields = patch_fields(0, Content_Length=str(len(FILE)))
                interrupted.send_head("PATCH", path, fields)
                interrupted.send(FILE[:150_000])
                interrupted.wait_until_consumed()
                os.kill(first.pid, signal.SIGTERM)
                assert interrupted.read_response().status >= 400
            wait_until(lambda: not first.running(), seconds=configuration.graceful_timeout)
            assert first.exit_code() == 0, first.log_tail()
        with Connection(system.port, timeout=START_SECONDS) as waiting:
            waiting.request("HEAD", path, {"Tus-Resumable": "1.0.0"})
            with system.started():
                assert waiting.read_response()["Upload-Offset"] == "150000"
                tus.append(path, 150_000, FILE[150_000:])
                assert tus.request("GET", path).body == FILE
