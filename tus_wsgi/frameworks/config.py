"""Read the settings and the hooks from the configuration of a framework."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from pydantic import TypeAdapter

from tus_wsgi.domain.hook_set import HookOptions
from tus_wsgi.settings import Settings, SettingsError

HOOKS = tuple(HookOptions.__annotations__.keys() - {"owner_only"})
"""The names of all hooks."""


_COLLECTIONS = (bytes, bytearray, list, tuple, set, frozenset, Mapping)
"""Types whose text in Python is no text of a setting, although it may be a valid one."""


@dataclass(frozen=True, slots=True)
class Config:
    """The part of a framework's configuration that concerns uploads.

    Attributes:
        settings: the settings of the server.
        options: the hooks, and whether uploads are for their owners only: arguments of
            `TusMiddleware`.
    """

    settings: Settings
    options: dict[str, Any]

    @classmethod
    def parse(cls, entries: Mapping[str, Any], load: Callable[[Any], Callable[..., Any]]) -> Self:
        """Split entries such as `S3_BUCKET` and `AUTHORIZE` into settings and hooks.

        Args:
            entries: values by the names of settings without `TUS_`, and of hooks, in any case.
            load: returns the hook that an entry names.

        Raises:
            SettingsError: the settings are invalid; the message lists every mistake.
            ValueError: `owner_only` is not a truth value.
        """
        given = {name.lower(): value for name, value in entries.items()}
        options: dict[str, Any] = {}
        for name in HOOKS:
            hook = given.pop(name, None)
            if hook:
                options[name] = load(hook)
        owner_only = given.pop("owner_only", None)
        if owner_only is not None:
            options["owner_only"] = TypeAdapter(bool).validate_python(owner_only)
        settings = make_settings({f"TUS_{name.upper()}": value for name, value in given.items()})
        return cls(settings, options)


def make_settings(config: Mapping[str, object]) -> Settings:
    """Return the settings. A framework's configuration takes precedence over the environment.

    Args:
        config: values by the names of the environment variables. A value may be text, as in the
            environment, or the bool, number, path or timedelta that the text stands for. None
            restores the default.

    Raises:
        SettingsError: the settings are invalid; the message lists every mistake.
    """
    expected = "expected text, a number, a bool, a path or a timedelta"
    mistakes = [
        f"{name}: {expected}, got {type(value).__name__}"  # the value may be a secret
        for name, value in config.items()
        if isinstance(value, _COLLECTIONS)
    ]
    if mistakes:
        raise SettingsError(mistakes)
    texts = {name: _text(value) for name, value in config.items()}
    return Settings.from_environ({**os.environ, **texts})


def _text(value: object) -> str:
    """Return the value as the environment would contain it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return str(value.total_seconds())
        case _:
            return str(value)
