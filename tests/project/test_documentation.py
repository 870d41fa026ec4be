"""Checks of the documentation against the code."""

from __future__ import annotations

import importlib
import re
import subprocess
import tomllib
from collections import Counter
from functools import reduce
from pathlib import Path
from urllib.parse import unquote

import pytest

from tus_wsgi.settings.table import markdown, table

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def markdown_files() -> list[str]:
    """Return the Markdown files of the repository, without ignored and generated ones."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git repository")
    return listed.stdout.split()


def test_the_readme_contains_the_current_settings() -> None:
    """To update the table, paste the output of `tus-wsgi settings --markdown`."""
    readme = read("README.md")
    block = re.search(r"<!-- settings:begin -->\n(.*)<!-- settings:end -->", readme, re.DOTALL)
    assert block is not None
    assert block[1] == markdown(table())


def headings(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def leads_somewhere(document: Path, link: str) -> bool:
    """Return whether a relative link leads to an existing file and heading."""
    path, _, anchor = unquote(link).partition("#")
    target = document.parent / path if path else document
    return target.exists() and (not anchor or anchor in headings(target))


def test_links_between_documents_lead_to_files_and_headings() -> None:
    broken: list[str] = []
    for name in markdown_files():
        text = re.sub(r"^```.*?^```", "", read(name), flags=re.DOTALL | re.MULTILINE)
        links = re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", text)
        broken += [f"{name}: {link}" for link in links if not leads_somewhere(ROOT / name, link)]
    assert broken == []


def test_no_document_contains_a_table_twice() -> None:
    """A mistake when results are pasted into a document."""
    repeated: list[str] = []
    for name in markdown_files():
        tables = Counter(re.findall(r"(?:^\|.*\n){3,}", read(name), re.MULTILINE))
        repeated += [f"{name}: {text[:80]}" for text, count in tables.items() if count > 1]
    assert repeated == []


def layers_of(lines: list[str]) -> list[set[str]]:
    """Return the names in each layer; parentheses mark modules that may be missing."""
    return [{name.strip(" ()") for name in line.split("|")} for line in lines]


def test_the_picture_of_the_layers_is_the_import_contract() -> None:
    picture = re.search(
        r"^## Layers$.*?^```\n(.*?)^```", read("CONTRIBUTING.md"), re.DOTALL | re.MULTILINE
    )
    assert picture is not None
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    assert layers_of(picture[1].splitlines()) == layers_of(layers)
    assert len(layers) == 7


STEPS = re.findall(
    r"^\| (\d+) \| `([\w.]+)` `([\w.]+)` \| .+ \|$", read("docs/architecture.md"), re.MULTILINE
)


def test_the_steps_of_a_patch_are_numbered() -> None:
    assert [int(number) for number, _, _ in STEPS] == list(range(1, len(STEPS) + 1))
    assert len(STEPS) > 20


@pytest.mark.parametrize(("module", "function"), [step[1:] for step in STEPS])
def test_every_step_of_a_patch_names_an_existing_function(module: str, function: str) -> None:
    assert callable(reduce(getattr, function.split("."), importlib.import_module(module)))


def test_the_text_on_the_architecture_names_existing_modules() -> None:
    for module in set(re.findall(r"`(tus_wsgi(?:\.\w+)+)`", read("docs/architecture.md"))):
        importlib.import_module(module)
