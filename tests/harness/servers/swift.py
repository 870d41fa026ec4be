"""OpenStack Swift with its S3 API from the wheel `swift`: four servers, one disk, one replica.

Its code base shares nothing with the other services, and it differs from AWS in useful ways:
ListParts still answers after a multipart upload was completed, writes with If-Match are refused
with 501, and a metadata value may have 256 bytes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from demo.identities import Credentials
from demo.ports import HOST, free_ports
from demo.process import ChildProcess, SetupError
from tests.harness.servers.s3_service import S3Service, find_program, wait_until_writable

RINGS = ("account", "container", "object")
SERVERS = ("proxy", *RINGS)

# Runs in a process of its own, because importing Swift patches the interpreter.
_MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for word in sys.argv[2:]:
    name, port = word.split("=")
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port),
                     "device": "disk", "weight": 1.0})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""

_COMMON = """\
[DEFAULT]
bind_ip = {host}
bind_port = {port}
swift_dir = {directory}
devices = {directory}
mount_check = false
workers = 0
log_level = WARNING
"""

_STORAGE = """
[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
"""

# The order matters. There is no cache, because concurrent runs would share a memcached.
_PROXY = """
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats bulk s3api tempauth copy slo dlo \
versioned_writes symlink proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin

[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000

[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
"""

_PLAIN_FILTERS = (
    "bulk",
    "catch_errors",
    "copy",
    "dlo",
    "gatekeeper",
    "listing_formats",
    "symlink",
    "versioned_writes",
)


@contextlib.contextmanager
def running_swift(directory: Path) -> Iterator[S3Service]:
    """Run the four servers until the block ends; their data is in `directory`.

    Raises:
        SetupError: the wheel is not installed, the file system has no extended attributes, or a
            server did not start.
    """
    programs = {name: find_program(f"swift-{name}-server", package="swift") for name in SERVERS}
    _require_attributes(directory)
    ports = free_ports(dict.fromkeys(SERVERS, ()))
    service = S3Service(
        name="OpenStack Swift",
        version=importlib.metadata.version("swift"),
        endpoint=f"http://{HOST}:{ports['proxy']}",
        credentials=Credentials("test:tester", Credentials.new("").secret_key),
    )
    _configure(directory, ports, service)
    with contextlib.ExitStack() as started:
        servers = [_start(programs[name], name, directory) for name in SERVERS]
        for server in servers:
            started.callback(server.stop, grace=0)
        wait_until_writable(service, lambda: _first_ended(servers))
        yield service


def _first_ended(servers: list[ChildProcess]) -> ChildProcess | None:
    return next((server for server in servers if not server.running()), None)


def _require_attributes(directory: Path) -> None:
    """Raise a SetupError if the file system of a directory has no extended attributes."""
    probe = directory / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift.probe", b"1")
    except OSError as error:
        raise SetupError(
            f"Swift needs a file system with extended attributes, and {directory} has none: {error}"
        ) from error
    probe.unlink()


def _configure(directory: Path, ports: dict[str, int], service: S3Service) -> None:
    """Write a configuration file for each server, and make the rings that contain their ports."""
    (directory / "disk").mkdir()
    (directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    for name in SERVERS:
        text = _COMMON.format(host=HOST, port=ports[name], directory=directory)
        if name == "proxy":
            text += _PROXY.format(secret=service.credentials.secret_key, region=service.region)
            text += "".join(
                f"\n[filter:{name}]\nuse = egg:swift#{name}\n" for name in _PLAIN_FILTERS
            )
        else:
            text += _STORAGE.format(name=name)
        (directory / f"{name}.conf").write_text(text)
    words = [f"{name}={ports[name]}" for name in RINGS]
    made = subprocess.run(
        [sys.executable, "-c", _MAKE_RINGS, str(directory), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode:
        raise SetupError(f"Swift's rings could not be made:\n{made.stdout}")


def _start(program: str, name: str, directory: Path) -> ChildProcess:
    command = [program, str(directory / f"{name}.conf"), "-v"]
    environ = {key: text for key, text in os.environ.items() if not key.startswith("AWS_")}
    # Otherwise deprecation warnings fill the logs.
    environ["PYTHONWARNINGS"] = "ignore"
    return ChildProcess(command, environ=environ, log=directory / f"{name}.log")
