"""Read the settings from the configuration of a framework."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta

from tus_wsgi.settings import Settings


def make_settings(config: Mapping[str, object]) -> Settings:
    """Return the settings in a framework's configuration, or else in the environment.

    Args:
        config: values by the names of the environment variables. A value may be text, as in the
            environment, or the bool, number, path or timedelta that the text stands for. None
            restores the default.

    Raises:
        SettingsError: The settings are invalid; the message lists every mistake.
    """
    return Settings.from_environ({**os.environ, **{k: _text(v) for k, v in config.items()}})


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
