"""Parse the values of settings of hooks outside of the process. No host name is looked up."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from tus_wsgi.domain.response_fields import is_field_name
from tus_wsgi.hooks.http import RESERVED_FIELDS
from tus_wsgi.hooks.tusd_json import HookEvent
from tus_wsgi.settings.values import is_quoted, parse_base_path


def parse_events(text: str) -> frozenset[HookEvent]:
    """Parse a list of events such as `pre-create,post-finish`.

    Raises:
        ValueError: the text is empty, or contains an unknown event.
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
        ValueError: see `parse_events`.
    """
    parse_events(text)
    return text


def parse_hook_path(text: str) -> str:
    """Parse the path of the route that answers hooks; empty for none. It may end with a slash.

    Raises:
        ValueError: the path is `/`, or contains characters that requests have to quote.
    """
    if not text:
        return ""
    path = parse_base_path(text)
    if path == "/" or any(segment in (".", "..") for segment in path.split("/")):
        raise ValueError(f"expected a path such as /internal/tus, got {text!r}")
    return path + "/" if text.endswith("/") else path


def parse_hook_url(text: str) -> str:
    """Parse the URL of an endpoint of hooks.

    Raises:
        ValueError: the scheme is not HTTP, or the URL contains a user or a fragment. The message
            omits the URL, which may contain a secret.
    """
    expected = "expected a URL such as https://example.com/hooks"
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # an invalid port raises ValueError
    except ValueError:
        raise ValueError(expected) from None
    if url.scheme not in {"http", "https"} or not host:
        raise ValueError(expected)
    if not is_quoted(text):
        raise ValueError(f"{expected}, with other characters quoted")
    if "@" in url.netloc or url.fragment:
        raise ValueError(f"{expected}, without a user, a password or a fragment")
    return text


def build_hook_url(url: str) -> str:
    """Return the URL of an endpoint as it may be shown: `***` hides its query, maybe a secret."""
    path, question, _ = url.partition("?")
    return f"{path}?***" if question else path


def is_encrypted_or_local(url: str) -> bool:
    """Return whether the network cannot read what is sent to a URL."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def parse_forward_headers(text: str) -> tuple[str, ...]:
    """Parse a list of header fields that an endpoint gets too.

    Raises:
        ValueError: a name is invalid, or the field describes the connection or the document.
    """
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    for name in names:
        if not is_field_name(name):
            raise ValueError(f"expected names of fields, got {name!r}")
        if name.lower() in RESERVED_FIELDS:
            raise ValueError(f"the field {name} cannot be forwarded")
    return names


def check_forward_headers(text: str) -> str:
    """Return the text of a list of header fields unchanged.

    Raises:
        ValueError: see `parse_forward_headers`.
    """
    parse_forward_headers(text)
    return text
