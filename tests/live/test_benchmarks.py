"""Every benchmark runs and yields figures. The values of the figures are not tested."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import testbed
from benchmarks.__main__ import SCENARIOS, run, write
from benchmarks.goals import BOTO3, as_markdown, goals
from benchmarks.growth_rows import ROWS
from benchmarks.options import Options
from benchmarks.proxy import operation
from benchmarks.results import Result, Sample
from benchmarks.testbed import NODE, TUS_WSGI
from benchmarks.tusd import TUSD
from demo.seaweedfs import SeaweedFS
from tus_wsgi.domain.model import KIB, MIB

pytestmark = pytest.mark.live


@pytest.fixture
def options(s3: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """The smallest options that each scenario accepts."""
    for name, text in s3.environ(s3.admin).items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, text)
    return Options(
        directory=tmp_path,
        rounds=1,
        size=6 * MIB,
        many=(2, MIB),
        small=(4, KIB),
        connections=2,
        slow=(3, 64 * KIB),
        silent=(3, 5),
        finished=1000,
        part_size=5 * MIB,
        has_peers=False,
        direct=("boto3, CRC-32",),
        s3=(s3.endpoint, s3.bucket),
    )


@pytest.mark.timeout(300)
def test_every_scenario_yields_figures(options: Options, tmp_path: Path) -> None:
    results = list(run(options))
    assert len(results) == len(SCENARIOS)
    for result in results:
        assert result.figures()
        figures = [figure for sample in result.samples for figure in sample.figures.items()]
        assert all(math.isfinite(value) for _, value in figures)
        # A cost of one upload is a difference, which noise can make negative at loads this small.
        assert all(value >= 0 for name, value in figures if not name.endswith("CPU ms/upload"))
    by_name = {result.name: result for result in results}
    assert by_name["large"].median("tus_wsgi", "MiB/s") > 0
    assert by_name["many"].median("relay", "failed") == 0
    assert by_name["large"].median("boto3, CRC-32", "MiB/s") > 0
    assert by_name["many"].median("tus_wsgi", "failed") == 0
    assert by_name["many"].median("tus_wsgi", "temporary files left") == 0
    assert by_name["silent clients"].median("tus_wsgi", "OPTIONS: failed") == 0
    assert by_name["far S3"].median("tus_wsgi", "x of the link's limit") > 1
    assert by_name["S3 calls"].median("tus_wsgi", "100KiB, POST with data") == 2
    write(results, tmp_path / "out", "a command")
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["results"]
    assert {"text", "value", "bound", "is_met"} <= set(content["goals"][0])
    assert "a command" in (tmp_path / "out" / "results.md").read_text()
    assert (tmp_path / "out" / "results.svg").read_text().startswith("<svg")


@pytest.mark.timeout(300)
def test_every_row_of_growth_yields_its_costs(options: Options) -> None:
    smallest = replace(options, size=MIB, requests=2, idle_seconds=0.1)
    with testbed.Testbed(smallest) as servers:
        for row in ROWS.values():
            figures = row.measure(servers, 2 if row.name == "sweep" else row.amounts[0] or 1)
            assert set(row.cpu) | set(row.calls) <= set(figures), row.name
            assert all(math.isfinite(value) for value in figures.values())
            assert all(figures[name] > 0 for name in row.calls)


def result_of(**figures_by_target: dict[str, float]) -> Result:
    names = {"tus_wsgi": TUS_WSGI, "node": NODE, "boto3": BOTO3, "tusd": TUSD}
    samples = [Sample(names[target], 1, figures) for target, figures in figures_by_target.items()]
    return Result("", "", samples)


def test_goals_compare_figures_with_bounds_and_skip_missing_figures() -> None:
    large = result_of(
        tus_wsgi={"wall s": 1.2, "CPU s/GiB": 1.0, "MiB/s": 100},
        boto3={"wall s": 1.0, "CPU s/GiB": 1.0},
        node={"CPU s/GiB": 9.0},
        tusd={"wall s": 1.3, "CPU s/GiB": 1.9},
    )
    slow = result_of(tus_wsgi={"rate kept": 0.81, "peak RSS MiB": 400})
    measured = goals({"large": large, "slow clients": slow})
    # The goals of wall time, CPU, @tus/server's CPU, rate kept, peak RSS, and of wall time and CPU
    # compared with tusd. The other goals need figures that are missing here.
    assert [goal.is_met for goal in measured] == [False, True, True, True, False, True, False]
    assert as_markdown(measured).count("**no**") == 3


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("PUT", "/b/k", "PutObject"),
        ("HEAD", "/b/k", "HeadObject"),
        ("PUT", "/b/k?partNumber=1&uploadId=x", "UploadPart"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload"),
        ("POST", "/b/k?uploadId=x", "CompleteMultipartUpload"),
        ("GET", "/b/k?uploadId=x&max-parts=1000", "ListParts"),
        ("DELETE", "/b/k?uploadId=x", "AbortMultipartUpload"),
        ("POST", "/b?delete=", "DeleteObjects"),
    ],
)
def test_requests_are_counted_by_s3_operation(method: str, target: str, name: str) -> None:
    assert operation(method, target) == name
