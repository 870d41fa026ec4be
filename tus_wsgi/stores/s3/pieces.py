"""The bytes of an object on their way from S3, piece by piece."""

from __future__ import annotations

import time
from typing import Any, Self

from botocore.exceptions import BotoCoreError

from tus_wsgi.domain.errors import StoreUnavailable


class Pieces:
    """The rest of an answer. Other than a generator's, its `close` works before the first piece.

    Args:
        body: botocore's StreamingBody.
        step: bytes of a piece.
    """

    def __init__(self, body: Any, step: int) -> None:  # noqa: ANN401 - it comes without types
        self._body = body
        self._step = step

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            piece: bytes = self._body.read(self._step)
        except (BotoCoreError, OSError) as error:
            self.close()
            raise StoreUnavailable("GetObject") from error
        if not piece:
            self.close()
            raise StopIteration
        time.sleep(0)  # Where S3 and the client are both quick nobody is ever waited for.
        return piece

    def close(self) -> None:
        """Give the connection back; a WSGI server does it when its client has gone."""
        self._body.close()
