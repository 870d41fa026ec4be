"""Write the results of a run: figures as JSON, tables as Markdown, a plot as SVG."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import Result, as_json, as_markdown
from benchmarks.testbed import NODE, NODE_PACKAGES

_PACKAGES = ("boto3", "gunicorn", "gevent", "zlib-ng")


def write_report(
    stem: Path,
    command: str,
    results: Sequence[Result],
    *,
    title: str,
    conclusions: Mapping[str, object],
    conclusion_table: str,
    plot: str,
) -> None:
    """Write the files `stem`.json, `stem`.md and `stem`.svg, and say how the run was made.

    Args:
        stem: the path of the files without a suffix.
        command: the command of the run.
        results: the results, one table each.
        title: the heading of the Markdown file.
        conclusions: what follows from the results, for the JSON file.
        conclusion_table: the same as Markdown. It may be empty.
        plot: the content of the SVG file.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    about = {"command": command, **_conditions()}
    if any(NODE in result.targets() for result in results):
        about["npm packages"] = ", ".join(NODE_PACKAGES)
    content = {"about": about, "results": [as_json(result) for result in results], **conclusions}
    head = "".join(f"- {name}: {text}\n" for name, text in about.items())
    tables = [*(as_markdown(result) for result in results), conclusion_table]
    text = "\n".join([f"# {title}\n\n{head}", *filter(None, tables)])
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    stem.with_suffix(".svg").write_text(plot, encoding="utf-8")


def _conditions() -> dict[str, str]:
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "processors": str(os.cpu_count()),
        "load average over 1, 5 and 15 minutes at the end": load,
        "Python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }
