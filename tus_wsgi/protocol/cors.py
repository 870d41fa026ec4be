"""Which pages of other origins may use the uploads: Cross-Origin Resource Sharing.

A page that is not allowed gets no CORS fields, and its browser keeps the reply from it. The
request itself is not refused, for two reasons. Browsers send `Origin` with every POST, PATCH and
DELETE, also with those to their own origin, so refusing would break the uploads of a site that
never needed CORS. And nothing is lost by it: whatever changes an upload needs `Tus-Resumable`, a
method, or an override that no page may send elsewhere without a preflight, and the preflight
fails. CORS protects visitors' browsers; it is no access control.

The rules are those of the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tus_wsgi.protocol.http import RequestHead

ANY = "*"

DAY = 24 * 60 * 60

# What clients of every dialect send, whichever of them is offered: a preflight does not say.
ALLOW_HEADERS = ", ".join(
    (
        *("Authorization", "Content-Disposition", "Content-Type", "Tus-Resumable"),
        *("Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length"),
        *("Upload-Concat", "Upload-Checksum", "Upload-Complete", "Upload-Incomplete"),
        *("Upload-Draft-Interop-Version",),
        *("X-HTTP-Method-Override", "X-Request-ID", "X-Requested-With"),
    )
)

# Without these a script cannot read its own offset. The last line is for scripts that download
# and that wait before they try again.
EXPOSE_HEADERS = ", ".join(
    (
        *("Location", "Upload-Offset", "Upload-Length", "Upload-Metadata"),
        *("Upload-Defer-Length", "Upload-Concat", "Upload-Expires"),
        *("Upload-Complete", "Upload-Incomplete", "Upload-Limit", "Upload-Draft-Interop-Version"),
        *("Tus-Resumable", "Tus-Version", "Tus-Max-Size", "Tus-Extension"),
        *("Tus-Checksum-Algorithm",),
        *("Content-Disposition", "Content-Range", "ETag", "Retry-After"),
    )
)

ALLOW_METHODS = "POST, PUT, HEAD, PATCH, GET, DELETE, OPTIONS"

_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")

# Not ".", which means what it says in "https://example.com".
_REGEX_SIGNS = frozenset("\\^$?*+()|[]{}")

# Not the comma of "{1,3}".
_COMMA = re.compile(r",(?![0-9]*\})")


def parse_allow_origin(text: str) -> tuple[str | re.Pattern[str], ...]:
    r"""The origins that a setting allows: a comma-separated list of

    - `*`, which is any origin,
    - an origin as browsers write it, `https://example.com` or `http://localhost:8080`
      (no path, no slash at the end), and
    - a regular expression, which is what is no origin and has one of `\ ^ $ ? * + ( ) | [ ] { }`
      in it. It has to match the whole origin: `https://[a-z]+\.example\.com` does not allow
      `https://a.example.com.evil.example`.

    Raises:
        ValueError: there is no entry, or one is neither an origin nor a regular expression.
    """
    entries = [entry.strip() for entry in _COMMA.split(text)]
    return tuple(_parse_entry(entry) for entry in entries)


def _parse_entry(entry: str) -> str | re.Pattern[str]:
    if entry == ANY or _ORIGIN.fullmatch(entry.lower()):
        return entry.lower()
    # "https://*.example.com" is a regular expression too, and allows "https://xexample.com".
    if _REGEX_SIGNS.isdisjoint(entry) or "//*" in entry:
        hint = "expected an origin like https://example.com, a regular expression, or *"
        raise ValueError(f"{hint}, got {entry!r}")
    try:
        return re.compile(entry, re.ASCII)
    except re.error as error:
        raise ValueError(f"expected a regular expression, got {entry!r}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsPolicy:
    """Who may read the replies, and for how long a browser need not ask again.

    Attributes:
        allow_origins: exact origins, `*`, and regular expressions that match a whole origin.
        allow_credentials: whether cookies and the like may be sent along. Together with `*` this
            lets every site act as the visitor, so name the origins where cookies mean something.
        max_age: seconds for which a browser may remember the answer to a preflight.
    """

    allow_origins: tuple[str | re.Pattern[str], ...] = (ANY,)
    allow_credentials: bool = False
    max_age: int = DAY
    _exact: frozenset[str] = field(init=False, repr=False, compare=False)
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the origins once, not at every request."""
        exact = frozenset(o for o in self.allow_origins if isinstance(o, str))
        patterns = tuple(o for o in self.allow_origins if not isinstance(o, str))
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_patterns", patterns)

    def fields_for(self, head: RequestHead) -> list[tuple[str, str]]:
        """The fields to add to the reply to `head`, whatever the reply is: errors too."""
        if ANY in self._exact and not self.allow_credentials:
            # The same for everybody, so that a cache may give one visitor's reply to another.
            return [("Access-Control-Allow-Origin", ANY), *self._details(head)]
        fields = [("Vary", "Origin")]
        origin = head.fields.get("Origin", "")
        if self._allows(origin):
            fields.append(("Access-Control-Allow-Origin", origin))
            if self.allow_credentials:
                fields.append(("Access-Control-Allow-Credentials", "true"))
            fields.extend(self._details(head))
        return fields

    def _allows(self, origin: str) -> bool:
        # What is no origin is never echoed, however wide the pattern.
        if _ORIGIN.fullmatch(origin) is None:
            return False
        if ANY in self._exact or origin in self._exact:
            return True
        return any(pattern.fullmatch(origin) for pattern in self._patterns)

    def _details(self, head: RequestHead) -> list[tuple[str, str]]:
        if head.method == "OPTIONS" and "Access-Control-Request-Method" in head.fields:
            return [
                ("Access-Control-Allow-Methods", ALLOW_METHODS),
                ("Access-Control-Allow-Headers", ALLOW_HEADERS),
                ("Access-Control-Max-Age", str(self.max_age)),
            ]
        return [("Access-Control-Expose-Headers", EXPOSE_HEADERS)]
