"""Runs the benchmarks: `python -m benchmarks`. See docs/performance.md."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks import goals, plot
from benchmarks.costs import costs
from benchmarks.options import Elsewhere, Options
from benchmarks.results import Result, as_json, as_markdown
from benchmarks.scenarios import far, large, many, small
from benchmarks.slow import slow
from benchmarks.testbed import NODE_PACKAGES, ROOT, Stage
from tus_wsgi.settings.values import parse_size

SCENARIOS: dict[str, Callable[[Stage], Result]] = {
    "large": large,
    "many": many,
    "small": small,
    "far": far,
    "slow": slow,
    "costs": costs,
}

_PACKAGES = ("boto3", "gunicorn", "gevent", "zlib-ng")


def run(options: Options, names: Iterable[str] = SCENARIOS) -> Iterator[Result]:
    """Run these scenarios in their order."""
    with Stage(options) as stage:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            result = SCENARIOS[name](stage)
            print(as_markdown(result), flush=True)
            yield result


def write(results: list[Result], directory: Path, command: str) -> None:
    """Write `results.json`, `results.md` and `results.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = goals.goals({result.name: result for result in results})
    about = {"command": command, **_conditions()}
    said = {
        "about": about,
        "results": [as_json(result) for result in results],
        "goals": [{**dataclasses.asdict(goal), "is_met": goal.is_met} for goal in wanted],
    }
    (directory / "results.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    head = "".join(f"- {name}: {text}\n" for name, text in about.items())
    tables = [as_markdown(result) for result in results]
    if wanted:
        tables.append(goals.as_markdown(wanted))
    text = "\n".join([f"# Benchmarks\n\n{head}", *tables])
    (directory / "results.md").write_text(text, encoding="utf-8")
    (directory / "results.svg").write_text(plot.as_svg(results), encoding="utf-8")


def _conditions() -> dict[str, str]:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "processors": str(os.cpu_count()),
        "load average over 1, 5 and 15 minutes at the end": load,
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "npm packages": ", ".join(NODE_PACKAGES),
    }


def _parser() -> argparse.ArgumentParser:
    defaults = Options(directory=Path())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("scenario", nargs="*", choices=[*SCENARIOS, []], help="which ones; all of them by default")
    add("--rounds", type=int, default=defaults.rounds)
    add("--size", type=parse_size, default=defaults.size, help="of a large upload: 1GiB")
    add("--many", type=int, default=defaults.many[0], help="uploads side by side")
    add("--many-size", type=parse_size, default=defaults.many[1])
    add("--small", type=int, default=defaults.small[0], help="small uploads, in each way")
    add("--small-size", type=parse_size, default=defaults.small[1])
    add("--slow", type=int, default=defaults.slow[0], help="slow clients")
    add("--part-size", type=parse_size, default=defaults.part_size, help="of all targets")
    add("--parallel", type=int, default=defaults.parallel, help="parts at once; ours: 4 at most")
    add("--workers", type=int, default=defaults.workers, help="of our server")
    add("--no-peers", action="store_true", help="leave @tus/server out")
    add(
        "--target",
        type=Elsewhere.parse,
        action="append",
        default=[],
        metavar="NAME=URL,PID[,PROXY]",
    )
    add("--s3", metavar="URL,BUCKET", help="an S3 that runs; credentials from the environment")
    add("--output", type=Path, default=ROOT / "benchmarks" / "results", help="a directory")
    return parser


def _options(asked: argparse.Namespace, directory: Path) -> Options:
    endpoint, _, bucket = (asked.s3 or "").partition(",")
    return Options(
        directory=directory,
        rounds=asked.rounds,
        size=asked.size,
        many=(asked.many, asked.many_size),
        small=(asked.small, asked.small_size),
        slow=(asked.slow, Options(directory=directory).slow[1]),
        part_size=asked.part_size,
        parallel=asked.parallel,
        workers=asked.workers,
        has_peers=not asked.no_peers,
        others=tuple(asked.target),
        s3=(endpoint, bucket) if asked.s3 else None,
    )


def main() -> None:
    """The command line."""
    asked = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="tus-bench-") as scratch:
        results: list[Result] = []
        command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
        for result in run(_options(asked, Path(scratch)), asked.scenario or SCENARIOS):
            results.append(result)
            write(results, asked.output, command)  # what is there is not lost to a later mistake
    print(f"written to {asked.output}")


if __name__ == "__main__":
    main()
