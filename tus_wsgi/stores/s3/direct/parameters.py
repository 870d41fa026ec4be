"""Serialize boto3's parameters of an operation, as botocore's model of S3 describes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tus_wsgi.stores.s3.direct.documents import build_parts_document

if TYPE_CHECKING:
    from botocore.model import OperationModel


@dataclass(frozen=True, slots=True)
class RequestParts:
    """The parts of a request that depend on the parameters.

    Attributes:
        target: the quoted key, and the query after a `?`.
        headers: the header fields.
        body: the body, empty for a DELETE; None for a GET or HEAD, which has none.
    """

    target: str
    headers: dict[str, str]
    body: bytearray | None


class Serializer:
    """Serializes the parameters of an operation.

    Args:
        model: botocore's model of the operation.
    """

    def __init__(self, model: OperationModel) -> None:
        shape: Any = model.input_shape
        self._payload = shape.serialization.get("payload")
        # boto3 sends `Content-Length: 0` with a DELETE.
        self._has_body = model.http["method"] in {"PUT", "POST", "DELETE"}
        _, _, self._fixed_query = model.http["requestUri"].partition("?")
        self._query: dict[str, str] = {}
        self._headers: dict[str, tuple[str, Callable[[Any], str]]] = {}
        self._prefixes: dict[str, str] = {}
        for name, member in shape.members.items():
            field = member.serialization.get("name", name)
            match member.serialization.get("location"):
                case "header" if member.type_name in _FORMATS:
                    self._headers[name] = (field, _FORMATS[member.type_name])
                case "headers":
                    self._prefixes[name] = field
                case "querystring" if member.type_name in _FORMATS:
                    self._query[name] = field

    def serialize(self, parameters: Mapping[str, Any]) -> RequestParts | None:
        """Return the parts of the request; None if a parameter has an unknown kind."""
        headers: dict[str, str] = {}
        query = [self._fixed_query] if self._fixed_query else []
        body = bytearray() if self._has_body else None
        for name, value in parameters.items():
            if value is None:
                return None
            if name in self._headers:
                field, to_text = self._headers[name]
                headers[field] = to_text(value)
            elif name in self._query:
                query.append(f"{self._query[name]}={quote(str(value), safe='-._~')}")
            elif name in self._prefixes:
                prefix = self._prefixes[name]
                headers |= {f"{prefix}{field}": text for field, text in value.items()}
            elif name == self._payload:
                body = _to_body(value)
            elif name not in _IN_URL:
                return None
        if self._has_body and body is None:
            return None
        if not all(map(str.isascii, headers.values())):
            return None  # boto3 decides which of these fields are valid
        return RequestParts(_target(parameters["Key"], query), headers, body)


def _to_body(value: object) -> bytearray | None:
    """Return the body of a payload; None if it has an unknown kind."""
    if isinstance(value, Mapping):
        return build_parts_document(value)
    # boto3 sends other bodies, such as files, with `Expect: 100-continue`.
    return value if isinstance(value, bytearray) else None


def _target(key: str, query: list[str]) -> str:
    path = quote(key, safe="/~")
    return f"{path}?{'&'.join(query)}" if query else path


_IN_URL = ("Bucket", "Key")

_FORMATS: dict[str, Callable[[Any], str]] = {
    "string": str,
    "boolean": lambda value: str(value).lower(),
    "integer": str,
}
"""The text of a value, by the type of its parameter."""
