"""Parse and build the values of settings: sizes (`16MiB`), durations (`1m30s`), paths and URLs.

Sizes are `int` bytes, durations `float` seconds. Parsing is strict: `16,5MiB` is an error, not
sixteen bytes. `parse_size` is the inverse of `build_size`. `parse_duration` is the inverse of
`build_duration`, which rounds to milliseconds. No URL is opened and no host name is looked up.
"""

from __future__ import annotations

import re
from fractions import Fraction
from urllib.parse import urlsplit

from tus_wsgi.domain.model import GIB, KIB, MIB, TIB
from tus_wsgi.domain.plan import ObjectOptions, find_option_mistakes

_BINARY = {"TiB": TIB, "GiB": GIB, "MiB": MIB, "KiB": KIB}
_DECIMAL = {"TB": 1000**4, "GB": 1000**3, "MB": 1000**2, "KB": 1000, "B": 1, "": 1}
_BYTES = {unit.lower(): size for unit, size in (_BINARY | _DECIMAL).items()}
_SECONDS = {
    "d": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
}

# The limit on digits keeps sums of these numbers from overflowing.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_SIZE = re.compile(rf"({_NUMBER}) ?([KMGT]?i?B|)", re.IGNORECASE)
_DURATION_STEP = re.compile(rf"({_NUMBER})(ms|[dhms])")
_PLAIN_SECONDS = re.compile(_NUMBER)


def parse_size(text: str) -> int:
    """Parse a size such as `5242880`, `16MiB`, `1.5GiB` or `50 MB` (decimal units) to bytes.

    Raises:
        ValueError: the text is not a size, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _BYTES.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"expected a size such as 16MiB or 5242880, got {text!r}")
    size = Fraction(match[1]) * unit
    if size.denominator != 1:
        raise ValueError(f"expected a whole number of bytes, got {text!r}")
    return int(size)


def build_size(size: int) -> str:
    """Format bytes in the largest binary unit that gives a whole number."""
    for unit, factor in _BINARY.items():
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


_DAY = 24 * 60 * 60
MAX_DURATION = 36500 * _DAY
"""Seconds. Much longer durations are beyond the last date, and beyond what timers accept."""


def parse_duration(text: str) -> float:
    """Parse a duration such as `60s`, `1m30s`, `1.5h`, `250ms` or `90` to seconds.

    Raises:
        ValueError: the text is not a duration, or longer than `MAX_DURATION`.
    """
    stripped = text.strip()
    is_plain = _PLAIN_SECONDS.fullmatch(stripped) is not None
    steps = [(stripped, "s")] if is_plain else _DURATION_STEP.findall(stripped)
    if not steps or (not is_plain and "".join(map("".join, steps)) != stripped):
        raise ValueError(f"expected a duration such as 90, 60s or 1m30s, got {text!r}")
    seconds = float(sum(Fraction(number) * _SECONDS[unit] for number, unit in steps))
    if seconds > MAX_DURATION:
        raise ValueError(f"expected at most {MAX_DURATION // _DAY}d, got {text!r}")
    return seconds


def build_duration(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds: `1h30m`.

    Durations below two minutes are formatted as seconds (`60s`), fractions as milliseconds.
    """
    milliseconds = round(seconds * 1000)
    whole, fraction = divmod(milliseconds, 1000)
    if fraction:
        return f"{milliseconds}ms"
    if whole < 120:
        return f"{whole}s" if whole else "0"
    minutes, remainder = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    steps = ((hours, "h"), (minutes, "m"), (remainder, "s"))
    return "".join(f"{number}{unit}" for number, unit in steps if number)


def parse_tags(text: str) -> dict[str, str]:
    """Parse tags of objects such as `team=media,kind=upload`.

    Raises:
        ValueError: the text is not a list of at most ten pairs, or S3 does not accept a pair.
    """
    tags: dict[str, str] = {}
    for item in text.split(",") if text.strip() else ():
        key, equals, value = item.strip().partition("=")
        if not equals or key in tags:
            raise ValueError(f"expected tags such as team=media,kind=upload, got {text!r}")
        tags[key] = value
    first_mistake = next(find_option_mistakes(ObjectOptions(tags=tags)), None)
    if first_mistake is not None:
        raise ValueError(first_mistake.removeprefix("object.tags: "))
    return tags


def check_tags(text: str) -> str:
    """Return the text of tags unchanged.

    Raises:
        ValueError: see `parse_tags`.
    """
    parse_tags(text)
    return text


def parse_base_path(text: str) -> str:
    """Parse a base path: add the leading slash and strip the trailing slash.

    Raises:
        ValueError: the path contains characters that requests have to quote.
    """
    path = "/" + text.strip("/")
    if "//" in path or not path.isascii() or any(c in path for c in " ?#%\\"):
        raise ValueError(f"expected a path such as /files, got {text!r}")
    return path


def parse_page_path(text: str) -> str:
    """Parse the path of a page beside the uploads; empty for none.

    Raises:
        ValueError: see `parse_base_path`; or the path is the root.
    """
    path = parse_base_path(text) if text else ""
    if path == "/":
        raise ValueError("expected a path such as /metrics, got '/'")
    return path


def parse_field_name(text: str) -> str:
    """Parse the name of a header field; empty for none.

    Raises:
        ValueError: the text is not a token (RFC 9110, section 5.1).
    """
    if text and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise ValueError(f"expected the name of a field such as X-Request-Id, got {text!r}")
    return text


def is_quoted(url: str) -> bool:
    """Return whether a URL has only characters that header fields can contain."""
    return url.isascii() and url.isprintable() and " " not in url


def parse_url(text: str) -> str:
    """Parse an absolute HTTP URL and strip its trailing slash.

    Raises:
        ValueError: the scheme is not HTTP, or the URL contains a user, a query, a fragment, or a
            character that is not quoted. The message omits the URL, which may contain a password by
            mistake.
    """
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # an invalid port raises ValueError
    except ValueError:
        raise ValueError("expected a URL such as https://example.com") from None
    if url.scheme not in {"http", "https"} or not host:
        raise ValueError("expected a URL such as https://example.com")
    if not is_quoted(text):
        raise ValueError("expected a URL in ASCII, with other characters quoted")
    if "@" in url.netloc:
        raise ValueError("expected a URL without a user or a password")
    if "?" in text or "#" in text:
        raise ValueError("expected a URL without a query or a fragment")
    return text.rstrip("/")
