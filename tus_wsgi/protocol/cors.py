"""Cross-Origin Resource Sharing (CORS): which pages of other origins may upload.

The reply to a page that is not allowed has no CORS fields, so its browser hides the reply from the
page. The request itself is not rejected, for two reasons. Browsers send `Origin` with every POST,
PATCH and DELETE, including requests to their own origin, so rejecting would break the uploads of a
site that never needed CORS. And rejecting would not protect more: a request that changes an upload
needs a field (such as `Tus-Resumable`) or a method that a page may send to another origin only
after a preflight, and the preflight fails. CORS protects the browsers of visitors; it is not access
control.

The rules are those of the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tus_wsgi.domain.response_fields import is_field_name
from tus_wsgi.protocol.http import RequestHead

ANY = "*"

DAY = 24 * 60 * 60

# Fields that clients of any dialect send. A preflight does not say which dialect will follow.
ALLOW_HEADERS = ", ".join(
    (
        *("Authorization", "Content-Disposition", "Content-Type", "Tus-Resumable"),
        *("Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Defer-Length"),
        *("Upload-Concat", "Upload-Checksum", "Upload-Complete", "Upload-Incomplete"),
        *("Upload-Draft-Interop-Version",),
        *("X-HTTP-Method-Override", "X-Request-ID", "X-Requested-With"),
    )
)

_ALLOWED = frozenset(ALLOW_HEADERS.lower().split(", "))

# Scripts need these fields to resume an upload. The last line is for scripts that download, or that
# wait before they retry.
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

MAX_MIRRORED = 100
"""The maximum number of names that a preflight may add to `ALLOW_HEADERS`. Browsers send one name
for each field that the page sets."""

ALLOW_METHODS = "POST, PUT, HEAD, PATCH, GET, DELETE, OPTIONS"

_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")

# Without ".", which is a literal dot in "https://example.com".
_REGEX_CHARACTERS = frozenset("\\^$?*+()|[]{}")

# Do not split at the comma of "{1,3}".
_COMMA = re.compile(r",(?![0-9]*\})")


def parse_allow_origin(text: str) -> tuple[str | re.Pattern[str], ...]:
    r"""Parse a comma-separated list of allowed origins. An entry is

    - `*`, for any origin,
    - an origin as browsers send it, `https://example.com` or `http://localhost:8080` (no path, no
      trailing slash), or
    - a regular expression: an entry that is not an origin and contains one of the characters
      `\ ^ $ ? * + ( ) | [ ] { }`. It must match the whole origin:
      `https://[a-z]+\.example\.com` does not allow `https://a.example.com.evil.example`.

    Raises:
        ValueError: an entry is empty, or neither an origin nor a regular expression.
    """
    entries = [entry.strip() for entry in _COMMA.split(text)]
    return tuple(_parse_entry(entry) for entry in entries)


def parse_expose_headers(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of field names; `*` is for all fields. Ignore empty entries.

    Raises:
        ValueError: an entry is not the name of a field.
    """
    entries = [entry.strip() for entry in text.split(",")]
    names = tuple(entry for entry in entries if entry)
    for name in names:
        if not is_field_name(name):
            raise ValueError(f"expected names of fields, or *, got {name!r}")
    return names


def _parse_entry(entry: str) -> str | re.Pattern[str]:
    if entry == ANY or _ORIGIN.fullmatch(entry.lower()):
        return entry.lower()
    # "https://*.example.com" is a valid regular expression, but not the intended wildcard: it would
    # allow "https://xexample.com".
    if _REGEX_CHARACTERS.isdisjoint(entry) or "//*" in entry:
        hint = "expected an origin like https://example.com, a regular expression, or *"
        raise ValueError(f"{hint}, got {entry!r}")
    try:
        return re.compile(entry, re.ASCII)
    except re.error as error:
        raise ValueError(f"expected a regular expression, got {entry!r}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsPolicy:
    """The CORS settings: allowed origins, credentials, and the lifetime of a preflight.

    Attributes:
        allow_origins: exact origins, `*`, and regular expressions that match a whole origin.
        allow_credentials: whether browsers may send cookies and other credentials. Together with
            `*` this lets every site act as the visitor, so name the origins if cookies authorize
            requests.
        max_age: seconds for which a browser may cache the reply to a preflight.
        expose_headers: names of more fields that scripts may read; `*` for all fields, which
            browsers ignore if the request has credentials.
    """

    allow_origins: tuple[str | re.Pattern[str], ...] = (ANY,)
    allow_credentials: bool = False
    max_age: int = DAY
    expose_headers: tuple[str, ...] = ()
    _exact: frozenset[str] = field(init=False, repr=False, compare=False)
    _patterns: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)
    _exposed: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Separate exact origins and patterns, and join names, once and not for every request."""
        exact = frozenset(o for o in self.allow_origins if isinstance(o, str))
        patterns = tuple(o for o in self.allow_origins if not isinstance(o, str))
        # A frozen dataclass allows no other assignment.
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_patterns", patterns)
        object.__setattr__(self, "_exposed", ", ".join((EXPOSE_HEADERS, *self.expose_headers)))

    def fields_for(self, head: RequestHead, exposed: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """Return the CORS fields of the reply to `head`. Replies to errors need them too.

        Args:
            head: the request.
            exposed: names of the reply's fields that the application has chosen.
        """
        if ANY in self._exact and not self.allow_credentials:
            # The same fields for all origins, so that a cache can share the reply.
            return [("Access-Control-Allow-Origin", ANY), *self._details(head, exposed)]
        fields = [("Vary", "Origin")]
        origin = head.fields.get("Origin", "")
        if self._allows(origin):
            fields.append(("Access-Control-Allow-Origin", origin))
            if self.allow_credentials:
                fields.append(("Access-Control-Allow-Credentials", "true"))
            fields.extend(self._details(head, exposed))
        return fields

    def _allows(self, origin: str) -> bool:
        # Never echo text that is not an origin, even if a pattern matches it.
        if _ORIGIN.fullmatch(origin) is None:
            return False
        if ANY in self._exact or origin in self._exact:
            return True
        return any(pattern.fullmatch(origin) for pattern in self._patterns)

    def _details(self, head: RequestHead, exposed: tuple[str, ...]) -> list[tuple[str, str]]:
        """Return what an allowed page may send (preflight) or may read (any other request)."""
        if head.method == "OPTIONS" and "Access-Control-Request-Method" in head.fields:
            return [
                ("Access-Control-Allow-Methods", ALLOW_METHODS),
                ("Access-Control-Allow-Headers", _allowed_headers(head)),
                ("Access-Control-Max-Age", str(self.max_age)),
            ]
        names = ", ".join((self._exposed, *exposed)) if exposed else self._exposed
        return [("Access-Control-Expose-Headers", names)]


def _allowed_headers(head: RequestHead) -> str:
    """Return the fields that a page of an allowed origin may send: all fields that it asks for.

    Fields that are not in `ALLOW_HEADERS` mean nothing to this server. They are for the application
    (`X-CSRFToken`), for a proxy, or for tracing (`traceparent`).
    """
    requested = head.fields.get("Access-Control-Request-Headers", "").split(",", MAX_MIRRORED)
    names = [entry.strip() for entry in requested[:MAX_MIRRORED]]
    others = [name for name in names if is_field_name(name) and name.lower() not in _ALLOWED]
    return ", ".join((ALLOW_HEADERS, *others))
