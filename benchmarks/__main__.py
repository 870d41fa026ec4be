"""Run the benchmarks: `python -m benchmarks [compare REV]`. See docs/performance.md."""

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
from benchmarks.options import ExternalTarget, Options
from benchmarks.parts import parts
from benchmarks.results import Result, as_json, as_markdown
from benchmarks.scenarios import far, large, many, small
from benchmarks.silent import silent
from benchmarks.slow import slow
from benchmarks.testbed import NODE_PACKAGES, ROOT, Testbed
from tus_wsgi.settings.values import parse_size

SCENARIOS: dict[str, Callable[[Testbed], Result]] = {
    "large": large,
    "many": many,
    "small": small,
    "far": far,
    "slow": slow,
    "silent": silent,
    "costs": costs,
}

WITH_TINY_PARTS = {"parts": parts}
"""Scenarios for `--part-size 1KiB`, which run only if they are named."""

_PACKAGES = ("boto3", "gunicorn", "gevent", "zlib-ng")


def run(options: Options, names: Iterable[str] = SCENARIOS) -> Iterator[Result]:
    """Run the named scenarios in order and yield their results."""
    with Testbed(options) as testbed:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            result = (SCENARIOS | WITH_TINY_PARTS)[name](testbed)
            print(as_markdown(result), flush=True)
            yield result


def write(results: list[Result], directory: Path, command: str) -> None:
    """Write `results.json`, `results.md` and `results.svg`."""
    directory.mkdir(parents=True, exist_ok=True)
    checked = goals.goals({result.name: result for result in results})
    about = {"command": command, **_conditions()}
    content = {
        "about": about,
        "results": [as_json(result) for result in results],
        "goals": [{**dataclasses.asdict(goal), "is_met": goal.is_met} for goal in checked],
    }
    (directory / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    head = "".join(f"- {name}: {text}\n" for name, text in about.items())
    tables = [as_markdown(result) for result in results]
    if checked:
        tables.append(goals.as_markdown(checked))
    text = "\n".join([f"# Benchmarks\n\n{head}", *tables])
    (directory / "results.md").write_text(text, encoding="utf-8")
    (directory / "results.svg").write_text(plot.as_svg(results), encoding="utf-8")


def _conditions() -> dict[str, str]:
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
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
    add(
        "scenario",
        nargs="*",
        choices=[*SCENARIOS, *WITH_TINY_PARTS, []],
        help="scenarios to run; default: all",
    )
    add("--rounds", type=int, default=defaults.rounds, help="measurements of each target")
    add("--size", type=parse_size, default=defaults.size, help="size of a large upload: 1GiB")
    add("--many", type=int, default=defaults.many[0], help="concurrent uploads")
    add("--many-size", type=parse_size, default=defaults.many[1], help="size of each of them")
    add("--small", type=int, default=defaults.small[0], help="small uploads of each kind")
    add("--small-size", type=parse_size, default=defaults.small[1], help="size of each of them")
    add("--slow", type=int, default=defaults.slow[0], help="slow clients")
    add("--silent", type=int, default=defaults.silent[0], help="silent clients")
    add("--part-size", type=parse_size, default=defaults.part_size, help="for all targets")
    add("--parallel", type=int, default=defaults.parallel, help="concurrent parts; tus_wsgi: max 4")
    add("--workers", type=int, default=defaults.workers, help="workers of tus_wsgi")
    add("--no-peers", action="store_true", help="do not measure @tus/server and tusd")
    add("--no-node", action="store_true", help="do not measure @tus/server")
    add("--compare", metavar="REV", help="measure another commit of this project as well")
    add(
        "--target",
        type=ExternalTarget.parse,
        action="append",
        default=[],
        metavar="NAME=URL,PID[,PROXY]",
        help="a running server to measure as well",
    )
    add("--s3", metavar="URL,BUCKET", help="a running S3; credentials from the environment")
    add("--output", type=Path, default=ROOT / "benchmarks" / "results", help="a directory")
    return parser


def _options(arguments: argparse.Namespace, directory: Path) -> Options:
    endpoint, _, bucket = (arguments.s3 or "").partition(",")
    return Options(
        directory=directory,
        rounds=arguments.rounds,
        size=arguments.size,
        many=(arguments.many, arguments.many_size),
        small=(arguments.small, arguments.small_size),
        slow=(arguments.slow, Options(directory=directory).slow[1]),
        silent=(arguments.silent, Options(directory=directory).silent[1]),
        part_size=arguments.part_size,
        parallel=arguments.parallel,
        workers=arguments.workers,
        has_peers=not arguments.no_peers,
        has_node=not arguments.no_node,
        compared=arguments.compare,
        external=tuple(arguments.target),
        s3=(endpoint, bucket) if arguments.s3 else None,
    )


def main() -> None:
    """Run the command line."""
    given = sys.argv[1:]
    if given[:1] == ["compare"]:  # python -m benchmarks compare REV [SCENARIO ...]
        given[0] = "--compare"
    arguments = _parser().parse_args(given)
    with tempfile.TemporaryDirectory(prefix="tus-bench-") as scratch:
        results: list[Result] = []
        command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
        options = _options(arguments, Path(scratch))
        for result in run(options, arguments.scenario or SCENARIOS):
            results.append(result)
            # Write after each scenario, so that a later failure loses no results.
            write(results, arguments.output, command)
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    main()
