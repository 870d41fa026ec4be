"""nginx in front of several servers: round robin without sticky sessions."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from demo.ports import HOST, free_ports
from demo.process import ChildProcess, SetupError

START_SECONDS = 30.0

_CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream uploads {{
{servers}
    }}
    server {{
        listen {host}:{port};
        # Forward bytes as they arrive, so that an interrupted upload has an offset.
        client_max_body_size 0;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        location / {{ proxy_pass http://uploads; }}
    }}
}}
"""


@contextlib.contextmanager
def running_nginx(directory: Path, servers: Sequence[int]) -> Iterator[int]:
    """Run nginx in front of servers until the block ends; yield its port."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is missing: Debian's package is nginx-light")
    port = free_ports({"nginx": ()})["nginx"]
    file = directory / "nginx.conf"
    file.write_text(
        _CONFIGURATION.format(
            # As root, nginx would change to a user that cannot write to the directory.
            user=f"user {getpass.getuser()};" if os.getuid() == 0 else "",
            directory=directory,
            servers="\n".join(f"        server {HOST}:{port} max_fails=0;" for port in servers),
            host=HOST,
            port=port,
        )
    )
    command: list[str | Path] = [
        program,
        "-p",
        directory,
        "-e",
        directory / "nginx-error.log",
        "-c",
        file,
    ]
    process = ChildProcess(command, environ=os.environ, log=directory / "nginx.log")
    try:
        _wait_until_listening(port, process)
        yield port
    finally:
        process.stop(grace=0)


def _wait_until_listening(port: int, process: ChildProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except OSError:
            if not process.running() or time.monotonic() > deadline:
                raise SetupError(f"nginx did not start:\n{process.log_tail()}") from None
            time.sleep(0.05)
        else:
            return
