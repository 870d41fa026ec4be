"""Run the benchmarks: `python -m benchmarks [compare REV | growth]`. See docs/performance.md."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import goals, growth, plot
from benchmarks.costs import costs
from benchmarks.options import ExternalTarget, Options
from benchmarks.report import write_report
from benchmarks.results import Result, as_markdown
from benchmarks.scenarios import far, large, many, small
from benchmarks.silent import silent
from benchmarks.slow import slow
from benchmarks.sweep import sweep
from benchmarks.testbed import ROOT, Testbed
from tus_wsgi.settings.values import parse_size

SCENARIOS: dict[str, Callable[[Testbed], Result]] = {
    "large": large,
    "many": many,
    "small": small,
    "far": far,
    "slow": slow,
    "silent": silent,
    "costs": costs,
    "sweep": sweep,
}


def run(options: Options, names: Iterable[str] = SCENARIOS) -> Iterator[Result]:
    """Run the named scenarios in order and yield their results."""
    with Testbed(options) as testbed:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            result = SCENARIOS[name](testbed)
            print(as_markdown(result), flush=True)
            yield result


def write(results: list[Result], directory: Path, command: str) -> None:
    """Write `results.json`, `results.md` and `results.svg`."""
    checked = goals.goals({result.name: result for result in results})
    write_report(
        directory / "results",
        command,
        results,
        title="Benchmarks",
        conclusions={
            "goals": [{**dataclasses.asdict(goal), "is_met": goal.is_met} for goal in checked]
        },
        conclusion_table=goals.as_markdown(checked) if checked else "",
        plot=plot.as_svg(results),
    )


def _parser() -> argparse.ArgumentParser:
    defaults = Options(directory=Path())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add(
        "scenario",
        nargs="*",
        choices=[*SCENARIOS, []],
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
    add("--finished", type=int, default=defaults.finished, help="uploads in the bucket of a sweep")
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
    defaults = Options(directory=directory)
    return Options(
        directory=directory,
        rounds=arguments.rounds,
        size=arguments.size,
        many=(arguments.many, arguments.many_size),
        small=(arguments.small, arguments.small_size),
        slow=(arguments.slow, defaults.slow[1]),
        silent=(arguments.silent, defaults.silent[1]),
        finished=arguments.finished,
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
    if given[:1] == ["growth"]:
        growth.main(given[1:])
        return
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
