"""Load botocore's descriptions of services in half of the memory.

botocore keeps an ordered dictionary for each object of its JSON files, a string for each
occurrence of a value, and the endpoints of all services of AWS.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader

SERVICES = frozenset(
    {"s3", "s3-control", "dynamodb", "kms", "oidc", "portal.sso", "signin", "sso", "sts"}
)
"""Services whose endpoints are kept: those that tus_wsgi uses, and those that botocore asks for
credentials. For every other service, botocore uses the default endpoint of the partition, as it
does for services that are newer than the file."""

_EXTENSIONS = (".json", ".json.gz")


class CompactFileLoader(JSONFileLoader):
    """Loads JSON files as botocore's own loader does, only more compactly."""

    def load_file(self, file_path: str) -> Any:  # noqa: ANN401 - as botocore's loader
        """Return the content of the file; None if there is no file.

        Args:
            file_path: the path without its extension.
        """
        for extension in _EXTENSIONS:
            path = Path(file_path + extension)
            if path.is_file():
                content = path.read_bytes()
                return _load(gzip.decompress(content) if path.suffix == ".gz" else content)
        return None


def _load(content: bytes) -> Any:  # noqa: ANN401 - any JSON
    strings: dict[str, str] = {}

    def share(value: object) -> object:
        return strings.setdefault(value, value) if isinstance(value, str) else value

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built: dict[str, Any] = {name: share(value) for name, value in pairs}
        services = built.get("services")
        if "partition" in built and isinstance(services, dict):
            built["services"] = {name: services[name] for name in services if name in SERVICES}
        return built

    return json.loads(content, object_pairs_hook=build)
