"""Convert a WSGI environ to a `RequestHead`. The body is not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from tus_wsgi.domain.errors import MalformedField
from tus_wsgi.protocol.http import MethodOverride, RequestHead, effective_method
from tus_wsgi.wsgi.connection import supports_trailers
from tus_wsgi.wsgi.framing import has_body, is_unsized
from tus_wsgi.wsgi.host import find_host

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

_SECOND_KEYS = frozenset(f"HTTP_{key}" for key in _UNPREFIXED.values())
"""Keys that some servers set too. They are ignored, because CGI has no such variables."""


class Fields(Mapping[str, str]):
    """The header fields of an environ, by case-insensitive names."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value = self._environ[self._key(name)]
        assert isinstance(value, str)
        return value

    def __iter__(self) -> Iterator[str]:
        for key in self._environ:
            if key.startswith("HTTP_") and key not in _SECOND_KEYS:
                yield key[len("HTTP_") :].replace("_", "-").title()
        yield from (name for name, key in _UNPREFIXED.items() if self._environ.get(key))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _key(self, name: str) -> str:
        lower = name.lower()
        return _UNPREFIXED.get(lower) or "HTTP_" + lower.replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class UploadRoutes:
    """The URLs of uploads.

    Attributes:
        base_path: the path, with a leading and without a trailing slash; empty to cover every path.
        public_url: the base path's URL as clients see it, without a trailing slash; None to derive
            the URL from each request. Set it if a proxy changes scheme, host or path: forwarded
            header fields are never trusted here (configure werkzeug's ProxyFix to trust some of
            them).
        method_override: which methods X-HTTP-Method-Override may replace.
    """

    base_path: str
    public_url: str | None = None
    method_override: MethodOverride = MethodOverride.UNSAFE

    def covers(self, environ: WSGIEnvironment) -> bool:
        """Return whether a request is for the base path or below it (not `/files-x` for `/files`).

        `OPTIONS *` is about the whole server, so only an empty base path covers it.
        """
        path: str = environ.get("PATH_INFO", "")
        if path == "*":
            return not self.base_path
        return path == self.base_path or path.startswith(self.base_path + "/")

    def head(self, environ: WSGIEnvironment) -> RequestHead:
        """Return the head of a request."""
        fields = Fields(environ)
        actual, override = environ["REQUEST_METHOD"], environ.get("HTTP_X_HTTP_METHOD_OVERRIDE")
        method = effective_method(actual, override, self.method_override)
        below_base = environ.get("PATH_INFO", "")[len(self.base_path) + 1 :]
        return RequestHead(
            method=actual if method is None else method,
            target=below_base or None,
            fields=fields,
            has_body=has_body(environ),
            base_url=self._base_url(environ),
            can_have_trailers=supports_trailers(environ),
            has_unsized_body=is_unsized(environ),
            refused_override=override if method is None else None,
        )

    def check_host(self, environ: WSGIEnvironment) -> None:
        """Refuse a request if the URLs of its uploads would have no host.

        Raises:
            MalformedField: the Host field is invalid (RFC 9112, section 3.2, requires a 400).
        """
        if self.public_url is None and not find_host(environ):
            raise MalformedField("Host", "expected a host and an optional port")

    def base_url_or_error(self, environ: WSGIEnvironment | None) -> str:
        """Return the base path's URL.

        Args:
            environ: the environ of a request; None if there is none.

        Raises:
            ValueError: the URL is unknown.
        """
        if self.public_url is not None:
            return self.public_url
        if environ is None or not find_host(environ):
            raise ValueError(
                "the URL is unknown: pass the request's environ, or set TUS_PUBLIC_URL"
            )
        return self._base_url(environ)

    def _base_url(self, environ: WSGIEnvironment) -> str:
        """Return the base path's URL, without a host if the Host field is invalid."""
        if self.public_url is not None:
            return self.public_url
        script = quote(environ.get("SCRIPT_NAME", "").rstrip("/").encode("latin-1"))
        return f"{environ['wsgi.url_scheme']}://{find_host(environ)}{script}{self.base_path}"
