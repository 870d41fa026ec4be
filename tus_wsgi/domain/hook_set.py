"""The hooks of an application, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from tus_wsgi.domain.creation import OnCreate
from tus_wsgi.domain.hooks import Authorize, OnFinish
from tus_wsgi.domain.progress import OnProgress
from tus_wsgi.domain.snapshot import BeforeTerminate, OnCreated
from tus_wsgi.domain.termination import OnTerminate


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks of an application; None for each hook that it does not have.

    Attributes:
        authorize: decides whether a request may do what it asks for; None lets all clients in.
        owner_only: whether an upload with an owner is hidden from other identities.
        on_create: decides about a new upload.
        on_created: called after a request has created an upload. Only for hooks outside of the
            process (`tus_wsgi.hooks`).
        on_progress: called while a request sends bytes.
        progress_interval: the least number of seconds between two calls of `on_progress` in one
            request.
        on_finish: called when the object of an upload is complete.
        before_terminate: decides whether a client may remove an upload. Only for hooks outside of
            the process.
        on_terminate: called when an upload is removed.
    """

    authorize: Authorize | None = None
    owner_only: bool = True
    on_create: OnCreate | None = None
    on_created: OnCreated | None = None
    on_progress: OnProgress | None = None
    progress_interval: float = 1.0
    on_finish: OnFinish | None = None
    before_terminate: BeforeTerminate | None = None
    on_terminate: OnTerminate | None = None

    @property
    def need_request(self) -> bool:
        """Whether a hook gets the request of the client."""
        return any(
            (
                self.authorize,
                self.on_create,
                self.on_created,
                self.on_progress,
                self.on_finish,
                self.before_terminate,
                self.on_terminate,
            )
        )


class HookOptions(TypedDict, total=False):
    """The hooks as keyword arguments. See `Hooks`."""

    authorize: Authorize | None
    owner_only: bool
    on_create: OnCreate | None
    on_progress: OnProgress | None
    on_finish: OnFinish | None
    on_terminate: OnTerminate | None


NO_HOOKS = Hooks()
