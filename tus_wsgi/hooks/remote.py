"""The hooks of an application that another program answers, in the JSON of tusd.

Each hook of `tus_wsgi.domain.hook_set` makes the document of one or two events of tusd:

| hook | events |
|---|---|
| `authorize` | `authorize` |
| `on_create` | `pre-create` |
| `on_created` | `post-create` |
| `on_progress` | `post-receive` |
| `on_finish` | `pre-finish`, then `post-finish` |
| `before_terminate` | `pre-terminate` |
| `on_terminate` | `post-terminate` |

`on_finish` and `on_terminate` are called until they return, even if a process is killed, and they
return only after the document is delivered. So `post-finish` and `post-terminate` arrive at least
once, each time with the same `webhook-id`.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Collection
from functools import partial
from typing import TypedDict

from tus_wsgi.domain.answer import Answer
from tus_wsgi.domain.creation import NewUpload, OnCreate, UploadPlan
from tus_wsgi.domain.hooks import Access, Authorize, FinishedUpload, OnFinish, Request
from tus_wsgi.domain.model import UploadId
from tus_wsgi.domain.progress import OnProgress, Progress
from tus_wsgi.domain.snapshot import BeforeTerminate, OnCreated, UploadSnapshot
from tus_wsgi.domain.termination import GoneUpload, OnTerminate
from tus_wsgi.hooks.carrier import Carrier, HookCall
from tus_wsgi.hooks.tusd_json import (
    HookEvent,
    HookResponse,
    answer_of,
    build_document,
    check_termination,
    identity_of,
    plan_of,
    stop_of,
    webhook_id,
)

MAX_STOPS = 1000
"""The maximum number of uploads that a process remembers to stop."""


class RemoteHookOptions(TypedDict, total=False):
    """The hooks as arguments of `tus_wsgi.domain.hook_set.Hooks`."""

    authorize: Authorize
    on_create: OnCreate
    on_created: OnCreated
    on_progress: OnProgress
    on_finish: OnFinish
    before_terminate: BeforeTerminate
    on_terminate: OnTerminate


class RemoteHooks:
    """Hooks that deliver documents.

    Args:
        carrier: delivers them.
        events: the enabled events.
    """

    def __init__(self, carrier: Carrier, events: Collection[HookEvent]) -> None:
        self._carrier = carrier
        self._events = frozenset(events)
        self._stops: OrderedDict[UploadId, HookResponse] = OrderedDict()
        self._mutex = threading.Lock()

    def hooks(self) -> RemoteHookOptions:
        """Return the hooks of the enabled events."""
        hooks: RemoteHookOptions = {}
        if HookEvent.AUTHORIZE in self._events:
            hooks["authorize"] = self._authorize
        if HookEvent.PRE_CREATE in self._events:
            hooks["on_create"] = self._on_create
        if HookEvent.POST_CREATE in self._events:
            hooks["on_created"] = self._on_created
        if HookEvent.POST_RECEIVE in self._events:
            hooks["on_progress"] = self._on_progress
        if self._events & {HookEvent.PRE_FINISH, HookEvent.POST_FINISH}:
            hooks["on_finish"] = self._on_finish
        if HookEvent.PRE_TERMINATE in self._events:
            hooks["before_terminate"] = self._before_terminate
        if HookEvent.POST_TERMINATE in self._events:
            hooks["on_terminate"] = self._on_terminate
        return hooks

    def _authorize(self, access: Access) -> str | None:
        facts = access.upload
        known = None
        if facts is not None:
            known = UploadSnapshot(id=facts.id, length=facts.length, metadata=facts.metadata)
        id = "" if facts is None else facts.id
        call = HookCall(
            HookEvent.AUTHORIZE,
            None if facts is None else facts.id,
            webhook_id(HookEvent.AUTHORIZE, UploadId(id), _nonce()),
            build_document(HookEvent.AUTHORIZE, known, access.request, Action=access.action.value),
            access.request,
        )
        return identity_of(self._carrier.ask(call), access.action)

    def _on_create(self, new: NewUpload) -> UploadPlan | None:
        known = UploadSnapshot(
            id=new.id,
            length=new.length,
            metadata=new.metadata,
            is_partial=new.is_partial,
            partials=new.partials,
            request=new.request,
        )
        return plan_of(self._carrier.ask(_call(HookEvent.PRE_CREATE, known)))

    def _on_created(self, known: UploadSnapshot) -> None:
        # If the upload is full already, `_on_finish` was called, and has sent `post-create`.
        is_sent = known.is_full and not known.is_partial and self._has_finish
        if not is_sent:
            self._carrier.post(_call(HookEvent.POST_CREATE, known))

    def _on_progress(self, progress: Progress) -> None:
        known = UploadSnapshot(
            id=progress.id,
            length=progress.length,
            offset=progress.offset,
            metadata=progress.metadata,
            is_partial=progress.is_partial,
            storage=progress.storage,
            request=progress.request,
        )
        call = _call(HookEvent.POST_RECEIVE, known, str(progress.offset))
        self._carrier.post(call, partial(self._note_stop, progress.id))
        with self._mutex:
            response = self._stops.pop(progress.id, None)
        stop = None if response is None else stop_of(response)
        if stop is not None:
            raise stop

    def _note_stop(self, id: UploadId, response: HookResponse) -> None:
        """Remember that an upload shall be stopped. The next progress of the upload stops it."""
        if not response.stop_upload:
            return
        with self._mutex:
            self._stops[id] = response
            if len(self._stops) > MAX_STOPS:
                self._stops.popitem(last=False)

    @property
    def _has_finish(self) -> bool:
        return not self._events.isdisjoint((HookEvent.PRE_FINISH, HookEvent.POST_FINISH))

    def _on_finish(self, finished: FinishedUpload) -> Answer | None:
        known = UploadSnapshot(
            id=finished.id,
            length=finished.length,
            offset=finished.length,
            metadata=finished.metadata,
            partials=finished.partials,
            storage=finished.storage,
            request=finished.request,
        )
        if HookEvent.POST_CREATE in self._events and _creates(finished.request, finished.id):
            self._carrier.post(_call(HookEvent.POST_CREATE, known))
        answer = None
        if HookEvent.PRE_FINISH in self._events:
            answer = answer_of(self._carrier.ask(_call(HookEvent.PRE_FINISH, known)))
        if HookEvent.POST_FINISH in self._events:
            self._carrier.tell(_call(HookEvent.POST_FINISH, known))
        return answer

    def _before_terminate(self, known: UploadSnapshot) -> None:
        call = _call(HookEvent.PRE_TERMINATE, known, _nonce())
        check_termination(self._carrier.ask(call))

    def _on_terminate(self, gone: GoneUpload) -> None:
        known = UploadSnapshot(
            id=gone.id,
            length=gone.length,
            metadata=gone.metadata,
            is_partial=gone.is_partial,
            partials=gone.partials,
            storage=gone.storage,
            request=gone.request,
        )
        self._carrier.tell(_call(HookEvent.POST_TERMINATE, known))


def _call(event: HookEvent, known: UploadSnapshot, number: str = "") -> HookCall:
    document = build_document(event, known, known.request)
    return HookCall(event, known.id, webhook_id(event, known.id, number), document, known.request)


def _creates(request: Request | None, id: UploadId) -> bool:
    """Return whether a request that finishes an upload has created it too.

    The path of every other request for an upload ends with its id.
    """
    return request is not None and not request.path.endswith(id)


def _nonce() -> str:
    """Return a random number for an event that may occur again, with another response."""
    return secrets.token_hex(8)
