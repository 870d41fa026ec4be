"""Paths and URLs as people write them into settings. Nothing is looked up."""

from __future__ import annotations

from urllib.parse import urlsplit


def parse_base_path(text: str) -> str:
    """The path with one slash in front and none at its end.

    Raises:
        ValueError: it has something in it that a path in a request would not have as it is.
    """
    path = "/" + text.strip("/")
    if "//" in path or not path.isascii() or any(c in path for c in " ?#%\\"):
        raise ValueError(f"expected a path such as /files, got {text!r}")
    return path


def parse_url(text: str) -> str:
    """The URL without a slash at its end.

    Raises:
        ValueError: it is none of HTTP, or has more in it than a place. The message does not show
            it, since it may hold a password by mistake.
    """
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError("expected a URL such as https://example.com") from None
    if url.scheme not in {"http", "https"} or not host:
        raise ValueError("expected a URL such as https://example.com")
    if "@" in url.netloc:
        raise ValueError("expected a URL without a user or a password")
    if "?" in text or "#" in text:
        raise ValueError("expected a URL without a query or a fragment")
    return text.rstrip("/")
