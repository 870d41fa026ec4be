"""The hooks of a sweep: the settings name some hooks, and options of the sweep name others."""

from __future__ import annotations

from typing import Any

import pytest

from tus_wsgi import Settings
from tus_wsgi.operations.sweep_command import with_remote_hooks

HTTP = {"TUS_HOOKS_HTTP": "https://example.com"}
WSGI = {"TUS_HOOKS_WSGI": "/internal/tus"}
ONLY_CREATE = {"TUS_HOOKS_ENABLED_EVENTS": "pre-create"}


def own(_upload: Any) -> None:
    """A hook of the application."""


@pytest.mark.parametrize(
    ("environ", "has_hooks", "tells"),
    [
        ({}, False, False),
        (HTTP, True, True),
        ({**HTTP, **ONLY_CREATE}, False, False),
        # The route is in the server: the sweep must not finish an upload without it.
        (WSGI, False, True),
        ({**WSGI, **ONLY_CREATE}, False, False),
    ],
)
def test_a_sweep_tells_the_endpoint_and_leaves_uploads_to_a_route(
    environ: dict[str, str], has_hooks: bool, tells: bool
) -> None:
    settings = Settings.from_environ({"TUS_S3_BUCKET": "uploads", **environ})
    on_finish, on_terminate, found = with_remote_hooks(settings, None, None)
    assert (on_finish is not None, on_terminate is not None, found) == (has_hooks, has_hooks, tells)
    assert with_remote_hooks(settings, own, own)[:2] == (own, own)
