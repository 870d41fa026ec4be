"""From a WSGI environ to the values of the north wing. Nothing of the body is read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from werkzeug.wsgi import get_host

from tus_wsgi.domain.errors import MalformedField
from tus_wsgi.protocol.http import RequestHead, effective_method
from tus_wsgi.wsgi.connection import hands_out_trailers
from tus_wsgi.wsgi.framing import has_body

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class Fields(Mapping[str, str]):
    """The header fields of an environ, by their names in any case."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value = self._environ[self._key(name)]
        assert isinstance(value, str)
        return value

    def __iter__(self) -> Iterator[str]:
        for key in self._environ:
            if key.startswith("HTTP_"):
                yield key[len("HTTP_") :].replace("_", "-").title()
        yield from (name for name, key in _UNPREFIXED.items() if self._environ.get(key))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _key(self, name: str) -> str:
        lower = name.lower()
        return _UNPREFIXED.get(lower) or "HTTP_" + lower.replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class UploadRoutes:
    """Where uploads live in the URL space.

    Attributes:
        base_path: with a leading and without a trailing slash; empty for everything.
        public_url: the base path's URL as clients see it, without a trailing slash; None to take
            it from each request. Set it where a proxy changes scheme, host or path: forwarded
            headers are never trusted here (werkzeug's ProxyFix can be told which are).
    """

    base_path: str
    public_url: str | None = None

    def covers(self, environ: WSGIEnvironment) -> bool:
        """Whether the request is for the base path or below it. `/files-x` is not.

        `OPTIONS *` asks about the whole server, so it is only where everything else is.
        """
        path: str = environ.get("PATH_INFO", "")
        if path == "*":
            return not self.base_path
        return path == self.base_path or path.startswith(self.base_path + "/")

    def head(self, environ: WSGIEnvironment) -> RequestHead:
        """The request's head."""
        fields = Fields(environ)
        return RequestHead(
            method=effective_method(
                environ["REQUEST_METHOD"], environ.get("HTTP_X_HTTP_METHOD_OVERRIDE")
            ),
            target=environ.get("PATH_INFO", "")[len(self.base_path) + 1 :] or None,
            fields=fields,
            has_body=has_body(environ),
            base_url=self._base_url(environ),
            can_have_trailers=hands_out_trailers(environ),
        )

    def check_host(self, environ: WSGIEnvironment) -> None:
        """Refuse a request whose URLs would have no host.

        Raises:
            MalformedField: the Host field is none (RFC 9112, section 3.2, asks for a 400).
        """
        if self.public_url is None and not get_host(environ):
            raise MalformedField("Host", "expected a host, perhaps with a port")

    def _base_url(self, environ: WSGIEnvironment) -> str:
        """The base path's URL, without a host where the Host field is none."""
        if self.public_url is not None:
            return self.public_url
        script = quote(environ.get("SCRIPT_NAME", "").rstrip("/").encode("latin-1"))
        return f"{environ['wsgi.url_scheme']}://{get_host(environ)}{script}{self.base_path}"
