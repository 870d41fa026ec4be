"""The dashboard and the alert rules use the metrics that the observer has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from tus_wsgi.observers.prometheus import PrometheusObserver

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DOCUMENT = ROOT / "docs" / "observability.md"

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


def metrics() -> dict[str, tuple[str, ...]]:
    """Return for each metric the names that queries use: a histogram has three."""
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    return {
        metric.name: tuple(metric.name + suffix for suffix in SUFFIXES[metric.type])
        for metric in registry.collect()
    }


def panels() -> list[dict[str, Any]]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = dashboard["panels"]
    return found


def rules(kind: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def queries() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            # A variable of Grafana is a duration here.
            yield target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*")
    for rule in [*rules("alert"), *rules("record")]:
        yield rule["expr"]


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\btus_\w+", text))


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_queries_are_valid_and_use_existing_metrics(query: str) -> None:
    promql_parser.parse(query)
    existing = {name for names in metrics().values() for name in names}
    assert names_in(query) - existing == set()


def test_the_dashboard_shows_each_metric() -> None:
    shown = names_in(" ".join(target["expr"] for panel in panels() for target in panel["targets"]))
    missing = [name for name, names in metrics().items() if not shown.intersection(names)]
    assert missing == []


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels()}) == len(places)
    assert all(panel["title"] and panel["description"].endswith(".") for panel in panels())


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_alerts_have_a_severity_and_are_explained(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description"} == set(rule["annotations"])
    assert f"| `{rule['alert']}` |" in DOCUMENT.read_text(encoding="utf-8")


def test_the_document_names_each_metric() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    first_names = [names[0].removesuffix("_bucket") for names in metrics().values()]
    assert [name for name in first_names if name not in text] == []
