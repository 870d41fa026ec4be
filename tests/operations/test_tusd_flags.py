"""The flags of tusd, as settings."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.harness.servers.tusd import tusd_program
from tus_wsgi.cli import main
from tus_wsgi.operations.tusd_flags import FLAGS, markdown, translate
from tus_wsgi.settings.table import table

RECORDED = Path(__file__).with_name("tusd_flags.txt")
"""The flags in the output of `tusd -h`, with the types of their values."""

PROXY = "set TUS_PUBLIC_URL, or gunicorn's forwarded_allow_ips for the scheme"

GUIDE = Path(__file__).parents[2] / "docs" / "moving-from-tusd.md"


def test_the_table_has_every_flag_of_tusd_with_its_kind() -> None:
    recorded = [line.split() for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    kinds = {name: not type for name, *type in recorded}
    assert {flag.name: flag.is_switch for flag in FLAGS} == kinds
    assert len(FLAGS) == len(kinds)


@pytest.mark.long
@pytest.mark.timeout(900)  # the first run builds tusd
def test_the_recorded_flags_are_those_of_tusd() -> None:
    ran = subprocess.run([tusd_program(), "-h"], capture_output=True, text=True, check=False)
    flags = re.findall(r"^  -(.+)$", ran.stdout + ran.stderr, re.MULTILINE)
    assert flags == RECORDED.read_text(encoding="utf-8").splitlines()


def test_every_setting_in_the_table_exists() -> None:
    known = {row.variable for row in table()}
    named = {flag.variable for flag in FLAGS if flag.variable}
    named |= {name for flag in FLAGS for name in re.findall(r"TUS_\w+", flag.remark)}
    assert named - known == set()


def test_the_guide_contains_the_table() -> None:
    """To update it, write the output of `markdown` between the two comments."""
    guide = GUIDE.read_text(encoding="utf-8")
    block = re.search(r"<!-- flags:begin -->\n(.*)<!-- flags:end -->", guide, re.DOTALL)
    assert block is not None
    assert block[1] == markdown()


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["-s3-bucket", "media"], ["TUS_S3_BUCKET=media"]),
        (["--s3-bucket=my media"], ["TUS_S3_BUCKET='my media'"]),
        (
            [
                "-s3-bucket=m",
                "-disable-download",
                "-disable-cors=true",
                "-disable-termination=false",
            ],
            ["TUS_S3_BUCKET=m", "TUS_DISABLE_DOWNLOAD=true", "TUS_DISABLE_CORS=true"],
        ),
        (
            ["-behind-proxy", "-s3-bucket", "m"],
            [f"# -behind-proxy: {PROXY}", "TUS_S3_BUCKET=m"],
        ),
        (["-max-size=5"], ["TUS_MAX_SIZE=5", "# TUS_S3_BUCKET: required, but not set"]),
        (
            ["-s3-disable-content-hashes", "-s3-bucket", "m"],
            [
                "TUS_S3_CHECKSUM=off",
                "# -s3-disable-content-hashes: rarely needed: the default costs a CRC-32",
                "TUS_S3_BUCKET=m",
            ],
        ),
    ],
)
def test_flags_become_variables_and_remarks(arguments: list[str], lines: list[str]) -> None:
    assert list(translate(arguments)) == lines


def test_the_example_in_the_guide_is_what_the_command_prints() -> None:
    example = GUIDE.read_text(encoding="utf-8").partition("$ tus-wsgi from-tusd ")[2]
    arguments, *lines = example.partition("```")[0].strip().splitlines()
    assert list(translate(arguments.split())) == [line.strip() for line in lines]


def test_a_value_that_is_refused_here_is_said() -> None:
    (_, _, mistake) = translate(["-s3-bucket=m", "-hooks-http", "http://hooks.example.com/"])
    assert mistake.startswith("# TUS_HOOKS_HTTP: expected https")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["-s3-buckets=m"], "-s3-buckets"), (["media"], "media"), (["-max-size"], "needs a value")],
)
def test_arguments_that_tusd_refuses_are_a_mistake(arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(translate(arguments))
    ran = CliRunner().invoke(main, ["from-tusd", *arguments])
    assert ran.exit_code == 2
    assert message in ran.output


def test_the_command_prints_a_file_of_variables() -> None:
    ran = CliRunner().invoke(main, ["from-tusd", "-s3-bucket", "media", "-max-size", "1000000000"])
    assert (ran.exit_code, ran.output) == (0, "TUS_S3_BUCKET=media\nTUS_MAX_SIZE=1000000000\n")
    # `-h` is no option here.
    ran = CliRunner().invoke(main, ["from-tusd", "-host", "0.0.0.0", "-s3-bucket=m"])
    assert ran.output.startswith("# -host: set gunicorn's --bind")
    assert "FLAGS" in CliRunner().invoke(main, ["from-tusd", "--help"]).output
