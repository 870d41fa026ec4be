"""Which tests apply to this server, and how strictly it is judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from .options import Options
from .rules import LEVELS
from .server import MIB, Offer

SMALL = 64 * MIB
"""A Tus-Max-Size up to which tests may send that much."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a test says of itself.

    Attributes:
        ids: of the rules that it proves.
        level: one of `LEVELS`.
        needs: what it cannot do without, see `reason_against`.
    """

    ids: tuple[str, ...]
    level: str
    needs: tuple[str, ...]


def proof_of(item: pytest.Item) -> Proof:
    """What `rule` said of a test; the module's own needs (`pytestmark`) are added.

    Raises:
        pytest.UsageError: it names no rule.
    """
    marks = list(item.iter_markers("rule"))
    own = next((mark for mark in marks if mark.args), None)
    if own is None:
        raise pytest.UsageError(f"{item.nodeid} names no rule")
    needs = tuple(dict.fromkeys(need for mark in marks for need in mark.kwargs["needs"]))
    return Proof(own.args, own.kwargs["level"], needs)


def applies_at(level: str, chosen: str) -> bool:
    """Whether tests of a level run when another is chosen."""
    return LEVELS.index(level) <= LEVELS.index(chosen)


def reason_against(
    needs: Iterable[str], offer: Offer, options: Options, *, reads: bool, gets: bool
) -> str | None:
    """Why a test does not apply; None if it does.

    A need is the name of an extension, `not:` and such a name, `algorithm:` and the name of one,
    `interop:` and a version, or one of the words in here.
    """
    told = {
        "second-url": (options.second_url, "--tus-second-url is not given"),
        "expires": (options.expires, "--tus-expires is not given"),
        "stall": (options.stall, "--tus-stall is not given"),
        "kill": (options.kill, "--tus-kill is not given"),
        "content": (reads, "files cannot be read; see --tus-download"),
        "get": (gets, "GET of an upload does not give its content"),
        "max-size": (offer.max_size is not None, "there is no Tus-Max-Size"),
        "small-max-size": (0 < (offer.max_size or 0) <= SMALL, "Tus-Max-Size is over 64 MiB"),
    }
    for need in needs:
        kind, _, name = need.rpartition(":")
        if need in told:
            fine, reason = told[need]
        elif kind == "not":
            fine, reason = name not in offer.extensions, f"{name} is offered"
        elif kind == "interop":
            fine, reason = name in options.interop, f"interop {name} is not in --tus-interop"
        elif kind == "algorithm":
            fine, reason = name in offer.algorithms, f"{name} is not offered"
        else:
            fine, reason = need in offer.extensions, f"{need} is not offered"
        if not fine:
            return reason
    return None
