"""Hide the ids of uploads in lines that other programs write, such as access logs."""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote

from tus_wsgi.domain.hidden_ids import fingerprint
from tus_wsgi.domain.model import UploadId

_SEGMENT = re.compile(r"""(?<=/)[^/?#\s"'\\,]{22,}""")
"""A segment of a path that is long enough to be an id."""

_ID = re.compile(r"([A-Za-z0-9_-]{22}|[0-9a-f]{32}\+.+?)(\.info|\.part)?")
"""An id of this package or of tusd, perhaps in the key of an object."""


def hide_ids(text: str) -> str:
    """Replace each segment of a path that looks like an id with the id's fingerprint.

    Segments of other paths may look like ids. They are replaced too; equal segments stay equal.
    """
    return _SEGMENT.sub(_hide, text)


def _hide(segment: re.Match[str]) -> str:
    found = _ID.fullmatch(unquote(segment[0]))
    if found is None:
        return segment[0]
    id, suffix = UploadId(found[1]), found[2] or ""
    return fingerprint(id) + suffix


class HidingFormatter(logging.Formatter):
    """Hides the ids in the lines of another formatter, also in their tracebacks."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """Format a record without ids."""
        return hide_ids(self._formatter.format(record))
