"""Translate the flags of tusd to the settings of this server. No I/O.

The table names every flag of tusd 2.10; docs/moving-from-tusd.md contains it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tus_wsgi.settings import Settings, SettingsError


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of tusd.

    Attributes:
        name: the name, without hyphens.
        variable: the setting that has the value of the flag; empty if no setting has it.
        remark: what is different here; empty if nothing is.
        is_switch: whether the flag needs no value.
        value: the value of the setting, if it is not that of the flag.
        values: values of the setting for some values of the flag.
    """

    name: str
    variable: str = ""
    remark: str = ""
    is_switch: bool = False
    value: str = ""
    values: dict[str, str] = field(default_factory=dict)


def _same(*names: str, is_switch: bool = False) -> tuple[Flag, ...]:
    return tuple(
        Flag(name, "TUS_" + name.upper().replace("-", "_"), is_switch=is_switch) for name in names
    )


def _without(remark: str, *names: str, is_switch: bool = False) -> tuple[Flag, ...]:
    return tuple(Flag(name, remark=remark, is_switch=is_switch) for name in names)


_BIND = "set gunicorn's --bind, such as 0.0.0.0:8080 or unix:/run/tus/tus.sock"
_TLS = "let the proxy speak TLS, or set gunicorn's --certfile, --keyfile and ssl_context"
_CALLABLE = "write a Python function, see docs/hooks.md"
_STORE = "uploads are stored in S3 or a compatible service only"

FLAGS: tuple[Flag, ...] = (
    *_same("base-path"),
    Flag(
        "behind-proxy",
        is_switch=True,
        remark="set TUS_PUBLIC_URL, or gunicorn's forwarded_allow_ips for the scheme",
    ),
    *_without("let the proxy in front speak HTTP/2", "enable-h2c", is_switch=True),
    *_without(_BIND, "host", "port", "unix-sock"),
    *_without(_TLS, "tls-certificate", "tls-key", "tls-mode"),
    *_same("disable-concatenation", "disable-download", "disable-termination", is_switch=True),
    Flag(
        "enable-experimental-protocol",
        is_switch=True,
        remark="always on, in the versions 3, 5, 6, 8 and 9; TUS_PROTOCOLS=tus turns it off",
    ),
    *_same("max-size"),
    *_same("cors-allow-credentials", is_switch=True),
    *_without(
        "not needed: pages of allowed origins may send all fields",
        "cors-allow-headers",
    ),
    *_without("not needed: the methods of both protocols are allowed", "cors-allow-methods"),
    Flag(
        "cors-allow-origin",
        "TUS_CORS_ALLOW_ORIGIN",
        "a list of origins and regexes; a regex has to match the whole origin",
        values={".*": "*"},
    ),
    *_same("cors-expose-headers", "cors-max-age"),
    *_same("disable-cors", is_switch=True),
    *_without(_STORE, "upload-dir", "dir-perms", "file-perms"),
    *_without(
        "not needed: requests pass locks on within tenths of a second",
        *("filelock-acquirer-poll-interval", "filelock-holder-poll-interval"),
    ),
    *_same("s3-bucket"),
    Flag(
        "s3-concurrent-part-uploads",
        "TUS_S3_CONCURRENT_PART_UPLOADS",
        "limits each worker process instead of the whole server",
    ),
    Flag(
        "s3-disable-content-hashes",
        "TUS_S3_CHECKSUM",
        "rarely needed: the default costs a CRC-32",
        is_switch=True,
        value="off",
    ),
    Flag("s3-disable-ssl", is_switch=True, remark="write http:// in TUS_S3_ENDPOINT"),
    *_same("s3-endpoint"),
    Flag(
        "s3-log-api-calls", is_switch=True, remark="set the level of the logger botocore to DEBUG"
    ),
    *_without(
        "set TUS_MEMORY_BUDGET, which limits the bytes of a process",
        "s3-max-buffered-parts",
    ),
    *_same("s3-min-part-size", "s3-object-prefix"),
    Flag("s3-part-size", "TUS_S3_PART_SIZE", "the default is 16MiB instead of 50MiB"),
    Flag(
        "s3-transfer-acceleration",
        is_switch=True,
        remark="in boto3's configuration file: s3 = use_accelerate_endpoint = true",
    ),
    *_without(_STORE, "gcs-bucket", "gcs-endpoint", "gcs-object-prefix"),
    *_without(_STORE, "azure-blob-access-tier", "azure-container-access-type", "azure-endpoint"),
    *_without(_STORE, "azure-object-prefix", "azure-storage"),
    *_same("hooks-enabled-events", "progress-hooks-interval"),
    *_without(_CALLABLE, "hooks-dir"),
    *_same("hooks-http", "hooks-http-backoff", "hooks-http-forward-headers"),
    *_same("hooks-http-retry", "hooks-http-size-limit"),
    *_without(
        "not possible: set SSL_CERT_FILE, so that OpenSSL trusts the certificate",
        "hooks-http-skip-verify",
        is_switch=True,
    ),
    Flag(
        "hooks-http-timeout",
        "TUS_HOOKS_HTTP_TIMEOUT",
        "limits each attempt instead of all attempts together",
    ),
    *_without(_CALLABLE, "hooks-grpc", "hooks-grpc-backoff", "hooks-grpc-client-tls-certificate"),
    *_without(_CALLABLE, "hooks-grpc-client-tls-key", "hooks-grpc-forward-headers"),
    *_without(_CALLABLE, "hooks-grpc-retry", "hooks-grpc-server-tls-certificate", "hooks-plugin"),
    *_without(_CALLABLE, "hooks-grpc-secure", is_switch=True),
    *_without(
        "set TUS_METRICS_PATH; the metrics are off by default", "expose-metrics", is_switch=True
    ),
    *_same("metrics-path"),
    *_without("use py-spy", "expose-pprof", is_switch=True),
    *_without("use py-spy", "pprof-block-profile-rate", "pprof-mutex-profile-rate", "pprof-path"),
    *_same("log-format"),
    *_without(
        "not needed: `tus-wsgi settings` shows the settings", "show-greeting", is_switch=True
    ),
    *_without(
        "not needed: `tus-wsgi settings` shows the settings", "show-startup-logs", is_switch=True
    ),
    *_without("set the level of the logger tus_wsgi", "verbose", is_switch=True),
    *_without("run `tus-wsgi --version`", "version", is_switch=True),
    Flag("acquire-lock-timeout", "TUS_ACQUIRE_LOCK_TIMEOUT", "the default is 5s instead of 20s"),
    *_same("network-timeout"),
    *_without("not needed: received bytes are always stored", "request-completion-timeout"),
    *_without("set gunicorn's graceful_timeout", "shutdown-timeout"),
)
"""Every flag of tusd, in its order."""

_BY_NAME = {flag.name: flag for flag in FLAGS}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}


def translate(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a file of environment variables, with a comment for each remark.

    Args:
        arguments: the flags as tusd accepts them: `-name value`, `-name=value`, or with two
            hyphens.

    Raises:
        ValueError: tusd would not accept the arguments.
    """
    environ: dict[str, str] = {}
    for flag, given in _parse(arguments):
        is_off = flag.is_switch and given in _FALSE
        if flag.variable and not is_off:
            environ[flag.variable] = _setting_value(flag, given)
            yield f"{flag.variable}={shlex.quote(environ[flag.variable])}"
        if flag.remark and not is_off:
            yield f"# -{flag.name}: {flag.remark}"
    try:
        Settings.from_environ(environ)
    except SettingsError as error:
        yield from (f"# {mistake}" for mistake in error.mistakes)


def _setting_value(flag: Flag, given: str) -> str:
    """Return the value of the setting for a flag that is given with this value."""
    if flag.is_switch:
        return flag.value or "true"
    return flag.values.get(given) or flag.value or given


def _parse(arguments: Sequence[str]) -> Iterator[tuple[Flag, str]]:
    """Yield the flags and their values; `true` for a switch without a value."""
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.lstrip("-").partition("=")
        flag = _BY_NAME.get(name)
        if flag is None or not argument.startswith("-"):
            raise ValueError(f"tusd has no flag {argument.partition('=')[0]!r}")
        if equals:
            yield flag, value
        elif flag.is_switch:
            yield flag, "true"
        elif rest:
            yield flag, rest.pop(0)
        else:
            raise ValueError(f"the flag -{name} needs a value")


def markdown() -> str:
    """Return the table of all flags for the documentation."""
    lines = ["| tusd | here | remark |", "|---|---|---|"]
    for flag in FLAGS:
        setting = f"{flag.variable}={flag.value}" if flag.value else flag.variable
        here = f"`{setting}`" if setting else "-"
        lines.append(f"| `-{flag.name}` | {here} | {flag.remark or 'the same'} |")
    return "\n".join(lines) + "\n"
