"""Parse the values of settings of hooks outside of the process. No host name is looked up."""

from __future__ import annotations

from tus_wsgi.hooks.tusd_json import HookEvent
from tus_wsgi.settings.values import parse_base_path


def parse_events(text: str) -> frozenset[HookEvent]:
    """Parse a list of events such as `pre-create,post-finish`.

    Raises:
        ValueError: The text is empty, or contains an unknown event.
    """
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in tuple(HookEvent)]
    if unknown:
        known = ", ".join(HookEvent)
        raise ValueError(f"expected a list of {known}, got {unknown[0]!r}")
    return frozenset(map(HookEvent, names))


def check_events(text: str) -> str:
    """Return the text of a list of events unchanged.

    Raises:
        ValueError: See `parse_events`.
    """
    parse_events(text)
    return text


def parse_hook_path(text: str) -> str:
    """Parse the path of the route that answers hooks; empty for none. It may end with a slash.

    Raises:
        ValueError: The path is `/`, or contains characters that requests have to quote.
    """
    if not text:
        return ""
    path = parse_base_path(text)
    if path == "/" or any(segment in (".", "..") for segment in path.split("/")):
        raise ValueError(f"expected a path such as /internal/tus, got {text!r}")
    return path + "/" if text.endswith("/") else path
