"""Ask the application's `on_create` hook about a new upload, and apply its plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from tus_wsgi.domain.creation import NewUpload, OnCreate, UploadPlan
from tus_wsgi.domain.errors import Denied, HookFailed, InvalidPlan
from tus_wsgi.domain.expiry import expiry, extended_expiry
from tus_wsgi.domain.hooks import Request
from tus_wsgi.domain.model import Final, Metadata, Partial, UploadInfo
from tus_wsgi.domain.plan import Plan, checked_added_fields, find_mistakes
from tus_wsgi.domain.response_fields import NO_FIELDS

MAX_METADATA_SIZE = 8 * 1024
"""Bytes of all keys and values of metadata that replace the client's. Responses contain them."""

_KEY = re.compile(r"[^\x00-\x20,\x7f]+")


class Planner:
    """Decides about new uploads: the application's hook, and the lifetime of the settings.

    Args:
        on_create: the hook; None for none.
        lifetime: seconds after which an unfinished upload expires if its plan does not say
            otherwise; 0 for never.
    """

    def __init__(self, on_create: OnCreate | None, lifetime: float) -> None:
        self._on_create = on_create
        self._lifetime = lifetime

    @property
    def has_hook(self) -> bool:
        """Whether the application has an `on_create` hook."""
        return self._on_create is not None

    def plan(
        self, info: UploadInfo, now: datetime, request: Request | None
    ) -> tuple[UploadInfo, Mapping[str, str]]:
        """Return the new upload with its plan, and fields for the response to the creation.

        Args:
            info: the new upload without an expiry. Nothing is stored yet.
            now: the current time, in UTC.
            request: the request of the creation; required if there is a hook.

        Raises:
            Denied: the hook refuses the upload.
            InvalidPlan: the hook returned a plan that cannot be used.
            HookFailed: the hook raised.
        """
        decided = None
        if self._on_create is not None:
            assert request is not None, "on_create needs the request"
            decided = _ask(self._on_create, info, request)
        return self.apply(decided, info, now)

    def apply(
        self, decided: UploadPlan | None, info: UploadInfo, now: datetime
    ) -> tuple[UploadInfo, Mapping[str, str]]:
        """Return the new upload with this plan, see `plan`; None for no decisions.

        Raises:
            InvalidPlan: the plan cannot be used.
        """
        fields = NO_FIELDS
        if decided is not None:
            info, fields = _apply(decided, info)
        return replace(info, expires=expiry(now, self._lifetime_of(info))), fields

    def extended_expiry(self, info: UploadInfo, now: datetime) -> datetime | None:
        """Return the new expiry of an upload that a request writes to; None to keep the old one."""
        return extended_expiry(info, now, self._lifetime_of(info))

    def _lifetime_of(self, info: UploadInfo) -> float:
        lifetime = info.plan.lifetime
        return self._lifetime if lifetime is None else lifetime


def _ask(on_create: OnCreate, info: UploadInfo, request: Request) -> UploadPlan | None:
    concat = info.concat
    new = NewUpload(
        id=info.id,
        length=info.length,
        metadata=info.metadata,
        owner=info.owner,
        is_partial=isinstance(concat, Partial),
        partials=concat.partials if isinstance(concat, Final) else (),
        request=request,
    )
    try:
        return on_create(new)
    except Denied:
        raise
    except Exception as error:
        raise HookFailed("on_create", info.id) from error


def _apply(decided: UploadPlan, info: UploadInfo) -> tuple[UploadInfo, Mapping[str, str]]:
    if not isinstance(decided, UploadPlan):
        expected = f"expected an UploadPlan or None, got a {type(decided).__name__}"
        raise InvalidPlan([expected])
    plan = Plan(
        private=decided.private,
        max_size=decided.max_size,
        lifetime=decided.lifetime,
        key=decided.key,
        object=decided.object,
    )
    mistakes = [*find_mistakes(plan)]
    metadata, fields = info.metadata, NO_FIELDS
    try:
        metadata = _metadata(decided.metadata, info.metadata)
    except ValueError as error:
        mistakes.append(f"metadata: {error}")
    try:
        fields = checked_added_fields(decided.fields)
    except (ValueError, TypeError, AttributeError) as error:
        mistakes.append(f"fields: {error}")
    if mistakes:
        raise InvalidPlan(mistakes)
    # A copy: the application may change its dictionary later.
    plan = replace(plan, private=dict(plan.private))
    return replace(info, plan=plan, metadata=metadata), fields


def _metadata(given: Metadata | Mapping[str, str] | None, sent: Metadata) -> Metadata:
    """Return the metadata that the application has chosen, or that the client sent.

    Raises:
        ValueError: the metadata cannot be stored and sent back.
    """
    if given is None:
        return sent
    try:
        if isinstance(given, Metadata):
            texts = {key: value.decode() for key, value in given.pairs}
        else:
            texts = dict(given)
        pairs = tuple((key, value.encode()) for key, value in texts.items())
        size = sum(len(key.encode()) + len(value) for key, value in pairs)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError("expected Metadata, or a mapping of str to str") from error
    if size > MAX_METADATA_SIZE:
        raise ValueError(f"expected at most {MAX_METADATA_SIZE} bytes, got {size}")
    if not all(map(_KEY.fullmatch, texts)):
        raise ValueError("expected keys without spaces, commas and control characters")
    return Metadata(pairs)  # without `raw`, which would contradict the pairs
