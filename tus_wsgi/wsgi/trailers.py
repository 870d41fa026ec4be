"""The fields that follow a chunked body, which gunicorn reads and tells nobody about.

WSGI has no place for them. gunicorn's reader of a chunked body leaves them at its request object,
which is looked at here where it is as in the versions that the tests run; anywhere else there are
no trailers, and `checksum-trailer` is not offered.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def hands_out_trailers(environ: Mapping[str, Any]) -> bool:
    """Whether trailers of this request, or of a chunked one in its place, can be read.

    The question comes with OPTIONS, which has no body: then gunicorn's module is asked whether its
    reader of chunked bodies is the one that is known.
    """
    body = environ.get("wsgi.input")
    reader = getattr(body, "reader", None)
    if reader is None:
        return False
    if type(reader).__name__ == "ChunkedReader":
        return isinstance(getattr(getattr(reader, "req", None), "trailers", None), list)
    module = sys.modules.get(type(body).__module__)
    chunked = getattr(module, "ChunkedReader", None)
    return callable(getattr(chunked, "parse_trailers", None))


def trailers_of(environ: Mapping[str, Any]) -> dict[str, str]:
    """The trailers, by lower-case names; to be asked when the body has been read to its end.

    A field that was sent twice is joined by ",".
    """
    reader = getattr(environ["wsgi.input"], "reader", None)
    found = getattr(getattr(reader, "req", None), "trailers", None)
    fields: dict[str, str] = {}
    for name, value in found if isinstance(found, list) else []:
        key = str(name).lower()
        fields[key] = f"{fields[key]},{value}" if key in fields else str(value)
    return fields
