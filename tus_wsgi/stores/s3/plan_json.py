"""Encode and decode the `Plan` field of the info object. No I/O.

| field     | meaning                                                                         |
|-----------|---------------------------------------------------------------------------------|
| Private   | the application's own keys and values                                           |
| MaxSize   | bytes of the largest file                                                       |
| Lifetime  | seconds until the unfinished upload expires; 0 for never                        |
| Object    | the fields of `tus_wsgi.domain.plan.ObjectOptions`, in S3's spelling            |

A field without a decision is omitted. The plan's key is not here, but in `Storage.Key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tus_wsgi.domain.plan import NO_PLAN, ObjectOptions, Plan, find_mistakes

_OPTION_NAMES = {
    option.name: option.name.title().replace("_", "") for option in fields(ObjectOptions)
}


def encode_plan(plan: Plan) -> dict[str, object]:
    """Return the `Plan` field as a dictionary of one entry; empty if nothing was decided."""
    options = {
        _OPTION_NAMES[name]: dict(value) if isinstance(value, Mapping) else value
        for name, value in plan.object.given().items()
    }
    values = {
        "Private": dict(plan.private),
        "MaxSize": plan.max_size,
        "Lifetime": plan.lifetime,
        "Object": options,
    }
    # None and an empty mapping are no decision, but 0 is one.
    decided = {name: value for name, value in values.items() if value not in (None, {})}
    return {"Plan": decided} if decided else {}


def decode_plan(value: object) -> Plan:
    """Parse the `Plan` field. Unknown fields are ignored.

    Raises:
        ValueError: a value has the wrong type or is out of range.
    """
    if value is None:
        return NO_PLAN
    decided = _mapping(value)
    options = _mapping(decided.get("Object"))
    known = {
        name: options[field]
        for name, field in _OPTION_NAMES.items()
        if options.get(field) is not None
    }
    plan = Plan(
        private=_mapping(decided.get("Private")),
        max_size=decided.get("MaxSize"),
        lifetime=decided.get("Lifetime"),
        object=ObjectOptions(**known),
    )
    first_mistake = next(find_mistakes(plan), None)
    if first_mistake is not None:
        raise ValueError(f"Plan: {first_mistake}")
    return plan


def _mapping(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("Plan is not an object of objects")  # noqa: TRY004 - one error for all
    return value
