"""Check that code, tests and `docs/durability.md` agree on the durability rules D-01 to D-14."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")

RULES = re.findall(r"^\| (D-\d\d) \| .* \| (?:kept|partly) \|$", DOCUMENT, re.MULTILINE)

PLACES = {
    rule: (re.findall(r"`(.+?)`", modules), re.findall(r"`(.+?)`", tests))
    for rule, modules, tests in re.findall(
        r"^\| (D-\d\d) \| (`.+`) \| (`.+`) \|$", DOCUMENT, re.MULTILINE
    )
}
"""The modules that keep each rule, and the tests that prove it, as paths."""


def rules_by_file(folder: str) -> dict[str, set[str]]:
    """Return the rules that each Python file below a folder names."""
    return {
        str(path.relative_to(ROOT / folder)): set(
            re.findall(r"\bD-\d\d\b", path.read_text(encoding="utf-8"))
        )
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__)
    }


MODULES, TESTS = rules_by_file("tus_wsgi"), rules_by_file("tests")


def test_the_document_has_every_rule() -> None:
    assert [f"D-{number:02}" for number in range(1, 15)] == RULES
    assert list(PLACES) == RULES


def test_the_document_explains_every_rule_that_is_kept_partly() -> None:
    partly = re.findall(r"^\| (D-\d\d) \| .* \| partly \|$", DOCUMENT, re.MULTILINE)
    assert re.findall(r"^- \*\*(D-\d\d)\*\*: ", DOCUMENT, re.MULTILINE) == partly


@pytest.mark.parametrize("rule", RULES)
def test_the_modules_that_keep_a_rule_and_the_tests_that_prove_it_name_it(rule: str) -> None:
    modules, tests = PLACES[rule]
    assert modules
    assert tests
    assert [name for name in modules if rule not in MODULES.get(name, set())] == []
    assert [name for name in tests if rule not in TESTS.get(name, set())] == []


def test_no_file_names_a_rule_that_the_document_lacks() -> None:
    known = set(RULES)
    unknown = {
        name: rules - known for name, rules in (MODULES | TESTS).items() if not rules <= known
    }
    assert unknown == {}
