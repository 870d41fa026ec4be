"""Read the host of a request, which becomes part of the URLs of uploads.

werkzeug accepts the characters of the DNS only. HTTP allows every name of RFC 3986, section 3.2.2,
and nginx sends one with an underscore if its `upstream` has such a name and no
`proxy_set_header Host` replaces it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from werkzeug.wsgi import get_host

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

MAX_PORT = 65535

# No comma, although a name may contain one: WSGI servers join two Host fields with it, and a
# request with two of them is invalid (RFC 9112, section 3.2).
_NAME = r"(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+"
_IPV6 = r"\[[0-9A-Fa-f]*:[0-9A-Fa-f.:]+\]"
_HOST = re.compile(rf"(?P<host>{_NAME}|{_IPV6})(?::(?P<port>[1-9][0-9]{{0,4}}))?")

_DEFAULT_PORTS = {"http": "80", "https": "443"}


def find_host(environ: WSGIEnvironment) -> str:
    """Return the host that the client named, with the port unless it is the scheme's default.

    Without a Host field (HTTP/1.0), this is the server's name. If the field is invalid, the result
    is empty.
    """
    text = environ.get("HTTP_HOST")
    if text is None:
        return get_host(environ)
    match = _HOST.fullmatch(text)
    if match is None:
        return ""
    host, port = match["host"], match["port"]
    if port is None or port == _DEFAULT_PORTS.get(environ["wsgi.url_scheme"]):
        return host
    return f"{host}:{port}" if int(port) <= MAX_PORT else ""
