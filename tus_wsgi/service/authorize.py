"""Authorize commands: ask the application's `authorize` hook, and hide uploads of other owners.

This happens before the upload's lock is requested. Otherwise a client that only knows the URL of an
upload could interrupt the request of its owner. So the record is read without the lock, and only
for what was fixed when the upload was created.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tus_wsgi.domain.commands import (
    Append,
    Command,
    Concatenate,
    Create,
    Discover,
    Download,
    Inspect,
    Terminate,
)
from tus_wsgi.domain.creation import UploadPlan
from tus_wsgi.domain.errors import (
    ClientDisconnected,
    Denied,
    HookFailed,
    InvalidPartial,
    UploadNotFound,
)
from tus_wsgi.domain.hooks import MAX_OWNER, Access, Action, Authorize, Request, UploadFacts
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.domain.model import Metadata, UploadId, UploadInfo
from tus_wsgi.service.facts import FactsCache, facts_of

_ACTIONS = {
    Inspect: Action.INSPECT,
    Append: Action.APPEND,
    Terminate: Action.TERMINATE,
    Download: Action.DOWNLOAD,
}


ClientIsGone = Callable[[], bool]
"""Returns whether the client has closed the connection. Any thread may call it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The origin of a command.

    Attributes:
        identity: the identity of the client; None if it is anonymous or there is no hook.
        request: the request; None if the application itself gives the command, or no hook needs it.
        plan: returns the application's plan for the new upload, given its id. None unless the
            application itself creates the upload; then `on_create` is not asked.
        client_is_gone: see `ClientIsGone`.
    """

    identity: str | None = None
    request: Request | None = None
    plan: Callable[[UploadId], UploadPlan] | None = None
    client_is_gone: ClientIsGone = lambda: False


NO_CALLER = Caller()
"""The caller of a command that needs no request."""


class Authorizer:
    """Asks the application's `authorize` hook about each command.

    Args:
        authorize: the hook.
        store: holds the uploads.
        owner_only: whether an upload with an owner is hidden from other identities. If not, the
            hook decides alone.
    """

    def __init__(self, authorize: Authorize, store: Store, *, owner_only: bool) -> None:
        self._authorize = authorize
        self._store = store
        self._owner_only = owner_only
        self._facts = FactsCache()

    def identify(
        self,
        command: Command,
        request: Request,
        client_is_gone: ClientIsGone = lambda: False,
    ) -> str | None:
        """Return the identity of the client if it may give this command.

        At most one read of the store for each upload that the command names.

        Raises:
            Denied: the hook refuses the request.
            UploadNotFound: the upload does not exist, or belongs to another identity.
            InvalidPartial: the same for a partial upload that the command concatenates.
            ClientDisconnected: the client is gone before the hook was asked about all of them.
            HookFailed: the hook raised, or returned an invalid identity.
            StoreUnavailable: the store did not answer.
        """
        if isinstance(command, Discover):
            return None
        if not isinstance(command, Create | Concatenate):
            return self._ask_about(_ACTIONS[type(command)], command.id, request)
        identity = self._ask(Access(Action.CREATE, request, None))
        if isinstance(command, Concatenate):
            for id in dict.fromkeys(command.final.partials):
                if client_is_gone():
                    raise ClientDisconnected(0)
                self._check_join(id, request)
        return identity

    def add(self, info: UploadInfo) -> None:
        """Remember a new upload, so that its record need not be read."""
        self._facts.put(facts_of(info))

    def _ask_about(self, action: Action, id: UploadId, request: Request) -> str | None:
        facts = self._facts_of(id)
        # A client that the hook refuses must not learn whether the upload exists.
        unknown = UploadFacts(id, None, Metadata(), None, None)
        identity = self._ask(Access(action, request, facts or unknown))
        if facts is None:
            raise UploadNotFound
        is_hidden = self._owner_only and facts.owner not in (None, identity)
        if is_hidden:
            raise UploadNotFound  # a 403 would tell that the upload exists
        return identity

    def _check_join(self, id: UploadId, request: Request) -> None:
        """Check that the client may use a partial upload, whose bytes it can then read."""
        try:
            self._ask_about(Action.JOIN, id, request)
        except UploadNotFound as error:
            raise InvalidPartial(f"the partial upload {id} does not exist") from error

    def _facts_of(self, id: UploadId) -> UploadFacts | None:
        """Return the facts of an upload; None if it does not exist."""
        facts = self._facts.get(id)
        if facts is None:
            try:
                facts = facts_of(self._store.open(id).info)
            except UploadNotFound:
                return None
            self._facts.put(facts)
        return facts

    def _ask(self, access: Access) -> str | None:
        try:
            return checked_identity(self._authorize(access))
        except Denied:
            raise
        except Exception as error:
            id = None if access.upload is None else access.upload.id
            raise HookFailed("authorize", id) from error


def checked_identity(identity: object) -> str | None:
    """Return the identity that the application has chosen, after checking it.

    Empty text is refused: it is likely the missing name of a client that is not logged in, and all
    such clients would share their uploads.

    Raises:
        TypeError, ValueError: the identity cannot be recorded as an owner.
    """
    if identity is None:
        return None
    if not isinstance(identity, str):
        raise TypeError(f"expected an identity of type str or None, got {type(identity).__name__}")
    if not 0 < len(identity.encode()) <= MAX_OWNER:
        raise ValueError(f"expected an identity of 1 to {MAX_OWNER} bytes in UTF-8")
    return identity
