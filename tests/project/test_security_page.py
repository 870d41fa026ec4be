"""Every test and setting that docs/security.md names exists."""

from __future__ import annotations

import re
from pathlib import Path

from tus_wsgi.settings.table import table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_named_tests_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert len(named) > 20
    assert {path for path in named if not (ROOT / path).is_file()} == set()


def test_the_named_settings_exist() -> None:
    named = set(re.findall(r"`(TUS_\w+)`", PAGE))
    assert named <= {row.variable for row in table()}


def test_the_page_explains_each_setting_that_restricts_clients() -> None:
    restricting = re.compile(
        r"TUS_(DISABLE_(?!CORS|DEFER)\w+|MAX_SIZE|EXPIRES|\w+_BUDGET|MIN_RATE|NETWORK_TIMEOUT|"
        r"METHOD_OVERRIDE|CORS_ALLOW_\w+|\w+_TOKEN|\w+_PATH)"
    )
    found = {row.variable for row in table() if restricting.fullmatch(row.variable)}
    assert len(found) > 12
    assert {name for name in found if f"`{name}`" not in PAGE} == set()
