"""The parts 1 to k of an upload, which S3 has confirmed and which never change (D-01).

An upload may have thousands of parts, and each request needs only their number and their end. So
what is kept between requests, and what the record remembers (`UploadRecord.confirmed_parts`), does
not grow with the upload. Only the completion needs all ETags; `ListParts` brings them then.
"""

from __future__ import annotations

from collections.abc import Iterable

from tus_wsgi.domain.parts import Part

MAX_KEPT_PARTS = 250
"""Maximum parts whose ETags an upload keeps between requests; 250 take about 60 KB."""


class ConfirmedParts:
    """The parts 1 to `count`.

    Args:
        count: the number of parts that are known to exist, without their ETags.
        end: the offset after them.

    Attributes:
        count: the number of parts.
        end: the offset after the last one.
    """

    def __init__(self, count: int = 0, end: int = 0) -> None:
        self.count = count
        self.end = end
        self._known: list[Part] = []  # the last ones, with their ETags

    @property
    def are_known(self) -> bool:
        """Whether the ETags of all parts are known."""
        return len(self._known) == self.count

    @property
    def known(self) -> list[Part]:
        """The parts whose ETags are known: the last ones, up to part `count`."""
        return self._known

    def add(self, parts: Iterable[Part]) -> None:
        """Add the parts that follow, in order."""
        for part in parts:
            self._known.append(part)
            self.count += 1
            self.end += part.size

    def trim(self) -> None:
        """Forget the ETags if they take much memory."""
        if len(self._known) > MAX_KEPT_PARTS:
            self._known = []
