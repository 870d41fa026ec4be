"""Decide which tests apply to this server and this run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from .options import Options
from .rules import LEVELS
from .server import MIB, Capabilities

MAX_TEST_SIZE = 64 * MIB
"""The largest Tus-Max-Size that tests try to exceed: they send that many bytes, and more."""


@dataclass(frozen=True, slots=True)
class RuleMark:
    """The arguments of a test's `rule` decorator.

    Attributes:
        ids: the ids of the rules that the test proves.
        level: one of `LEVELS`.
        needs: what it requires, see `reason_to_skip`.
    """

    ids: tuple[str, ...]
    level: str
    needs: tuple[str, ...]


def mark_of(item: pytest.Item) -> RuleMark:
    """Return what `rule` says of a test, with the needs of its module (`pytestmark`).

    Raises:
        pytest.UsageError: the test has no `rule` decorator.
    """
    marks = list(item.iter_markers("rule"))
    own = next((mark for mark in marks if mark.args), None)
    if own is None:
        raise pytest.UsageError(f"{item.nodeid} names no rule")
    needs = tuple(dict.fromkeys(need for mark in marks for need in mark.kwargs["needs"]))
    return RuleMark(own.args, own.kwargs["level"], needs)


def runs_at(level: str, highest: str) -> bool:
    """Return whether tests of a level run if `highest` is the highest level of the run."""
    return LEVELS.index(level) <= LEVELS.index(highest)


def reason_to_skip(
    needs: Iterable[str],
    capabilities: Capabilities,
    options: Options,
    *,
    can_read: bool,
    serves_files: bool,
) -> str | None:
    """Return why a test does not apply, or None if it does.

    A need is the name of an extension, `not:` with the name of an extension, `algorithm:` with the
    name of a checksum algorithm, `interop:` with a version, or a key of `conditions`.
    """
    max_size = capabilities.max_size
    is_small = max_size is not None and 0 < max_size <= MAX_TEST_SIZE
    conditions = {
        "second-url": (options.second_url, "--second-url is not given"),
        "expires": (options.expires, "--expires is not given"),
        "stall": (options.stall, "--stall is not given"),
        "kill": (options.kill, "--kill is not given"),
        "content": (can_read, "files cannot be read; see --download"),
        "get": (serves_files, "GET of an upload does not return its content"),
        "max-size": (max_size is not None, "there is no Tus-Max-Size"),
        "small-max-size": (is_small, "Tus-Max-Size is over 64 MiB"),
    }
    for need in needs:
        kind, _, name = need.rpartition(":")
        if need in conditions:
            met, reason = conditions[need]
        elif kind == "not":
            met, reason = name not in capabilities.extensions, f"{name} is offered"
        elif kind == "interop":
            met, reason = name in options.interop, f"interop {name} is not in --interop"
        elif kind == "algorithm":
            met, reason = name in capabilities.algorithms, f"{name} is not offered"
        else:
            met, reason = need in capabilities.extensions, f"{need} is not offered"
        if not met:
            return reason
    return None
