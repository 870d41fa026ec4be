"""Define the settings, and read and validate them from environment variables.

The variable `TUS_X` sets the field `x` of `Settings`. A setting that tusd has too is named after
tusd's flag. The table in the README and the output of `tus-wsgi settings` are generated from the
fields.

All mistakes are reported at once. An unknown `TUS_` variable is a mistake, because a server must
not ignore a misspelt setting. boto3 reads the variables of AWS (`AWS_DEFAULT_REGION`,
`AWS_ACCESS_KEY_ID` and so on) itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from botocore.utils import is_valid_endpoint_url
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ValidationInfo

from tus_wsgi.domain.addressing import AddressingStyle
from tus_wsgi.domain.model import GIB, KIB, MIB, TIB
from tus_wsgi.domain.parts import PartLimits
from tus_wsgi.hooks.signature import parse_secret
from tus_wsgi.hooks.tusd_json import DEFAULT_EVENTS
from tus_wsgi.observers.log import LogFormat
from tus_wsgi.protocol.cors import parse_allow_origin, parse_expose_headers
from tus_wsgi.protocol.http import MethodOverride
from tus_wsgi.settings.hook_values import (
    build_hook_url,
    check_events,
    check_forward_headers,
    is_encrypted_or_local,
    parse_hook_path,
    parse_hook_url,
)
from tus_wsgi.settings.values import (
    build_duration,
    build_size,
    check_tags,
    parse_base_path,
    parse_duration,
    parse_field_name,
    parse_page_path,
    parse_size,
    parse_url,
)
from tus_wsgi.stores.s3.client import ChecksumMode
from tus_wsgi.stores.s3.key_template import DEFAULT_TEMPLATE, check_template

PREFIX = "TUS_"
"""The prefix of all variables."""

_ACCESS_POINT = re.compile(r"arn:[a-z0-9-]+:s3:[a-z0-9-]*:[0-9]*:accesspoint[/:][A-Za-z0-9.-]+")
"""The ARN of an access point, which boto3 takes as the name of a bucket.
See https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html."""


class SettingsError(ValueError):
    """The environment is invalid. `mistakes` contains a sentence for each thing to correct."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        super().__init__("\n  ".join([f"{count} in the settings:", *self.mistakes]))


class LockerKind(StrEnum):
    """Where locks are stored."""

    MEMORY = "memory"
    """In the memory of the process: for a single worker."""
    FILE = "file"
    """In files locked by the kernel: for any number of workers on one host."""
    DYNAMODB = "dynamodb"
    """In a DynamoDB table: for any number of hosts."""
    S3 = "s3"
    """In the bucket, if the service supports conditional writes: for any number of hosts."""


class Hosts(StrEnum):
    """How many hosts serve the same uploads."""

    ONE = "one"
    """All workers run on one host."""
    MANY = "many"
    """Several hosts serve the uploads, and a client may reach any of them."""


class Encryption(StrEnum):
    """The server-side encryption of objects, as S3 names it."""

    S3 = "AES256"
    """With keys that S3 manages (SSE-S3)."""
    KMS = "aws:kms"
    """With a key of AWS KMS (SSE-KMS)."""
    KMS_DSSE = "aws:kms:dsse"
    """With two layers of encryption by KMS (DSSE-KMS)."""


class Protocols(StrEnum):
    """The protocols that the server speaks."""

    TUS = "tus"
    """tus 1.0.0."""
    IETF = "ietf"
    """The IETF's resumable uploads, in each supported version."""
    BOTH = "both"
    """Both. Each request selects one by its fields."""


def _check_origins(text: str) -> str:
    parse_allow_origin(text)
    return text


def _check_expose_headers(text: str) -> str:
    parse_expose_headers(text)
    return text


def _parser(parse: Callable[[str], object]) -> BeforeValidator:
    """Return a validator that parses text. It keeps other values, which are not from a variable."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


@dataclass(frozen=True, slots=True)
class Formatter:
    """Formats the value of a field in the form that the variable accepts."""

    build: Callable[[Any], str]


_Bytes = Annotated[int, _parser(parse_size), Formatter(build_size)]
_Seconds = Annotated[float, _parser(parse_duration), Formatter(build_duration)]
_Url = Annotated[str, _parser(parse_url)]


# Returns `Any`, like `Field`, so that the result can be assigned to fields of every type.
def _setting(help: str, *, default: object, unset: str = "empty", **limits: float) -> Any:  # noqa: ANN401
    """Define a field: its description, its default, and the table's text for an unset value."""
    extra: dict[str, Any] = {"unset": unset}
    # `limits` are `gt`, `ge` and `le` of Field, whose overloads do not accept a mapping.
    field: Any = Field
    return field(default=default, description=help, json_schema_extra=extra, **limits)


@validated(frozen=True, slots=True, kw_only=True, config={"validate_default": True})
class Settings:
    """The settings of a server. Sizes are in bytes, durations in seconds.

    The order of the fields matters: a field is validated against the fields above it.
    """

    base_path: Annotated[str, _parser(parse_base_path)] = _setting(
        "URL path of the uploads; requests for all other paths go to the application",
        default="/files",
    )
    public_url: _Url | None = _setting(
        "URL of `TUS_BASE_PATH` as clients see it, if a proxy changes it",
        default=None,
        unset="from the request",
    )
    s3_bucket: str = Field(description="bucket of the uploads")
    s3_object_prefix: str = _setting("prefix of the keys of uploaded objects", default="")
    s3_object_key: Annotated[str, _parser(check_template)] = _setting(
        "template of the key after the prefix: text with `{id}` (required), `{filename}`,"
        " `{owner}`, `{year}`, `{month}`, `{day}`",
        default=DEFAULT_TEMPLATE,
    )
    s3_metadata_object_prefix: str = _setting(
        "prefix of the keys of `.info` and `.part` objects",
        default="",
        unset="the object prefix",
    )
    s3_endpoint: _Url | None = _setting(
        "URL of the S3 service",
        default=None,
        unset="boto3's",
    )
    s3_addressing_style: AddressingStyle | None = _setting(
        "where requests name the bucket: `path` or `virtual` (in the host)",
        default=None,
        unset="boto3's configuration, or `path` if `TUS_S3_ENDPOINT` is set",
    )
    s3_min_part_size: _Bytes = _setting(
        "smallest part that the service accepts, except the last part", default=5 * MIB, gt=0
    )
    s3_part_size: _Bytes = _setting("preferred size of a part", default=16 * MIB, gt=0)
    s3_max_part_size: _Bytes = _setting(
        "largest part that the service accepts", default=5 * GIB, gt=0
    )
    s3_max_multipart_parts: int = _setting(
        "maximum number of parts of an object", default=10_000, gt=0, le=10_000
    )
    s3_max_object_size: _Bytes = _setting(
        "largest object that the service accepts", default=5 * TIB, gt=0
    )
    s3_concurrent_part_uploads: int = _setting(
        "parts that a process uploads at the same time", default=10, gt=0
    )
    s3_checksum: ChecksumMode = _setting(
        "checksums that S3 verifies: `auto` (CRC-32), `required` (plus SHA-256), `off` (no CRC-32)",
        default=ChecksumMode.AUTO,
    )
    s3_sse: Encryption | None = _setting(
        "server-side encryption of all objects: `AES256`, `aws:kms`, `aws:kms:dsse`",
        default=None,
        unset="the bucket's",
    )
    s3_sse_kms_key_id: str = _setting(
        "KMS key of the encryption", default="", unset="AWS's own key"
    )
    s3_bucket_key: bool | None = _setting(
        "whether to use an S3 bucket key for KMS", default=None, unset="the bucket's"
    )
    s3_storage_class: str = _setting(
        "storage class of uploaded objects", default="", unset="the bucket's"
    )
    s3_acl: str = _setting("canned ACL of uploaded objects", default="", unset="the bucket's")
    s3_cache_control: str = _setting("`Cache-Control` of uploaded objects", default="")
    s3_tags: Annotated[str, _parser(check_tags)] = _setting(
        "tags of uploaded objects, such as `team=media,kind=upload`", default=""
    )
    memory_budget: _Bytes = _setting(
        "memory for parts in transfer, per process; parts beyond it are buffered on disk",
        default=256 * MIB,
        ge=0,
    )
    disk_budget: _Bytes = _setting(
        "disk space for parts that exceed the memory, per process; beyond it requests get a 503;"
        " 0 for no limit",
        default=16 * GIB,
        ge=0,
    )
    spool_dir: Path | None = _setting(
        "directory for parts buffered on disk", default=None, unset="system temporary directory"
    )
    locker: LockerKind = _setting(
        "lock storage: `file` (one host), `dynamodb` or `s3` (many hosts), `memory` (one process)",
        default=LockerKind.FILE,
    )
    lock_dir: Path | None = _setting(
        "directory of the locks of `file`; the same for all workers",
        default=None,
        unset="system temporary directory, per user",
    )
    lock_table: str = _setting(
        "table of the locks of `dynamodb`; see `tus-wsgi create-lock-table`",
        default="",
        unset="required for `dynamodb`",
    )
    s3_lock_object_prefix: str = _setting(
        "prefix of the keys of the locks of `s3`, which no other objects have; the same for"
        " all hosts",
        default="",
        unset="`locks/` after the prefix of `.info` objects",
    )
    hosts: Hosts = _setting(
        "`many` if several hosts serve the same uploads; then the choice of the locker is checked",
        default=Hosts.ONE,
    )
    protocols: Protocols = _setting(
        "protocols of the uploads: `tus`, `ietf` or `both`", default=Protocols.BOTH
    )
    method_override: MethodOverride = _setting(
        "methods that `X-HTTP-Method-Override` may replace: `unsafe` (a safe method only by another"
        " safe one), `post`, `any`, `off`",
        default=MethodOverride.UNSAFE,
    )
    max_size: _Bytes = _setting("largest upload; 0 for the maximum of the service", default=0, ge=0)
    expires: _Seconds = _setting(
        "lifetime of an unfinished upload, extended by each request; 0 for no limit",
        default=0.0,
        ge=0,
    )
    network_timeout: _Seconds = _setting(
        "idle timeout of a request or a download; received bytes are kept",
        default=60.0,
        gt=0,
    )
    min_rate: _Bytes = _setting(
        "lowest rate of a client in bytes per second, measured over a minute; slower requests end,"
        " and received bytes are kept; 0 for no limit",
        default=500,
        ge=0,
    )
    acquire_lock_timeout: _Seconds = _setting(
        "time to wait for the lock of an upload before the response is 423", default=5.0, ge=0
    )
    disable_creation: bool = _setting(
        "reject creations by clients; only the application can create uploads", default=False
    )
    disable_defer_length: bool = _setting("reject creations without a length", default=False)
    progress_hooks_interval: _Seconds = _setting(
        "shortest time between two calls of `on_progress` in one request", default=1.0, ge=0
    )
    hooks_wsgi: Annotated[str, _parser(parse_hook_path)] = _setting(
        "path of the application's route that answers hooks in the format of tusd", default=""
    )
    hooks_http_insecure: bool = _setting(
        "whether `TUS_HOOKS_HTTP` may be plain HTTP to another host", default=False
    )
    hooks_http: Annotated[str | None, _parser(parse_hook_url), Formatter(build_hook_url)] = (
        _setting("URL of the endpoint that answers hooks in the format of tusd", default=None)
    )
    hooks_http_timeout: _Seconds = _setting(
        "timeout of each attempt to call `TUS_HOOKS_HTTP`", default=15.0, gt=0
    )
    hooks_http_retry: int = _setting(
        "attempts in total if `TUS_HOOKS_HTTP` fails with a network error or 5xx", default=3, gt=0
    )
    hooks_http_backoff: _Seconds = _setting(
        "time before the second attempt; doubled for each further attempt, with jitter",
        default=1.0,
        ge=0,
    )
    hooks_http_size_limit: _Bytes = _setting(
        "largest response of `TUS_HOOKS_HTTP`", default=5 * KIB, gt=0
    )
    hooks_http_forward_headers: Annotated[str, _parser(check_forward_headers)] = _setting(
        "comma-separated header fields of the client that requests to `TUS_HOOKS_HTTP` contain",
        default="",
    )
    hooks_http_secret: SecretStr | None = _setting(
        "secret that signs requests to `TUS_HOOKS_HTTP` (Standard Webhooks): `whsec_...`",
        default=None,
        unset="no signature",
    )
    hooks_enabled_events: Annotated[str, _parser(check_events)] = _setting(
        "comma-separated events that `TUS_HOOKS_WSGI` or `TUS_HOOKS_HTTP` gets",
        default=",".join(DEFAULT_EVENTS),
    )
    disable_download: bool = _setting("reject GET", default=False)
    download_redirect: _Seconds = _setting(
        "lifetime of the presigned S3 URL that GET redirects to; 0 for no redirect",
        default=0.0,
        ge=0,
        le=7 * 24 * 60 * 60,
    )
    disable_termination: bool = _setting(
        "reject DELETE, so that no request of a client removes an upload", default=False
    )
    disable_concatenation: bool = _setting("reject partial and final uploads", default=False)
    delete_partials: bool = _setting(
        "delete partial uploads after their concatenation", default=False
    )
    disable_cors: bool = _setting("send no CORS fields and handle no preflight", default=False)
    cors_allow_origin: Annotated[str, _parser(_check_origins)] = _setting(
        "comma-separated origins that may upload: `*`, origins, regexes (full match)",
        default="*",
    )
    cors_allow_credentials: bool = _setting(
        "let pages of other origins send cookies", default=False
    )
    cors_expose_headers: Annotated[str, _parser(_check_expose_headers)] = _setting(
        "comma-separated response fields that pages may read, besides those of the protocols; `*`"
        " for all",
        default="",
    )
    cors_max_age: _Seconds = _setting(
        "time for which browsers may cache a preflight", default=86400.0, ge=0
    )
    log_format: LogFormat = _setting(
        "log format of `tus_wsgi.gunicorn` and `create_app`: `text` or `json`",
        default=LogFormat.TEXT,
    )
    request_id_header: Annotated[str, _parser(parse_field_name)] = _setting(
        "request field that contains an id of the request for the log; set by the proxy, never by"
        " clients",
        default="",
        unset="made by the server",
    )
    metrics_path: Annotated[str, _parser(parse_page_path)] = _setting(
        "URL path of the metrics for Prometheus, such as `/metrics`", default="", unset="off"
    )
    metrics_token: SecretStr | None = _setting(
        "token that requests for metrics must contain: `Authorization: Bearer <token>`",
        default=None,
        unset="no token",
    )
    tracing: bool = _setting(
        "create OpenTelemetry spans, with the provider that the application sets up", default=False
    )
    health_path: Annotated[str, _parser(parse_page_path)] = _setting(
        "URL path of the health checks, such as `/health`, with `/live` and `/ready` below it",
        default="",
        unset="off",
    )

    @field_validator("hooks_http")
    @classmethod
    def _check_hooks_http(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return None
        if info.data.get("hooks_wsgi"):
            raise ValueError(f"{variable_of('hooks_wsgi')} is set too; use one of them")
        may_be_insecure = info.data.get("hooks_http_insecure")
        if not may_be_insecure and not is_encrypted_or_local(url):
            raise ValueError(
                "expected https, because documents contain ids of uploads;"
                f" if the network is safe, set {variable_of('hooks_http_insecure')}=true"
            )
        return url

    @field_validator("hooks_http_secret")
    @classmethod
    def _check_hooks_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            parse_secret(secret.get_secret_value())
        return secret

    @field_validator("s3_bucket")
    @classmethod
    def _check_bucket(cls, bucket: str) -> str:
        if not bucket or ("/" in bucket and not _ACCESS_POINT.fullmatch(bucket)):
            raise ValueError(f"expected the name of a bucket, got {bucket!r}")
        return bucket

    @field_validator("s3_endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not is_valid_endpoint_url(endpoint):
            raise ValueError(
                "boto3 refuses this host name: use one of letters, digits, hyphens and dots, such "
                "as an alias of the host"
            )
        return endpoint

    @field_validator("s3_sse_kms_key_id", "s3_bucket_key")
    @classmethod
    def _check_kms(cls, value: str | bool | None, info: ValidationInfo) -> str | bool | None:  # noqa: FBT001
        if value and info.data.get("s3_sse") not in (Encryption.KMS, Encryption.KMS_DSSE):
            raise ValueError(f"is for KMS, so set {variable_of('s3_sse')}=aws:kms as well")
        return value

    @field_validator("metrics_path", "health_path")
    @classmethod
    def _check_page_path(cls, path: str, info: ValidationInfo) -> str:
        base = info.data.get("base_path", "").rstrip("/")
        if path and base and f"{path}/".startswith(f"{base}/"):
            raise ValueError(f"expected a path outside of {variable_of('base_path')}, got {path!r}")
        if path and path == info.data.get("metrics_path"):
            raise ValueError(f"is the same as {variable_of('metrics_path')}, {path!r}")
        return path

    @field_validator("metrics_token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        text = "" if token is None else token.get_secret_value()
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("expected printable ASCII characters without spaces")
        return token

    @field_validator("s3_storage_class", "s3_acl", "s3_cache_control")
    @classmethod
    def _check_printable(cls, text: str) -> str:
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"expected printable ASCII characters, got {text!r}")
        return text

    @field_validator("s3_part_size", "s3_max_part_size")
    @classmethod
    def _check_order_of_sizes(cls, size: int, info: ValidationInfo) -> int:
        # Each size must not be less than the other one.
        smaller = {"s3_part_size": "s3_min_part_size", "s3_max_part_size": "s3_part_size"}
        other = smaller[info.field_name or ""]
        if size < info.data.get(other, 0):
            least = build_size(info.data[other])
            raise ValueError(f"is {build_size(size)}, less than {variable_of(other)} ({least})")
        return size

    @field_validator("disk_budget")
    @classmethod
    def _check_disk_budget(cls, size: int, info: ValidationInfo) -> int:
        part_size = info.data.get("s3_part_size", 0)
        if 0 < size < part_size:
            least = f"{variable_of('s3_part_size')} ({build_size(part_size)})"
            raise ValueError(f"is {build_size(size)}, less than a part: {least}")
        return size

    @field_validator("lock_table")
    @classmethod
    def _check_lock_table(cls, table: str, info: ValidationInfo) -> str:
        if info.data.get("locker") is LockerKind.DYNAMODB and not table:
            name = variable_of("locker")
            raise ValueError(f"required with {name}=dynamodb, but not set")
        return table

    @field_validator("hosts")
    @classmethod
    def _check_hosts(cls, hosts: Hosts, info: ValidationInfo) -> Hosts:
        if hosts is Hosts.MANY and info.data.get("locker") is LockerKind.MEMORY:
            name = variable_of("locker")
            raise ValueError(f"is many, but {name}=memory is for one process")
        return hosts

    @field_validator("cors_expose_headers")
    @classmethod
    def _check_exposed(cls, names: str, info: ValidationInfo) -> str:
        if "*" in parse_expose_headers(names) and info.data.get("cors_allow_credentials"):
            name = variable_of("cors_allow_credentials")
            raise ValueError(f"is *, which browsers ignore with {name}=true; list the fields")
        return names

    @field_validator("max_size")
    @classmethod
    def _check_max_size(cls, size: int, info: ValidationInfo) -> int:
        try:
            max_length = _limits(info.data).max_length
        except KeyError:
            return size  # a limit is invalid, and already reported
        if size > max_length:
            raise ValueError(
                f"is {build_size(size)}, but the service accepts at most {build_size(max_length)}"
                f" according to {variable_of('s3_max_part_size')},"
                f" {variable_of('s3_max_multipart_parts')} and {variable_of('s3_max_object_size')}"
            )
        return size

    @property
    def part_limits(self) -> PartLimits:
        """The limits of the service for parts and objects."""
        return _limits({name: getattr(self, name) for name in setting_fields()})

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings from a mapping such as `os.environ`. Empty values count as unset.

        White space around a value is ignored.

        Raises:
            SettingsError: the mapping is invalid; the message lists every mistake.
        """
        fields = {variable_of(name): name for name in setting_fields()}
        unknown = (name for name in sorted(environ) if _looks_like_setting(name))
        mistakes = [_unknown(name, fields) for name in unknown if name not in fields]
        texts = {name: environ.get(name, "").strip() for name in fields}
        broken = [name for name, text in texts.items() if _CONTROL.search(text)]
        mistakes += [f"{name}: {_NO_CONTROL}" for name in broken]
        valid = {name: text for name, text in texts.items() if text and name not in broken}
        given = {fields[name]: text for name, text in valid.items()}
        try:
            settings = TypeAdapter(cls).validate_python(given)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise SettingsError([*mistakes, *map(_mistake, details)]) from None
        if settings.locker is LockerKind.MEMORY and _workers(environ) > 1:
            name = variable_of("locker")
            mistakes.append(f"{name}: memory is for one process, and WEB_CONCURRENCY is higher")
        if mistakes:
            raise SettingsError(mistakes)
        return settings


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_CONTROL = "expected printable characters, without line breaks"


def variable_of(field: str) -> str:
    """Return the name of the environment variable for a field."""
    return PREFIX + field.upper()


def setting_fields() -> dict[str, FieldInfo]:
    """Return the fields of `Settings` by name, in the order of their definition."""
    fields: dict[str, FieldInfo] = Settings.__pydantic_fields__  # type: ignore[attr-defined]
    return fields


def _workers(environ: Mapping[str, str]) -> int:
    """Return the number of workers that gunicorn and similar servers read from the environment."""
    text = environ.get("WEB_CONCURRENCY", "")
    return int(text) if text.isascii() and text.isdigit() else 1


def _limits(values: Mapping[str, int]) -> PartLimits:
    return PartLimits(
        part_size=values["s3_part_size"],
        min_part_size=values["s3_min_part_size"],
        max_part_size=values["s3_max_part_size"],
        max_parts=values["s3_max_multipart_parts"],
        max_object_size=values["s3_max_object_size"],
    )


# Variables that Kubernetes sets for a Service named "tus" or "tus-...".
_KUBERNETES_SERVICE = re.compile(
    PREFIX + r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


def _looks_like_setting(name: str) -> bool:
    return name.startswith(PREFIX) and not _KUBERNETES_SERVICE.fullmatch(name)


def _unknown(name: str, known: Iterable[str]) -> str:
    # The message omits the value, because an unknown variable may contain a secret.
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f"{name}: no such setting" + (f"; did you mean {matches[0]}?" if matches else "")


def _mistake(detail: ErrorDetails) -> str:
    name = variable_of(str(detail["loc"][0]))
    if detail["type"] in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return f"{name}: required, but not set"
    if detail["type"] == "value_error":
        return f"{name}: {detail['ctx']['error']}"
    message = detail["msg"]
    if detail["type"] != "enum":  # the message of an enum lists its values
        message = message.partition(",")[0]
    rule = message.replace("Input should be", "must be")
    return f"{name}: {rule}, got {detail['input']!r}"
