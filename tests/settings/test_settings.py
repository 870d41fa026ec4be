"""Settings from environment variables, their mistakes, and the command that shows them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tus_wsgi import __version__
from tus_wsgi.app import make_keys, make_object_options
from tus_wsgi.cli import main
from tus_wsgi.domain.model import GIB, MIB
from tus_wsgi.domain.plan import ObjectOptions
from tus_wsgi.observers.log import LogFormat
from tus_wsgi.settings import Settings, SettingsError
from tus_wsgi.settings.settings import LockerKind
from tus_wsgi.settings.table import markdown, table

REQUIRED = {"TUS_S3_BUCKET": "uploads"}
NAMES = [row.variable for row in table()]


def mistakes(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(REQUIRED | environ)
    return caught.value.mistakes


def test_only_the_bucket_is_required() -> None:
    assert Settings.from_environ(REQUIRED) == Settings(s3_bucket="uploads")


def test_every_kind_of_value_is_parsed() -> None:
    settings = Settings.from_environ(
        {
            "TUS_S3_BUCKET": "uploads",
            "TUS_BASE_PATH": "up/",
            "TUS_PUBLIC_URL": "https://example.com/",
            "TUS_S3_PART_SIZE": "8MiB",
            "TUS_S3_CONCURRENT_PART_UPLOADS": "3",
            "TUS_NETWORK_TIMEOUT": "1m30s",
            "TUS_ACQUIRE_LOCK_TIMEOUT": "0",
            "TUS_DISABLE_DOWNLOAD": "true",
            "TUS_DISABLE_CORS": "0",
            "TUS_LOCKER": "memory",
            "TUS_LOCK_DIR": "/run/locks",
            "TUS_LOG_FORMAT": "json",
        }
    )
    assert settings == Settings(
        s3_bucket="uploads",
        base_path="/up",
        public_url="https://example.com",
        s3_part_size=8 * MIB,
        s3_concurrent_part_uploads=3,
        network_timeout=90.0,
        acquire_lock_timeout=0.0,
        disable_download=True,
        locker=LockerKind.MEMORY,
        lock_dir=Path("/run/locks"),
        log_format=LogFormat.JSON,
    )


@pytest.mark.parametrize("name", ["X Request", "X-Request-Id:", "ä"])
def test_the_field_of_the_request_id_must_be_the_name_of_a_field(name: str) -> None:
    (mistake,) = mistakes(TUS_REQUEST_ID_HEADER=name)
    assert "TUS_REQUEST_ID_HEADER: expected the name of a field" in mistake
    settings = Settings.from_environ(REQUIRED | {"TUS_REQUEST_ID_HEADER": "X-Request-Id"})
    assert settings.request_id_header == "X-Request-Id"


@pytest.mark.parametrize(
    ("names", "mistake"),
    [
        ("X-A, x y", "names of fields"),
        ("*", "list the fields"),
        ("X-A,*", "list the fields"),
    ],
)
def test_exposed_fields_that_browsers_would_ignore_are_refused(names: str, mistake: str) -> None:
    (found,) = mistakes(TUS_CORS_EXPOSE_HEADERS=names, TUS_CORS_ALLOW_CREDENTIALS="true")
    assert found.startswith("TUS_CORS_EXPOSE_HEADERS: ")
    assert mistake in found
    if "*" in names:
        Settings.from_environ({**REQUIRED, "TUS_CORS_EXPOSE_HEADERS": names})


def test_the_disk_budget_holds_a_part_or_has_no_limit() -> None:
    """With a smaller budget, no upload would ever get beyond its first part."""
    (found,) = mistakes(TUS_DISK_BUDGET="15MiB")
    assert found == "TUS_DISK_BUDGET: is 15MiB, less than a part: TUS_S3_PART_SIZE (16MiB)"
    for value in ("0", "16MiB"):
        Settings.from_environ({**REQUIRED, "TUS_DISK_BUDGET": value})


def test_the_environment_of_this_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUS_S3_PART_SIZE", "7MiB")
    monkeypatch.setenv("S3_BUCKET", "another")
    assert Settings.from_environ(REQUIRED) == Settings(s3_bucket="uploads")


def test_an_empty_value_counts_as_unset() -> None:
    assert Settings.from_environ({**dict.fromkeys(NAMES, ""), **REQUIRED}) == Settings(
        s3_bucket="uploads"
    )


def test_variables_without_the_prefix_are_ignored() -> None:
    Settings.from_environ(REQUIRED | {"AWS_REGION": "x", "TUSD_HOOKS": "y", "PATH": "z"})


def test_settings_are_immutable() -> None:
    settings = Settings(s3_bucket="uploads")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.s3_bucket = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "path"),
    [("/files", "/files"), ("files", "/files"), ("/a/b/", "/a/b"), ("/", "/"), ("///", "/")],
)
def test_a_base_path_has_a_leading_slash_and_no_trailing_slash(text: str, path: str) -> None:
    assert Settings.from_environ(REQUIRED | {"TUS_BASE_PATH": text}).base_path == path


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(
            {
                "TUS_S3_PART_SZE": "8MiB",
                "TUS_S3_MIN_PART_SIZE": "5,5MiB",
                "TUS_NETWORK_TIMEOUT": "5 parsecs",
                "TUS_DISABLE_CORS": "maybe",
                "TUS_LOCKER": "redis",
                "TUS_S3_CONCURRENT_PART_UPLOADS": "0",
                "TUS_S3_MAX_MULTIPART_PARTS": "1.5",
            }
        )
    assert str(caught.value).splitlines() == [
        "8 mistakes in the settings:",
        "  TUS_S3_PART_SZE: no such setting; did you mean TUS_S3_PART_SIZE?",
        "  TUS_S3_BUCKET: required, but not set",
        "  TUS_S3_MIN_PART_SIZE: expected a size such as 16MiB or 5242880, got '5,5MiB'",
        "  TUS_S3_MAX_MULTIPART_PARTS: must be a valid integer, got '1.5'",
        "  TUS_S3_CONCURRENT_PART_UPLOADS: must be greater than 0, got '0'",
        "  TUS_LOCKER: must be 'memory', 'file', 'dynamodb' or 's3', got 'redis'",
        "  TUS_NETWORK_TIMEOUT: expected a duration such as 90, 60s or 1m30s, got '5 parsecs'",
        "  TUS_DISABLE_CORS: must be a valid boolean, got 'maybe'",
    ]


def test_an_unknown_setting_is_a_mistake() -> None:
    assert mistakes(TUS_COLOUR="green") == ("TUS_COLOUR: no such setting",)


def test_variables_of_kubernetes_services_are_ignored() -> None:
    """Kubernetes sets variables for a Service "tus" or "tus-demo" in every pod of its namespace."""
    Settings.from_environ(
        {
            "TUS_S3_BUCKET": "uploads",
            "TUS_SERVICE_HOST": "10.0.0.1",
            "TUS_SERVICE_PORT": "80",
            "TUS_SERVICE_PORT_HTTP": "80",
            "TUS_PORT": "tcp://10.0.0.1:80",
            "TUS_PORT_80_TCP": "tcp://10.0.0.1:80",
            "TUS_PORT_80_TCP_ADDR": "10.0.0.1",
            "TUS_DEMO_SERVICE_HOST": "10.0.0.2",
        }
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TUS_PASSWORD", "hunter2"),
        ("TUS_S3_ENDPOINT", "https://me:hunter2@s3.example.com"),
        ("TUS_PUBLIC_URL", "https://me:hunter2@[broken"),
    ],
)
def test_messages_do_not_contain_secrets(name: str, text: str) -> None:
    assert "hunter2" not in "".join(mistakes(**{name: text}))


@pytest.mark.parametrize("name", ["TUS_PUBLIC_URL", "TUS_S3_ENDPOINT"])
@pytest.mark.parametrize(
    "text", ["example.com", "ftp://example.com", "https://", "https://a:b", "https://a?b", "/files"]
)
def test_a_url_is_absolute_without_query(name: str, text: str) -> None:
    (mistake,) = mistakes(**{name: text})
    assert mistake.startswith(f"{name}: expected a URL")


@pytest.mark.parametrize("name", ["TUS_PUBLIC_URL", "TUS_S3_ENDPOINT"])
@pytest.mark.parametrize("end", [" b", "\u00e4", "\u4f8b", "\u2028b"])
def test_a_url_has_no_character_that_a_field_cannot_contain(name: str, end: str) -> None:
    """Otherwise the server creates the upload, and then cannot send its URL."""
    (mistake,) = mistakes(**{name: f"https://example.com/a{end}"})
    assert mistake.startswith(f"{name}: expected a URL in ASCII")


def test_white_space_around_a_value_is_ignored() -> None:
    """A value from a file, such as a secret of Kubernetes, often ends with a line break."""
    given = {"TUS_BASE_PATH": "/up\n", "TUS_S3_BUCKET": " uploads\r\n", "TUS_LOCKER": "s3\n"}
    expected = Settings(base_path="/up", s3_bucket="uploads", locker=LockerKind.S3)
    assert Settings.from_environ({**given, "TUS_MAX_SIZE": " \n"}) == expected


@pytest.mark.parametrize("character", ["\n", "\t", "\x00", "\x7f"])
@pytest.mark.parametrize(
    "name", ["TUS_BASE_PATH", "TUS_S3_OBJECT_PREFIX", "TUS_PUBLIC_URL", "TUS_METRICS_TOKEN"]
)
def test_a_value_has_no_control_characters(name: str, character: str) -> None:
    (mistake,) = mistakes(**{name: f"/a{character}b"})
    assert mistake == f"{name}: expected printable characters, without line breaks"


def test_an_endpoint_that_boto3_refuses_is_a_mistake() -> None:
    """boto3 takes no underscore in a host name."""
    (mistake,) = mistakes(TUS_S3_ENDPOINT="http://my_minio:9000")
    assert mistake.startswith("TUS_S3_ENDPOINT: boto3 refuses this host name")


@pytest.mark.parametrize("separator", ["/", ":"])
def test_the_arn_of_an_access_point_is_a_bucket(separator: str) -> None:
    arn = f"arn:aws:s3:eu-central-1:123456789012:accesspoint{separator}uploads"
    assert Settings.from_environ({"TUS_S3_BUCKET": arn}).s3_bucket == arn


@pytest.mark.parametrize(
    "bucket", ["a/b", "arn:aws:s3:::bucket/key", "arn:aws:sns:x:1:accesspoint/y"]
)
def test_a_bucket_with_a_slash_is_a_mistake(bucket: str) -> None:
    (mistake,) = mistakes(TUS_S3_BUCKET=bucket)
    assert mistake == f"TUS_S3_BUCKET: expected the name of a bucket, got {bucket!r}"


@pytest.mark.parametrize("text", ["/a b", "/a//b", "/a?b", "/a#b", "/ä", "/%41", "/a\\b"])
def test_a_base_path_with_quoted_characters_is_rejected(text: str) -> None:
    (mistake,) = mistakes(TUS_BASE_PATH=text)
    assert mistake == f"TUS_BASE_PATH: expected a path such as /files, got {text!r}"


def test_invalid_origins_are_rejected() -> None:
    (mistake,) = mistakes(TUS_CORS_ALLOW_ORIGIN="https://example.com, exampel.com")
    assert mistake.startswith("TUS_CORS_ALLOW_ORIGIN: expected an origin")


def test_the_part_size_is_at_least_the_minimum() -> None:
    (mistake,) = mistakes(TUS_S3_PART_SIZE="4MiB")
    assert mistake == "TUS_S3_PART_SIZE: is 4MiB, less than TUS_S3_MIN_PART_SIZE (5MiB)"


def test_the_part_size_is_at_most_the_maximum() -> None:
    (mistake,) = mistakes(TUS_S3_PART_SIZE="6GiB")
    assert mistake == "TUS_S3_MAX_PART_SIZE: is 5GiB, less than TUS_S3_PART_SIZE (6GiB)"


def test_the_maximum_size_is_at_most_that_of_the_service() -> None:
    (mistake,) = mistakes(TUS_MAX_SIZE="6TiB")
    assert mistake.startswith("TUS_MAX_SIZE: is 6TiB, but the service accepts at most ")


def test_a_mistake_is_reported_once() -> None:
    (mistake,) = mistakes(TUS_S3_MIN_PART_SIZE="x", TUS_S3_PART_SIZE="1MiB", TUS_MAX_SIZE="6TiB")
    assert mistake.startswith("TUS_S3_MIN_PART_SIZE: expected a size")


@pytest.mark.property
@given(
    st.dictionaries(
        st.sampled_from(NAMES) | st.text("ABT_US", max_size=6).map("TUS_".__add__),
        st.sampled_from(["0", "1", "5MiB", "5GiB", "20MiB", "1h", "file", "true", "/x", "http://h"])
        | st.text(max_size=12),
    )
)
def test_any_environment_gives_settings_or_a_settings_error(environ: dict[str, str]) -> None:
    try:
        settings = Settings.from_environ(environ)
    except SettingsError as error:
        assert error.mistakes  # noqa: PT017 (both outcomes are valid)
    else:
        assert settings.s3_min_part_size <= settings.s3_part_size <= settings.s3_max_part_size
        assert settings.max_size <= settings.part_limits.max_length


def test_the_part_limits_have_the_settings() -> None:
    limits = Settings(
        s3_bucket="b",
        s3_min_part_size=1 * MIB,
        s3_part_size=2 * MIB,
        s3_max_part_size=3 * MIB,
        s3_max_multipart_parts=4,
        s3_max_object_size=5 * MIB,
    ).part_limits
    assert dataclasses.astuple(limits) == (2 * MIB, 1 * MIB, 3 * MIB, 4, 5 * MIB)


def test_the_table_has_a_default_and_a_meaning_of_every_setting() -> None:
    rows = table(Settings(s3_bucket="b", s3_part_size=GIB))
    assert {row.variable for row in rows} == {
        f"TUS_{field.name.upper()}" for field in dataclasses.fields(Settings)
    }
    assert all(row.default and row.meaning and row.value for row in rows)
    assert ("1GiB", "16MiB") in {(row.value, row.default) for row in rows}


def test_values_in_the_table_can_be_parsed() -> None:
    settings = Settings(s3_bucket="b", network_timeout=90.0, memory_budget=MIB, disable_cors=True)
    environ = {row.variable: row.value for row in table(settings) if row.value != row.default}
    assert Settings.from_environ(environ) == settings


class TestCommand:
    """`tus-wsgi settings`."""

    def test_the_command_prints_the_values_of_the_environment(self) -> None:
        run = CliRunner().invoke(main, ["settings"], env=REQUIRED | {"TUS_S3_PART_SIZE": "8388608"})
        assert run.exit_code == 0
        assert re.search(r"^TUS_S3_PART_SIZE +8MiB +16MiB +preferred", run.output, re.MULTILINE)

    def test_the_command_prints_the_table_and_then_the_mistakes(self) -> None:
        run = CliRunner().invoke(main, ["settings"], env={"TUS_S3_PART_SZE": "1"})
        assert run.exit_code == 2
        assert "TUS_LOG_FORMAT" in run.stdout
        assert "TUS_S3_BUCKET: required, but not set" in run.stderr
        assert "did you mean TUS_S3_PART_SIZE?" in run.stderr
        assert "Traceback" not in run.output

    def test_markdown_requires_no_settings(self) -> None:
        run = CliRunner().invoke(main, ["settings", "--markdown"], env={"TUS_LOCKER": "invalid"})
        assert (run.exit_code, run.output) == (0, markdown(table()))

    def test_version_prints_the_version_of_the_package(self) -> None:
        run = CliRunner().invoke(main, ["--version"])
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", __version__)
        assert run.output == f"tus-wsgi {__version__}\n"


def test_dynamodb_requires_a_table() -> None:
    assert mistakes(TUS_LOCKER="dynamodb") == (
        "TUS_LOCK_TABLE: required with TUS_LOCKER=dynamodb, but not set",
    )
    settings = Settings.from_environ({**REQUIRED, "TUS_LOCKER": "dynamodb", "TUS_LOCK_TABLE": "t"})
    assert settings.lock_table == "t"


@pytest.mark.parametrize(("workers", "is_rejected"), [("", False), ("1", False), ("2", True)])
def test_memory_is_rejected_with_several_workers(workers: str, is_rejected: bool) -> None:
    environ = {"TUS_LOCKER": "memory", "WEB_CONCURRENCY": workers}
    if is_rejected:
        assert mistakes(**environ) == (
            "TUS_LOCKER: memory is for one process, and WEB_CONCURRENCY is higher",
        )
    else:
        assert Settings.from_environ(REQUIRED | environ).locker is LockerKind.MEMORY


def test_other_lockers_accept_several_workers() -> None:
    Settings.from_environ({**REQUIRED, "WEB_CONCURRENCY": "8"})


def test_memory_is_rejected_with_many_hosts() -> None:
    assert mistakes(TUS_LOCKER="memory", TUS_HOSTS="many") == (
        "TUS_HOSTS: is many, but TUS_LOCKER=memory is for one process",
    )


def test_the_options_of_objects_are_parsed() -> None:
    settings = Settings.from_environ(
        REQUIRED
        | {
            "TUS_S3_OBJECT_KEY": "{year}/{id}/{filename}",
            "TUS_S3_SSE": "aws:kms",
            "TUS_S3_SSE_KMS_KEY_ID": "alias/uploads",
            "TUS_S3_BUCKET_KEY": "true",
            "TUS_S3_STORAGE_CLASS": "STANDARD_IA",
            "TUS_S3_ACL": "private",
            "TUS_S3_CACHE_CONTROL": "max-age=60",
            "TUS_S3_TAGS": "team=media, kind=upload",
        }
    )
    assert make_keys(settings).template == "{year}/{id}/{filename}"
    assert make_object_options(settings) == ObjectOptions(
        encryption="aws:kms",
        kms_key_id="alias/uploads",
        bucket_key=True,
        storage_class="STANDARD_IA",
        acl="private",
        cache_control="max-age=60",
        tags={"team": "media", "kind": "upload"},
    )
    assert make_object_options(Settings(s3_bucket="uploads")).given() == {}


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("TUS_S3_OBJECT_KEY", "{filename}", "expected {id}"),
        ("TUS_S3_SSE", "yes", "AES256"),
        ("TUS_S3_SSE_KMS_KEY_ID", "alias/uploads", "set TUS_S3_SSE=aws:kms"),
        ("TUS_S3_BUCKET_KEY", "true", "set TUS_S3_SSE=aws:kms"),
        ("TUS_S3_CACHE_CONTROL", "max-age=60\r\nX: y", "printable"),
        ("TUS_S3_STORAGE_CLASS", "st\u00e4ndig", "printable"),
        ("TUS_S3_TAGS", "team", "team=media"),
        ("TUS_S3_TAGS", "a=1,a=2", "team=media"),
        ("TUS_S3_TAGS", ",".join(f"{number}=" for number in range(11)), "at most 10 tags"),
        ("TUS_S3_TAGS", "=media", "1 to 128 characters"),
    ],
)
def test_invalid_options_of_objects_are_refused(name: str, value: str, problem: str) -> None:
    (mistake,) = mistakes(**{name: value})
    assert mistake.startswith(f"{name}: ")
    assert problem in mistake


@pytest.mark.parametrize("path", ["/files", "/files/metrics", "files/"])
def test_a_page_within_the_uploads_is_refused(path: str) -> None:
    (mistake,) = mistakes(TUS_METRICS_PATH=path)
    assert mistake.startswith("TUS_METRICS_PATH: expected a path outside of TUS_BASE_PATH")


def test_a_page_may_be_beside_uploads_at_the_root() -> None:
    environ = REQUIRED | {"TUS_BASE_PATH": "/", "TUS_METRICS_PATH": "metrics/"}
    assert Settings.from_environ(environ).metrics_path == "/metrics"
    assert mistakes(TUS_METRICS_PATH="/") == (
        "TUS_METRICS_PATH: expected a path such as /metrics, got '/'",
    )


def test_a_token_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    token = "x7f3a9"
    settings = Settings.from_environ(REQUIRED | {"TUS_METRICS_TOKEN": token})
    assert settings.metrics_token is not None
    assert settings.metrics_token.get_secret_value() == token
    assert token not in repr(settings)
    assert not any(token in row.value for row in table(settings))
    (mistake,) = mistakes(TUS_METRICS_TOKEN=f"{token} {token}")
    assert token not in mistake
